"""Claims in sentences: "This is a 7B parameter model", "671B total parameters with 37B activated for each token".

A sentence claims a figure for this model only if it says so: its subject, the last name or "this model" or "it" before
the figure, must be this model, and nothing between them may compare, derive or list. A fragment without a subject (an
item of a list) may begin with the figure. Precision is worth more here than recall: a claim that the card does not
make would become a false accusation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hfcount.auditing.claimed.model_name import ModelName
from hfcount.auditing.claimed.wording import (
    ENUMERATED,
    FIGURE,
    FIGURES,
    INEXACT,
    OR_OTHER,
    PARAMETERS,
    PART_BEFORE,
    PART_BEHIND,
    QUALIFIERS,
    ROUGHLY,
    Mention,
    kind_of,
    means_else,
    unambiguous,
)

MAX_SENTENCE = 1_000
MAX_DISTANCE = 160
"""Signs between the subject and its figure; further away a sentence has come to speak of something else."""
MAX_OPENING = 8
"""Words of a fragment before its figure."""


def _any_of(*lines: str) -> re.Pattern[str]:
    """A pattern for any of the words, or patterns of words, that stand between blanks in `lines`; "_" is a blank."""
    words = "|".join(" ".join(lines).split()).replace("_", r"[\s-]")
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!vs)(?<!approx)[.!?;]\s+(?=\S)|[。！？；]")
_ABOUT = r"(?:about |around |approximately |roughly )?"
_COUNTED = re.compile(
    rf"(?P<figure>{FIGURE})(?P<words>(?:[\s-]{{1,3}}{QUALIFIERS}){{0,4}})[\s-]{{0,3}}{PARAMETERS}(?!\w|-efficient)",
    re.IGNORECASE,
)
_COUNT_IS = re.compile(
    rf"(?:(?:parameter|param)s?\s(?:count|size)|number of (?P<words>(?:{QUALIFIERS}\s){{0,2}}){PARAMETERS})"
    rf"\s(?:is|of|=)\s?{_ABOUT}(?P<figure>{FIGURE})",
    re.IGNORECASE,
)
_ACTIVE_TOO = re.compile(
    rf"(?P<figure>{FIGURE})\s(?:of (?:which|them|those)\s)?(?:are |is |being )?(?:activated|active)(?![\w-])",
    re.IGNORECASE,
)
# "this model", "our final version", "it has". Not the base model, not "the answer model", and not the model's family.
_THING = r"(?:model|checkpoint|version|release|network|architecture|variant|repo|repository|transformer|llm|vlm|slm)"
_GENERIC = re.compile(
    r"\b(?:(?:this|our)\s"
    r"(?:(?!base|teacher|original|parent|source|reference|reward|draft|judge|larger|smaller|previous|other|student"
    r"|foundation|underlying|bigger|largest|smallest|second|best|entire|alternative|baseline)[\w.+-]{1,40}\s){0,5}?"
    r"|the\s(?:(?:language|final|full|resulting|released|pre-?trained|main|current|whole|complete|trained|dense|moe"
    r"|multimodal|transformer|quantized|large|small)\s){0,3})"
    rf"{_THING}\b(?!\s(?:family|series|suite|collection|zoo|cards?|sizes?|weights)|[’']s (?:teacher|base))"
    r"|\b(?:it|this)\s(?:is|has|contains|comprises|consists|features|uses|comes|totals?)\b|\bit[’']s\b",
    re.IGNORECASE,
)
# Between the subject and the figure these words turn the sentence to another model, to several, or to no fact.
_SPOILS = _any_of(
    r"compar\w+ versus vs than outperform\w* surpass\w* rival\w* beats? competitive similar unlike like on_par",
    r"exceed\w* match\w* distill\w* distils? teacher student supervis\w+ based_on derived_from built_on built_upon",
    r"initiali[sz]ed fine-?tuned_of fine-?tuned_from fine-?tuned_on fine-?tuned_version finetun\w+_from merge\w*",
    r"quanti[sz]ed_version base_model draft judge series family suite collection range\w* ranging sizes others?",
    r"larger smaller bigger previous predecessor successor counterpart instead not without requires? needs? gpu\w*",
    r"memory dataset trained_on trained_with models for_every same equivalent half double twice reward evaluat\w+",
    r"generated_by generated_with annotat\w+ if would could future upcoming plan\w* version_of also comes_in",
)
_OPENING_WORD = re.compile(
    r"(?:an?|the|about|around|approximately|approx|roughly|has|have|with|having|contains|total|only|just|size|of|in"
    r"|and|new|lightweight|small|tiny|compact|large|dense|sparse|pretrained|open|transformer|decoder-only|encoder-only"
    r"|causal|mixture-of-experts|moe|multilingual|bilingual|layers?|heads?|hidden|model|\d[\w,.]{0,20}-\w{1,20}|\d{1,6}|[&~≈–-])?",
    re.IGNORECASE,
)
_DERIVED = re.compile(
    r"\b(?:fine-?tun\w+|quanti[sz]\w+|distil\w+|trained|initiali[sz]ed|merged?|based|derived|built|adapte[dr]|lora"
    r"|upcycled|converted|pruned)\b[\w\s-]{0,30}\b(?:of|from|on|for|upon|with)\s(?:the\s|an?\s)?$"
    r"|\b(?:fine-?tun(?:e|es|ing)|pre-?trained|original|vanilla|underlying|base)\s(?:the\s|an?\s)?$",
    re.IGNORECASE,
)
# Where the noun phrase behind a figure ends: "7B parameters causal decoder-only model | built by ...".
_AFTER_STOP = re.compile(
    r"[,.;:()|。，；：]|\b(?:by|trained|built|with|and|that|which|from|for|using|developed|designed|released|on|to|in|was"
    r"|across|during|is|are|but|optimi[sz]ed|pre-?trained|capable|fine-?tuned|instruction-tuned|at|as|where|while)\b",
    re.IGNORECASE,
)
# "A 10M-parameter model will babble" is about models in general.
_GENERAL = re.compile(r"^.{0,80}\b(?:will|can|would|could|might|may|should|needs|requires|takes)\b", re.IGNORECASE)
_SEVERAL = _any_of("models llms vlms slms variants versions sizes checkpoints series family suite counterparts? ones")
_PLURAL_SUBJECT = re.compile(r"^\s?models?\s(?:are|have|with)\b", re.IGNORECASE)
_ACTIVATES = re.compile(r"\bactivat(?:es|ing)\b[^,.]{0,30}$", re.IGNORECASE)
_PER_TOKEN = re.compile(
    r"^\s?(?:(?:are|is|being|used)\s)?(?:activated|active|per (?:token|forward)|for each token"
    r"|(?:at|during) inference)",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of `text` and where each begins, cut at MAX_SENTENCE."""
    start = 0
    for end in _END.finditer(text):
        yield start, text[start : end.start()][:MAX_SENTENCE]
        start = end.end()
    yield start, text[start:][:MAX_SENTENCE]


