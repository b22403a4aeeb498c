"""The checkpoint of a PEFT repository held against what PEFT would write for its adapter_config.json and base.

Where the base can be had, every stored tensor is held by name and shape against the state dict that PEFT makes of the
adapters on the base built empty. Where it cannot, a LoRA is held against itself: ranks and targets as configured.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from hfcount.auditing.finding import Finding, Verdict
from hfcount.auditing.peft_conventions import RENAMED
from hfcount.auditing.peft_methods import Adapted, BaseConfig, Unattached, adapt, load_base, named_base
from hfcount.auditing.stating import found
from hfcount.configs import LoadedConfig, one_line
from hfcount.errors import BadInput
from hfcount.limits import guarded_build
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

if TYPE_CHECKING:
    from torch import nn

KIND = "adapter"

Shapes = Mapping[str, tuple[int, ...]]

WITH_EMBEDDINGS = "saved with the embedding layers"
"""`save_pretrained` writes the base's embedding and head beside the adapters where the vocabulary was resized or they
were targeted (peft/utils/save_and_load.py, `save_embedding_layers`)."""


def judge_adapter(described: Described, *, base_config: BaseConfig | None = None) -> Finding | None:
    """What became of the stored adapters; None for what has no adapter_config.json or no checkpoint.

    The claim is the number of stored parameters, `expected` what PEFT would write. "ok": every name and shape is the
    same. "explained": but for a convention. "unverifiable": the base is not to be had, and what is stored agrees with
    its configuration. "mismatch": it does not.
    """
    config, stored = described.adapter_config, shapes_stored(described)
    if config is None or not stored:
        return None
    base = named_base(config, base_config)
    if base is None:
        why = f"the base {config.get('base_model_name_or_path')!r} is not to be had"
        return _judge_alone(described, stored, config, why)
    try:
        settings = sizes_stored(load_base(*base), config, stored)
        adapted = adapt(load_base(*base, settings), config)
        ours = written(adapted.model)
    except (BadInput, Unattached) as reason:
        return _judge_alone(described, stored, config, str(reason))
    return _judge_against(described, stored, ours, adapted)


def shapes_stored(described: Described) -> Shapes:
    """The names and shapes in the checkpoint; {} without one."""
    return {entry.name: entry.shape for entry in described.checkpoint.entries} if described.checkpoint else {}


def sizes_stored(loaded: LoadedConfig, config: Mapping[str, Any], stored: Shapes) -> dict[str, int]:
    """num_labels and vocab_size of the base that the adapters were trained on, where the stored shapes show others.

    An adapter's base is named, but the labels of a new head and a resized vocabulary are nowhere said. Raises BadInput
    where the base cannot be built, Unattached where PEFT attaches nothing.
    """
    if not stored:
        return {}
    wrapped = adapt(loaded, config).model
    return _sizes_shown(wrapped, written(wrapped), stored)


def written(wrapped: nn.Module) -> Shapes:
    """The names and shapes that `save_pretrained` would write of PEFT's wrapper, the base's embeddings left out.

    Raises Unattached where PEFT cannot tell them without values.
    """
    from peft import get_peft_model_state_dict

    config = cast(Any, wrapped).peft_config["default"]
    prompts = hasattr(wrapped, "prompt_encoder")
    if prompts:
        config.inference_mode = True  # else PEFT computes the prompts and copies them from the device, which has none
    try:
        state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    except Exception as error:  # each method makes its own
        raise Unattached(f"PEFT does not say what it would write: {one_line(error)}") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if prompts and getattr(config, "prefix_projection", False):  # what the projection gives, a key and value a layer
        shapes["prompt_embeddings"] = (config.num_virtual_tokens, 2 * config.num_layers * config.token_dim)
    return shapes


def _sizes_shown(wrapped: nn.Module, ours: Shapes, stored: Shapes) -> dict[str, int]:
    """num_labels and vocab_size as stored, where a stored shape differs in just the size that is theirs."""
    config = cast(Any, wrapped).config
    sizes = {"vocab_size": getattr(config, "vocab_size", None), "num_labels": getattr(config, "num_labels", None)}
    found: dict[str, int] = {}
    for name in ours.keys() & stored.keys():
        differing = [(a, b) for a, b in zip(ours[name], stored[name], strict=False) if a != b]
        if len(ours[name]) == len(stored[name]) and len(differing) == 1:
            mine, theirs = differing[0]
            found |= {field: theirs for field, size in sizes.items() if size == mine}
    return found


def _judge_against(described: Described, stored: Shapes, ours: Shapes, adapted: Adapted) -> Finding:
    expected = _count(ours)
    counted = f"PEFT writes {len(ours):,} tensors, {expected:,} parameters, for {adapted.model_class}"
    extra = {name: stored[name] for name in stored.keys() - ours.keys()}
    missing = ours.keys() - stored.keys()
    differing = [name for name in sorted(ours.keys() & stored.keys()) if ours[name] != stored[name]]
    if not extra and not missing and not differing:
        return _finding(described, stored, "ok", f"{counted}, and so many are stored", expected)
    if not missing and not differing and all(_EMBEDDING.search(name) for name in extra):
        why = f"{counted}; {', '.join(sorted(extra))} besides, {_count(extra):,}"
        return _finding(described, stored, "explained", why, expected, WITH_EMBEDDINGS)
    if adapted.renamed and Counter(ours.values()) == Counter(stored.values()):
        names = ", ".join(f"{old} as {new}" for old, new in adapted.renamed.items())
        why = f"{counted}, and so many are stored, with as many of each shape; transformers 5 has {names}"
        return _finding(described, stored, "explained", why, expected, RENAMED)
    parts = (_listed("missing", missing), _listed("unexpected", extra), _listed("of another shape", differing))
    why = f"{counted}; {'; '.join(part for part in parts if part)}"
    return _finding(described, stored, "mismatch", why, expected)


_EMBEDDING = re.compile(r"(embed_tokens|lm_head|word_embeddings|wte|embed_in|embed_out)(\.base_layer)?\.weight$")
"""PEFT's `EMBEDDING_LAYER_NAMES` and what classes call the same."""


