"""Which parameter a stored tensor becomes: by the renamings and conversions of transformers' own loading.

`from_pretrained` (transformers/core_model_loading.py, `convert_and_load_state_dict_in_model`) takes the stored names
in natural order, applies every renaming of the model's conversion mapping, then at most one converter, which fuses or
splits, then adds or strips the prefix of the base model; a name that this leads astray though the class has it is
kept. The same functions are called here, with names alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The longest name of a parameter in transformers has under 150 characters. A longer one is no name of the class, and
# is kept from patterns whose time grows with the square of the length.
LONGEST_NAME = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Landing:
    """Where a stored name lands.

    Attributes:
        stored: its name in the checkpoint.
        name: the name in the class that it becomes, or the first of several; it need not be there.
        names: all of them: several where one stored tensor is split.
        converted: whether a conversion fuses, splits or reshapes it, so that shapes need not agree.
    """

    stored: str
    name: str
    names: tuple[str, ...]
    converted: bool = False


def fits_patterns(name: str) -> bool:
    """Whether `name` may be shown to regular expressions: short, and without digits that `int` does not take."""
    return len(name) <= LONGEST_NAME and name.isascii()


def landings(model: PreTrainedModel, names: Iterable[str], built: Collection[str]) -> Iterator[Landing]:
    """Where each of `names` lands, in the order of loading; `built` are the names of the class's state dict."""
    ordinary: list[str] = []
    strange: list[str] = []
    for name in names:
        (ordinary if fits_patterns(name) else strange).append(name)
    convert, order = _conversion(model, built)
    for name in sorted(ordinary, key=order):
        yield convert(name)
    for name in strange:
        yield Landing(name, name, (name,))


def _conversion(
    model: PreTrainedModel, built: Collection[str]
) -> tuple[Callable[[str], Landing], Callable[[str], Any]]:
    """(a name to its landing, the order of names); by the prefix alone where transformers has no such functions."""
    prefix = model.base_model_prefix
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import (
            WeightConverter,
            WeightRenaming,
            dot_natural_key,
            rename_source_key,
        )

        mapping = get_model_conversion_mapping(model)
    except (ImportError, AttributeError, TypeError):
        return lambda name: _by_prefix(name, prefix, built), lambda name: name

    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    by_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
    there: Any = dict.fromkeys(built, True)

    def convert(stored: str) -> Landing:
        name, pattern = rename_source_key(stored, renamings, converters, prefix, there)
        if name not in there and stored in there:
            name, pattern = rename_source_key(stored, [], [], prefix, there)
        if pattern is None:
            return Landing(stored, name, (name,))
        first, *others = by_pattern[pattern].target_patterns
        return Landing(stored, name, (name, *(name.replace(first, other) for other in others)), converted=True)

    return convert, dot_natural_key


def _by_prefix(stored: str, prefix: str, built: Collection[str]) -> Landing:
    """The name as it stands, or with the prefix of the base model added or stripped, whichever the class has."""
    candidates = (stored, stored.removeprefix(f"{prefix}."), f"{prefix}.{stored}")
    name = next((each for each in candidates if each in built), stored)
    return Landing(stored, name, (name,))


def ignored_unexpected(model: PreTrainedModel) -> Callable[[str], bool]:
    """Whether loading passes over a name that the class has not: its `_keys_to_ignore_on_load_unexpected`.

    Two that transformers adds for all models (modeling_utils.py, `_adjust_missing_and_unexpected_keys`): where the
    class has such buffers, `rotary_emb.inv_freq` of each layer and `position_ids`, which older files hold.
    """
    patterns = set(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())
    buffers = [name for name, _ in model.named_buffers()]
    if any(name.endswith("rotary_emb.inv_freq") for name in buffers):
        patterns.add(r"rotary_emb\.inv_freq")
    if any(name.endswith("position_ids") for name in buffers):
        patterns.add(r"(^|\.)position_ids$")
    return _any_of(patterns)


def ignored_missing(model: PreTrainedModel) -> Callable[[str], bool]:
    """Whether loading does not complain that a name of the class is not stored."""
    return _any_of(getattr(model, "_keys_to_ignore_on_load_missing", None) or ())


def _any_of(patterns: Iterable[str]) -> Callable[[str], bool]:
    alternatives = "|".join(f"({pattern})" for pattern in sorted(patterns))
    if not alternatives:
        return lambda name: False
    compiled = re.compile(alternatives)
    return lambda name: fits_patterns(name) and compiled.search(name) is not None
