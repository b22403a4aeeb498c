"""Claims in keys and values: "Number of Parameters: 7.61B", "| Total Params | 235B |", "参数量：7B"."""

from __future__ import annotations

import re

from hfcount.auditing.claimed.wording import FIGURES, INEXACT, PARAMETERS, Mention, kind_of, means_else, unambiguous

MAX_VALUE = 200

PAIR = re.compile(r"^(?P<key>[^:：=|]{1,70})(?:[:：]|\s=)\s*(?P<value>\S.*)$")
# A key about parameters has no words but these: "Sampling parameters" and "Base model parameters" are other keys.
_KEY_WORD = re.compile(PARAMETERS, re.IGNORECASE)
_BESIDE = frozenset(
    """
    number num nb nombre número no n count counts of total totals overall the model models llm size in approx unique
    approximate approximately active activated trainable learnable learned non embedding embeddings embed excluding
    without w o incl including all effective vision visual text image encoder tower transformer b m bn mn billion
    billions million millions est estimated dense full de per token layer 模型 总 激活 非嵌入 可训练 数 총 수 モデル
    """.split()  # noqa: SIM905 - a list of words reads better than a list of strings
)
_SIZE_KEY = re.compile(r"^(?:the\s)?model[ _-]?size$|^模型(?:大小|规模)$", re.IGNORECASE)
_UNIT = re.compile(
    r"[(\[]\s?(?:in\s|×\s?)?(b|m|bn|billions?|millions?)\s?[)\]]|\bin (billions?|millions?)\b", re.IGNORECASE
)
_UNITS = {"b": "B", "m": "M"}
_START = re.compile(
    r"^(?:(?:about|around|approximately|approx\.?|roughly|a total of|total|only|约|\()\s{0,3}){0,2}(?=[~≈]?\s?\d)",
    re.IGNORECASE,
)
_RANGE = re.compile(r"^\s?(?:-|–|—|to|~|/|,|\+|or|and|&|或)\s?[~≈]?\d", re.IGNORECASE)
_EACH_NAMED = re.compile(r"\)\s?,\s?$")  # "1.97M (one model), 1.90M (another)"
_STOP = re.compile(r"[;。；]|\.\s|\s[-–—]\s")
# What may stand behind a figure in a value; "7B costs more than 1.5B" is no value.
_TAIL = re.compile(
    rf"^\s?(?:$|[^\w\s%×]|(?:{PARAMETERS}|in|total|overall|activated|active|non|trainable|effective|dense|weights|and|with|per"
    r"|of|model|base|激活|总|个)(?![a-z]))",
    re.IGNORECASE,
)


def kind_of_key(key: str, value: str = "") -> str | None:
    """The kind of count that a key names, "" for one that is not audited; None for a key about something else.

    "size" is the kind of a key that may mean bytes as well. Of a trainable count `value` may tell that it is LoRA's.
    """
    cleaned = re.sub(r"[_{}#\\]", " ", key).strip().lower()
    if _SIZE_KEY.match(cleaned):
        return "size"
    rest, found = _KEY_WORD.subn(" ", cleaned)
    words = re.findall(r"[^\W\d_]+", rest)
    if found != 1 or any(word not in _BESIDE for word in words):
        return None
    return kind_of(cleaned, context=f"{cleaned} {value[:MAX_VALUE]}")


def unit_of_key(key: str) -> str:
    """ "B" or "M" where a key says that its values are in billions or millions; else ""."""
    found = _UNIT.search(key)
    return _UNITS[(found[1] or found[2])[0].lower()] if found else ""


def mentions_in_value(value: str, kind: str, unit: str = "", offset: int = 0) -> list[Mention]:
    """The figures that a value gives: its first in the key's kind, others in the kind that their own words say.

    A value must begin with a figure. `unit` is the key's; `offset` is added to where the mentions begin.
    """
    value = value[:MAX_VALUE]
    opening = _START.match(value)
    if opening is None or not kind:
        return []
    end = _STOP.search(value)
    text = value[: end.start()] if end else value
    figures = list(FIGURES.finditer(text))
    if not figures or text[opening.end() : figures[0].start()].strip():
        return []
    mentions = []
    for index, figure in enumerate(figures):
        until = figures[index + 1].start() if index + 1 < len(figures) else len(text)
        tail = text[figure.end() : until]
        if _RANGE.match(text[figure.end() :]) or _EACH_NAMED.search(text[: figure.start()]):
            return []
        mention = _mention(figure, tail, text, kind, unit, first=index == 0, offset=offset)
        if mention is None and index == 0:
            return []
        mentions += [mention] if mention else []
    return unambiguous(mentions)


def _mention(
    figure: re.Match[str], tail: str, text: str, kind: str, unit: str, *, first: bool, offset: int
) -> Mention | None:
    """The mention of one figure with the words behind it; None where it is no count of parameters of this model."""
    printed = figure[0].strip()
    has_unit = re.search(r"[a-z]", printed, re.IGNORECASE) is not None
    if means_else(tail) or not _TAIL.match(tail) or (not first and INEXACT.search(text[: figure.start()])):
        return None
    own = kind_of(tail.split(",")[0].split(")")[0])
    says_parameters = _KEY_WORD.search(tail) is not None
    if kind == "size":  # may be a file's size: 500M is one of megabytes as often as of parameters
        if not has_unit or not (says_parameters or printed[-1] in "bB" or "illion" in printed):
            return None
        kind = "total"
    if not first and own == "total" and not re.search(r"\btotal\b|总", tail, re.IGNORECASE):
        return None  # a bare second figure: of what, the text alone knows
    meant = own if own != "total" or not first else kind
    if not meant or ("," not in printed and not has_unit and not unit and len(printed.strip("~≈ ")) < 5):
        return None
    rough = first and re.match(r"about|around|approx|roughly|约", text, re.IGNORECASE) is not None
    in_unit = bool(unit) and not has_unit and "," not in printed and ("." in printed or len(printed.strip("~≈ ")) < 5)
    return Mention(
        start=offset + figure.start(),
        text=printed + (unit if in_unit else ""),
        kind=meant,
        rough=rough,
    )