def _listed(what: str, names: Any) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 2:,} more" if len(shown) > 2 else ""
    return f"{what}: {', '.join(shown[:2])}{more}" if shown else ""


@dataclasses.dataclass(frozen=True)
class Pair:
    """The two matrices of one LoRA: rank of each (None where one is not stored), and the module's path."""

    module: str
    a: int | None
    b: int | None


_LORA = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?$"
)


def lora_pairs(stored: Shapes) -> Iterator[Pair]:
    """The pairs of A (r x in) and B (out x r) in a checkpoint; of an embedding A is r x V and B is d x r as well."""
    ranks: dict[str, dict[str, int]] = {}
    for name, shape in stored.items():
        found = _LORA.match(name)
        if found and len(shape) >= 2:
            ranks.setdefault(found["module"], {})[found["side"]] = shape[0] if found["side"] == "A" else shape[1]
    for module, sides in ranks.items():
        yield Pair(module, sides.get("A"), sides.get("B"))


def _judge_alone(described: Described, stored: Shapes, config: Mapping[str, Any], reason: str) -> Finding:
    """The verdict without a base: a LoRA's ranks and targets can still be held against its configuration."""
    pairs = list(lora_pairs(stored))
    if config.get("peft_type") != "LORA" or not pairs:
        return _finding(described, stored, "unverifiable", f"{reason}; nothing to hold the adapters against")
    try:
        with guarded_build("adapter_config.json", seconds=PATTERN_SECONDS):
            wrong = [fault for pair in pairs for fault in _faults(pair, config)]
    except BadInput:
        why = f"{reason}; the patterns of adapter_config.json take more than {PATTERN_SECONDS:g} s to hold"
        return _finding(described, stored, "unverifiable", why)
    if wrong:
        more = f" and {len(wrong) - 2:,} more" if len(wrong) > 2 else ""
        return _finding(described, stored, "mismatch", f"{'; '.join(wrong[:2])}{more}")
    why = f"{reason}; the ranks and targets of {len(pairs):,} adapted modules are as adapter_config.json says"
    return _finding(described, stored, "unverifiable", why)


def _faults(pair: Pair, config: Mapping[str, Any]) -> Iterator[str]:
    if pair.a is None or pair.b is None:
        yield f"{pair.module} has only one of A and B"
    elif pair.a != pair.b and not config.get("use_bdlora"):
        yield f"{pair.module}: A has rank {pair.a}, B {pair.b}"
    rank = _configured_rank(pair.module, config)
    if rank is not None and pair.a is not None and pair.a % rank:  # fused experts multiply the rank
        yield f"{pair.module}: rank {pair.a}, and adapter_config.json says {rank}"
    if not _is_target(pair.module, config.get("target_modules"), config.get("target_parameters")):
        yield f"{pair.module} is none of target_modules"


def _configured_rank(module: str, config: Mapping[str, Any]) -> int | None:
    """The rank that the configuration gives the module: that of the first pattern that fits its name, else r."""
    patterns = config.get("rank_pattern")
    for pattern, rank in patterns.items() if isinstance(patterns, Mapping) else ():
        if _fits(rf"(.*\.)?({pattern})", module):
            return rank if isinstance(rank, int) and rank > 0 else None
    rank = config.get("r")
    return rank if isinstance(rank, int) and rank > 0 else None


def _is_target(module: str, targets: Any, parameters: Any) -> bool:
    """As PEFT matches it: a string is a pattern for the whole path, of a list one is the path or its end."""
    if parameters or targets is None or targets == "all-linear":
        return True
    if isinstance(targets, str):
        return _fits(targets, module)
    return not isinstance(targets, (list, tuple)) or any(
        module == name or module.endswith(f".{name}") for name in targets
    )


MAX_PATTERN = 500
PATTERN_SECONDS = 5.0
"""For holding all stored names against the patterns of a configuration, which are anybody's and can be made to take
for ever."""


def _fits(pattern: str, text: str) -> bool:
    """Whether a published pattern fits; what is no pattern, or is too long for one, fits all."""
    try:
        return len(pattern) > MAX_PATTERN or re.fullmatch(pattern, text) is not None
    except re.error:
        return True


def _count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _finding(
    described: Described,
    stored: Shapes,
    verdict: Verdict,
    explanation: str,
    expected: int | None = None,
    convention: str | None = None,
) -> Finding:
    claimed = _count(stored)
    source = ", ".join(described.checkpoint.header.files) if described.checkpoint else ""
    claim = Claim(claim=f"{claimed:,}", value=claimed, kind=KIND, source=source)
    return found(
        described.model, claim, verdict, explanation, expected=expected, claimed=claimed, convention=convention
    )
