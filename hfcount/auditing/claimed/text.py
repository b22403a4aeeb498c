"""The claims in the text of a model card: sentences, lists, tables, and the lines that PEFT prints."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from hfcount.auditing.claimed.keyed import PAIR, kind_of_key, mentions_in_value, unit_of_key
from hfcount.auditing.claimed.markdown import Line, Paragraph, blocks, body
from hfcount.auditing.claimed.model_name import ModelName
from hfcount.auditing.claimed.prose import mentions_in_sentence, sentences
from hfcount.auditing.claimed.tables import claims_in_table
from hfcount.auditing.claimed.wording import Mention, claim_of
from hfcount.sources.source import Claim

MAX_CLAIMS = 200

# peft/peft_model.py, PeftModel.print_trainable_parameters; older releases print every digit of the percentage.
_PEFT = re.compile(
    r"trainable params:\s{0,4}(?P<trainable>[\d,]{1,24})\s{0,4}\|\|\s{0,4}all params:\s{0,4}(?P<all>[\d,]{1,24})"
    r"\s{0,4}\|\|\s{0,4}trainable%:\s{0,4}(?P<percent>\d{1,3}(?:\.\d{1,20})?)"
)
# Sections whose sentences are about other models, about data, or quoted.
_ELSEWHERE = re.compile(
    r"\b(?:related|other|evaluation|benchmarks?|results|comparisons?|performance|baselines?|citation|bibtex|abstract"
    r"|references|acknowledge?ments?|datasets?|training data|environmental|family|limitations|changelog|news"
    r"|requirements)\b"
)
_DESCRIBES = re.compile(
    r"^(?:model|models?[ _-](?:type|description|summary|details|size|architecture|name)|architecture|description|type"
    r"|size|overview|summary|about|parameters?|specs?|specifications?)$",
    re.IGNORECASE,
)
_ORIGIN = re.compile(r"^(?:base|original|parent|source|teacher|reference|fine-?tuned|quanti[sz]ed)\b", re.IGNORECASE)
_PIECES = re.compile(r"\s[|·•]\s")


def claims_in_text(readme: str, model: str) -> tuple[Claim, ...]:
    """The claims that the card of `model` makes in its text, in its order, each with its line as `source`.

    The front matter is not read (`hfcount.sources.claims` does) but counts for the numbers of the lines. Of code the
    lines that PEFT prints are read alone. Figures of other models, tokens, bytes and ranges are left out, and so is
    every figure that is not certainly this model's. At most MAX_CLAIMS, of the first 2,000,000 signs.
    """
    lines = body(readme)
    name = ModelName(model)
    found = itertools.chain(_printed_by_peft(lines), _in_blocks(lines, name))
    claims = list(itertools.islice(found, MAX_CLAIMS))
    return tuple(sorted(claims, key=lambda claim: int(claim.source.rsplit(" ", 1)[1])))


def _printed_by_peft(lines: list[Line]) -> Iterator[Claim]:
    for number, text in lines:
        for found in _PEFT.finditer(text):
            trainable, everything = found["trainable"].replace(",", ""), found["all"].replace(",", "")
            if trainable and everything:
                yield Claim(
                    claim=found[0],
                    value=int(trainable),
                    kind="trainable (PEFT printed)",
                    source=f"README.md line {number}",
                    details={"all_params": int(everything), "trainable_pct": float(found["percent"])},
                )


def _in_blocks(lines: list[Line], name: ModelName) -> Iterator[Claim]:
    first = True
    for block in blocks(lines):
        if isinstance(block, Paragraph):
            mentions = list(_in_paragraph(block, name, may_begin=first))
            first = False
            for mention in mentions:
                claim = claim_of(mention, block.line_at(mention.start))
                if claim:
                    yield claim
        else:
            yield from claims_in_table(block, name)


def _in_paragraph(paragraph: Paragraph, name: ModelName, *, may_begin: bool) -> Iterator[Mention]:
    """Of each piece what its key and value say; what is left, as sentences.

    An item of a list, or with `may_begin` a paragraph, may begin with a figure: "A 7B parameter model".
    """
    if "trainable params:" in paragraph.text and "||" in paragraph.text:
        return
    pieces = _PIECES.split(paragraph.text) if paragraph.item or " | " in paragraph.text else [paragraph.text]
    offset = 0
    for piece in pieces:
        yield from _in_piece(piece, offset, paragraph, name, may_begin or paragraph.item)
        offset += len(piece) + 3


def _in_piece(piece: str, offset: int, paragraph: Paragraph, name: ModelName, may_begin: bool) -> Iterator[Mention]:
    pair = PAIR.match(piece)
    if pair:
        key, value = pair["key"].strip(), pair["value"]
        at = offset + pair.start("value")
        kind = kind_of_key(key)
        if kind is not None:
            yield from mentions_in_value(value, kind_of_key(key, value) or "", unit_of_key(key), at)
            return
        named = {phrase.whose for phrase in name.phrases(key)}
        if named == {"own"} or (not named and _DESCRIBES.match(key)):
            for start, sentence in itertools.islice(sentences(value), 1):
                yield from _moved(mentions_in_sentence(sentence, name, fragment=True), at + start)
            return
        if "other" in named or _ORIGIN.match(key):
            return
    if _ELSEWHERE.search(paragraph.section):
        return
    for start, sentence in sentences(piece):
        fragment = may_begin and start == 0 and pair is None
        yield from _moved(mentions_in_sentence(sentence, name, fragment=fragment), offset + start)


def _moved(mentions: list[Mention], by: int) -> list[Mention]:
    return [Mention(start=each.start + by, text=each.text, kind=each.kind, rough=each.rough) for each in mentions]
