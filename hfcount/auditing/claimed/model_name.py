"""Whose name stands in a text: the model's own, another model's, or no model's at all.

A name is compared as a sequence of words and numbers: "Qwen 2.5 7B", "qwen2_5-7b" and "Qwen2.5-7B" are the same,
"GPT-2" is the beginning of "gpt2-large", and "Llama 2 13B" is no beginning of "Llama-2-7b-hf".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Literal

Whose = Literal["own", "other"]

_PIECE = re.compile(r"\d{1,4}x\d{1,4}(?:\.\d{1,3})?[bm](?![a-z\d])|\d{1,4}(?:\.\d{1,3})?[bm](?![a-z\d])|[^\W\d_]+|\d+")
_ZERO = re.compile(r"(?<=\d)\.0(?=[bm](?![a-z\d]))")  # 1.0B is 1B
_TENTHS = re.compile(r"(?<=-)(\d{1,3})_(\d)(?=b(?![a-z\d]))")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of a name that do not change its size: how it was trained on, packed or put up.
_NEUTRAL = _words("""
    instruct instruction chat it base hf pt pretrained sft dpo rlhf gguf ggml gptq awq bnb nf fp bf int bit exl mlx 
    onnx quantized quant uncased cased deduped preview original unsloth transformers model
""")
_DATE = re.compile(r"^\d{4}$")

# A model that has one of these in its name is called after its base, and what stands before it is the base's name.
_CALLED_AFTER = _words("distill distilled lora qlora adapter merge merged slerp ties dare draft eagle reward")

# Words in capitals that name no model.
_HARMLESS = _words("""
    language languages model models llm llms slm slms vlm vlms mllm lm ai ml nlp moe mixture of experts expert
    transformer transformers causal decoder encoder only dense sparse multimodal multilingual vision visual text image
    speech audio auto autoregressive regressive generative pre trained pretrained post training foundation open source
    state the art attention gqa mha mqa mla rope swiglu rmsnorm relu gelu bf fp nvidia hugging face english chinese
    german french spanish japanese korean arabic hindi russian portuguese italian card embedding embeddings total
    active
    activated parameters parameter params hybrid reasoning code coding
""")
# Words that name a size: "Mistral Small" is not "Mistral-Large", though alone they name no model.
_SIZES = _words("large small tiny medium mini nano micro xl xxl big lite")
_LANGUAGE_MODEL = re.compile(
    r"\b(?:large|small|tiny|vision|visual)[- ](?:language|vision)[- ]models?\b", re.IGNORECASE
)
_OPENERS = _words("""
    the this that our its it we i a an in on with for and or as of at by from to is here all both each these those
    however while introducing presenting announcing meet when where what which you your developed model
""")
_THIS = re.compile(r"\((?:this|ours?|this model|our model)\)", re.IGNORECASE)
_LIKE = re.compile(r"[-‑](?:like|style|based|class|only|level|inspired|language|compatible)$", re.IGNORECASE)
_WORD = re.compile(r"[^\W_][\w.+/\-‑]{0,80}")
_FIGURE_WORD = re.compile(r"^\d[\d.,]*[-\s]?(?:[kmbt]|million|billion|trillion)?$", re.IGNORECASE)


def pieces(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, in lower case: ("qwen", "2", "5", "7b")."""
    return tuple(_PIECE.findall(_ZERO.sub("", _TENTHS.sub(r"\1.\2", name.lower()[:300]))))