def mentions_in_sentence(sentence: str, name: ModelName, *, fragment: bool = False) -> list[Mention]:
    """The parameters that a sentence claims for the model called `name`; with `fragment` it needs no subject.

    Beside them a figure without the word itself counts where it is "activated".
    """
    found = [*_COUNTED.finditer(sentence), *_COUNT_IS.finditer(sentence)]
    mentions = [_mention(sentence, match, name, fragment) for match in found]
    own = [mention for mention in mentions if mention]
    if own and len(own) == len(mentions):
        seen = {match.span("figure") for match in found}
        own += [
            Mention(start=match.start("figure"), text=match["figure"].strip(), kind="active")
            for match in _ACTIVE_TOO.finditer(sentence)
            if match.span("figure") not in seen and match.start() > own[0].start and match["figure"][-1].isalpha()
        ]
    return sorted(unambiguous(own), key=lambda mention: mention.start)


def _mention(sentence: str, match: re.Match[str], name: ModelName, fragment: bool) -> Mention | None:
    """The mention that `match` makes; None where its figure is not certainly this model's."""
    before, after = sentence[: match.start("figure")], sentence[match.end() :]
    rough = ROUGHLY.search(before)
    bare = before[: rough.start()] if rough else before
    if INEXACT.search(bare) or _is_listed(bare) or OR_OTHER.match(after) or means_else(after):
        return None
    behind = _AFTER_STOP.split(after, maxsplit=1)[0][:80]
    if any(phrase.whose == "other" for phrase in name.phrases(behind, titles=True)):
        return None
    kind = _kind(before, match["words"] or "", after, behind)
    between = _between(before, after, name, fragment)
    if not kind or (between is None and not (fragment and kind.startswith("trainable"))):
        return None
    if _SEVERAL.search(behind) and not _PLURAL_SUBJECT.match(between or ""):
        return None
    return Mention(start=match.start("figure"), text=match["figure"].strip(), kind=kind, rough=rough is not None)


def _is_listed(before: str) -> bool:
    """Whether a figure is the last of several: "124 million, 355 million and ..."."""
    joined = ENUMERATED.search(before)
    return joined is not None and any(figure.end() >= joined.start() for figure in FIGURES.finditer(before))


def _between(before: str, after: str, name: ModelName, fragment: bool) -> str | None:
    """What stands between the subject and the figure; None where the subject is not this model."""
    phrases = list(name.phrases(before))
    # A fine-tune is often called after its base: "a fine-tuned version of gpt2" in the card of gpt2-poems.
    own = [each for each in phrases if each.whose == "own" and not _DERIVED.search(before[: each.start][-60:])]
    others = [phrase.end for phrase in phrases if phrase not in own]
    subjects = [phrase.end for phrase in own]
    for match in _GENERIC.finditer(before):  # "our CIFAR10 model" is one of several
        subjects += [] if any(match.start() < end <= match.end() for end in others) else [match.end()]
    if not subjects:
        opens = fragment and not others and _opens(before) and not _GENERAL.search(after)
        return before if opens else None
    subject = max(subjects)
    between = before[subject:]
    if any(other > subject for other in others) or len(between) > MAX_DISTANCE:
        return None
    if _SPOILS.search(_PLURAL_SUBJECT.sub("", between)):
        return None
    return between


def _opens(before: str) -> bool:
    """Whether a fragment's figure comes at once: "A 7B ...", "12-layer, 768-hidden, 12-heads, 110M ..."."""
    words = re.split(r"[\s,:()]+", before.strip())
    return len(words) <= MAX_OPENING and all(_OPENING_WORD.fullmatch(word) for word in words)


def _kind(before: str, words: str, after: str, behind: str) -> str:
    """The kind of count, "" for a component that is not audited."""
    if _ACTIVATES.search(before) or _PER_TOKEN.match(after):
        return "active"
    of_part = PART_BEFORE.search(before[-60:]) or PART_BEHIND.search(behind)
    return kind_of(f"{words} {of_part[0] if of_part else ''}", context=before + after)
