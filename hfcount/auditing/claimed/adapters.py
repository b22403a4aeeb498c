"""What the adapter of a PEFT repository says of itself, as what is needed to hold it against the stored tensors.

adapter_config.json names the base model and PEFT's settings; the checkpoint beside it has the adapter's matrices,
whose names and shapes tell what was really adapted and at which rank.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from hfcount.lora.options import LoraOptions
from hfcount.sources.headers.checkpoint import Checkpoint
from hfcount.sources.source import Claim

KIND = "trainable (adapter_config.json)"

# Fields of peft.LoraConfig that LoraOptions has, by the same name but for target_modules.
_UNDERSTOOD = ("r", "modules_to_save", "target_parameters", "rank_pattern", "use_dora", "bias", "ensure_weight_tying")
# Fields that leave the number of parameters alone: scaling, dropout, how A and B begin, and what the file is about
# (peft/tuners/lora/config.py, PEFT 0.21).
_HARMLESS = frozenset(
    """
    task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode lora_alpha
    lora_dropout fan_in_fan_out use_rslora init_lora_weights alpha_pattern layers_pattern loftq_config eva_config
    corda_config lora_ga_config runtime_config megatron_config megatron_core alora_invocation_tokens
    qalora_group_size target_modules
    """.split()  # noqa: SIM905 - a list of words reads better than a list of strings
)
_LORA_WEIGHT = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+?)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(?:\.|$)"
)
_PREFIX = "base_model.model."


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterClaim:
    """A PEFT adapter: what its config says, and what its file stores.

    Attributes:
        base_model: the model that it is for, as the config names it; None where it names none.
        base_revision: of the base model; None for the newest.
        peft_type: "LORA", "PREFIX_TUNING", ...; "" where the config does not say.
        settings: keyword arguments for LoraOptions; {} for another method than LoRA.
        not_understood: fields of the config that may change the count and that LoraOptions does not have, sorted.
        stored: elements of all stored tensors; None without a checkpoint.
        ranks: the stored rank of each adapted module, by its path in the base model.
        saved: elements of the stored tensors that belong to no LoRA matrix, by name: modules copied in full, resized
            embeddings.
    """

    base_model: str | None
    base_revision: str | None
    peft_type: str
    settings: Mapping[str, Any]
    not_understood: tuple[str, ...]
    stored: int | None = None
    ranks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    saved: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def options(self) -> LoraOptions:
        """The settings, checked. Raises BadInput for those that LoraOptions does not take."""
        return LoraOptions(**{"r": 0, **self.settings})

    @property
    def claim(self) -> Claim:
        """The adapter as a claim: its value is what the file stores, its text what the config says."""
        settings = {key: value for key, value in self.settings.items() if value}
        text = ", ".join(f"{key}={_short(value)}" for key, value in settings.items())
        return Claim(
            claim=f"{self.peft_type or 'PEFT'}: {text}" if text else self.peft_type or "PEFT",
            value=self.stored,
            kind=KIND,
            source="adapter_config.json",
            details={"base_model": self.base_model, "not_understood": self.not_understood},
        )


def claims_of_adapter(adapter_config: Mapping[str, Any], checkpoint: Checkpoint | None = None) -> AdapterClaim:
    """What `adapter_config` claims, and what the headers of `checkpoint` say is stored. Nothing is checked here."""
    peft_type = _text(adapter_config.get("peft_type")).upper()
    is_lora = peft_type == "LORA"
    ranks, saved = _stored(checkpoint) if checkpoint else ({}, {})
    return AdapterClaim(
        base_model=_text(adapter_config.get("base_model_name_or_path")) or None,
        base_revision=_text(adapter_config.get("revision")) or None,
        peft_type=peft_type,
        settings=_settings(adapter_config) if is_lora else {},
        not_understood=_not_understood(adapter_config) if is_lora else (),
        stored=checkpoint.header.stored_elements if checkpoint else None,
        ranks=ranks,
        saved=saved,
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {name: config[name] for name in _UNDERSTOOD if config.get(name) not in (None, [], {})}
    targets = config.get("target_modules")
    if isinstance(targets, (list, tuple)):
        settings["targets"] = tuple(targets)
    elif targets == "all-linear":
        settings["targets"] = targets
    for name in ("modules_to_save", "target_parameters"):
        if isinstance(settings.get(name), list):
            settings[name] = tuple(settings[name])
    return settings


def _not_understood(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that are set and that neither LoraOptions has nor the count can do without.

    A text in target_modules is a regular expression to PEFT, save "all-linear"; LoraOptions would read it as names.
    """
    known = _HARMLESS | set(_UNDERSTOOD)
    others = [name for name, value in config.items() if name not in known and value not in (None, False, [], {}, "")]
    targets = config.get("target_modules")
    if not isinstance(targets, (list, tuple)) and targets not in (None, "all-linear"):
        others.append("target_modules")
    return tuple(sorted(str(name) for name in others))


def _stored(checkpoint: Checkpoint) -> tuple[dict[str, int], dict[str, int]]:
    """The rank of each adapted module (A is r x in, an embedding's A too), and the elements of the other tensors."""
    ranks: dict[str, int] = {}
    saved: dict[str, int] = {}
    for tensor in checkpoint.header.tensors:
        found = _LORA_WEIGHT.match(tensor.name[:1000])
        if found is None:
            saved[tensor.name.removeprefix(_PREFIX)] = tensor.elements
        elif found["part"] in ("A", "embedding_A") and tensor.shape:
            ranks[found["module"]] = tensor.shape[0]
    return ranks, saved


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _short(value: Any) -> str:
    """A setting on a few signs: names joined by +, the rest as it stands."""
    text = "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