def significant(name_pieces: tuple[str, ...]) -> tuple[str, ...]:
    """`name_pieces` less the words that do not change a model's size; of "awq 4bit" nothing stays."""
    kept = []
    for index, piece in enumerate(name_pieces):
        bits = piece.isdigit() and name_pieces[index + 1 : index + 2] == ("bit",)
        format_bits = piece.isdigit() and index > 0 and name_pieces[index - 1] in ("fp", "bf", "int", "nf", "exl")
        if piece not in _NEUTRAL and not _DATE.match(piece) and not bits and not format_bits:
            kept.append(piece)
    return tuple(kept)


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A name in a text: where it stands and whose it is."""

    start: int
    end: int
    whose: Whose


class ModelName:
    """The name of the model whose card is read."""

    def __init__(self, model_id: str) -> None:
        *owners, last = re.split(r"[/\\]", model_id.rstrip("/\\")) or [""]
        self.pieces = pieces(last)
        self.significant = significant(self.pieces)
        self.owner = frozenset(pieces(owners[-1])) if owners else frozenset()

    def distance(self, text: str) -> int | None:
        """How far `text`, a name in a table, is from the model's own: 0 for the same; None for another model's.

        What stands in front may be left out ("large-v3" of "whisper-large-v3", "9B" of "gemma-2-9b-it") or be more
        ("Meta Llama 3 8B" of "Llama-3-8B"); behind it only words that do not change the size.
        """
        shown = pieces(re.split(r"[/\\]", _THIS.sub("", text).strip())[-1])
        for extra, (theirs, own) in enumerate(((shown, self.pieces), (significant(shown), self.significant))):
            if theirs and own and (_ends_with(own, theirs) or _ends_with(theirs, own)):
                return 100 * extra + abs(len(self.pieces) - len(shown))
        return None

    def whose(self, phrase: str) -> Whose | None:
        """Whose name `phrase` is; None where it names no model."""
        whole = significant(pieces(_LANGUAGE_MODEL.sub(" ", phrase.rsplit("/", 1)[-1])))
        naming = [piece for piece in whole if piece not in _HARMLESS and piece not in _SIZES]
        if not naming or all(piece in self.owner for piece in naming):
            return "own" if whole and whole == self.significant else None
        found = tuple(piece for piece in whole if piece not in _HARMLESS)
        named = any(len(piece) > 1 and not piece[0].isdigit() for piece in found)
        return "own" if named and (self._begins_with(found) or self._begins_with(whole)) else "other"

    def _begins_with(self, part: tuple[str, ...]) -> bool:
        """Whether the name begins with `part`, its owner's name aside: "Llama 3" of meta-llama/Meta-Llama-3-8B.

        What stands further back may be another model: Qwen in DeepSeek-R1-Distill-Qwen-7B.
        """
        for start, piece in enumerate(self.significant):
            if self.significant[start : start + len(part)] == part:
                return not _CALLED_AFTER.intersection(self.significant[start + len(part) :])
            if piece not in self.owner:
                return False
        return False

    def phrases(self, text: str, *, titles: bool = False) -> Iterator[Phrase]:
        """The names in `text`.

        A word with a capital first letter alone counts as one only with `titles`: in running text it is mostly none.
        """
        run: list[re.Match[str]] = []
        for word in _WORD.finditer(text):
            adjoins = not run or text[run[-1].end() : word.start()].strip() == ""
            if run and not (adjoins and _may_be_named(word[0])):
                yield from self._phrase(text, run, titles)
                run = []
            if _may_be_named(word[0]) or (self.pieces and word[0].lower() == self.pieces[0]):
                run.append(word)
        if run:
            yield from self._phrase(text, run, titles)

    def _phrase(self, text: str, run: list[re.Match[str]], titles: bool) -> Iterator[Phrase]:
        while run and run[0][0].lower() in _OPENERS:
            run = run[1:]
        while run and _FIGURE_WORD.match(run[0][0]):
            run = run[1:]
        if not run:
            return
        start, end = run[0].start(), run[-1].end()
        whose = self.whose(text[start:end].rstrip(".,"))
        if whose == "other" and not titles and all(_is_title(word[0]) for word in run):
            whose = None
        if whose:
            yield Phrase(start, end, whose)


def _may_be_named(word: str) -> bool:
    """Whether a word may be part of a name: a capital, or letters with digits."""
    if _LIKE.search(word):
        return False
    return word[0].isupper() or any(sign.isdigit() for sign in word) or any(sign.isupper() for sign in word[1:])


def _is_title(word: str) -> bool:
    return word[0].isupper() and not any(sign.isdigit() or sign.isupper() for sign in word[1:])


def _ends_with(whole: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return whole[len(whole) - len(end) :] == end if len(end) <= len(whole) else False
