"""One model on the bench: what its skeleton, its adapters and its quantization are, each found out once.

Budgets for many batches, sequences, ranks and regimes are then functions of tables that lie here already.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.budget.buckets import TENSORS, frozen_tensors, full_tensors, loaded_dtypes
from hfcount.budget.recipes import Precision
from hfcount.classes import text_config
from hfcount.configs import LoadedConfig, load_config
from hfcount.inventory import buffer_table, inventory
from hfcount.lora import LoraOptions
from hfcount.lora.attach import Attached, Refused, attach, suffix
from hfcount.lora.closed_form import Ranks
from hfcount.quantization import Quantized, Scheme, quantize
from hfcount.records import Record
from hfcount.skeleton import Skeleton, build_skeleton
from hfcount.sources import Source

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapters:
    """The adapters of one LoRA configuration.

    Attributes:
        names, shapes: of each trained tensor that was added; a name is that of its module in the model, with PEFT's
            own ending.
        given: the targets that PEFT was given; targets: the last names of what got an adapter.
        ranks: of the adapter on each module; `wrapped` of those on fused parameters.
        note: what was done otherwise than asked, or "".
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    given: str | tuple[str, ...]
    targets: tuple[str, ...]
    ranks: Mapping[str, int]
    wrapped: Mapping[str, int]
    note: str = ""


class Workbench:
    """A model's tables, made when they are first asked for and kept."""

    def __init__(
        self,
        source: Source,
        settings: Sequence[str],
        *,
        class_name: str | None = None,
        trust_remote_code: bool = False,
        record: Record | None = None,
    ):
        self.source = source
        self._settings = tuple(settings)
        self._class_name = class_name
        self._trust_remote_code = trust_remote_code
        self._forget(record)

    def _forget(self, record: Record | None = None) -> None:
        """Drop all that was found out, but what a `record` has."""
        self.record = record or Record()
        self._adapters: dict[tuple[int, str | tuple[str, ...]], Adapters] = {}
        self._quantized: dict[Scheme, Quantized] = {}
        self._dtypes: dict[str, list[str]] = {}
        for name in ("skeleton", "table", "parameters", "buffers_bytes", "positions"):
            self.__dict__.pop(name, None)

    def with_config(self, config: PreTrainedConfig) -> Workbench:
        """Another bench with the same model under another config."""
        found = copy.copy(self)
        found._forget()
        found.loaded = dataclasses.replace(self.loaded, config=config)
        return found

    @functools.cached_property
    def loaded(self) -> LoadedConfig:
        return load_config(self.source, self._settings, trust_remote_code=self._trust_remote_code)

    def build(self, dtype: str | None = None) -> Skeleton:
        """A fresh skeleton with a config of its own: PEFT, bitsandbytes and the kind of attention change them.

        `dtype` is what it is built in; a class may make some parameters in another type whatever is asked.
        """
        config = copy.deepcopy(self.loaded.config)
        if dtype is not None:
            config.dtype = dtype
        own = dataclasses.replace(self.loaded, config=config)
        return build_skeleton(own, class_name=self._class_name)

    @functools.cached_property
    def skeleton(self) -> Skeleton:
        return self.build()

    @property
    def model(self) -> PreTrainedModel:
        return self.skeleton.model

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The inventory."""
        return inventory(self.model)

    @functools.cached_property
    def parameters(self) -> int:
        return int(self.table["numel"].sum())

    @functools.cached_property
    def buffers_bytes(self) -> int:
        """What the buffers take: not parameters, and in none of the buckets."""
        import torch

        buffers = buffer_table(self.model)
        widths = buffers["dtype"].map(lambda name: getattr(torch, name).itemsize)
        return int((buffers["numel"] * widths).sum())

    @functools.cached_property
    def positions(self) -> int | None:
        """How many tokens a row may have, where the config says it."""
        text = text_config(self.skeleton.config)
        for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"):
            value = getattr(text, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None

    def dtypes(self, dtype: str) -> list[str]:
        """What each row of the table has after loading in `dtype`."""
        if dtype not in self._dtypes:
            self._dtypes[dtype] = self._built_in(dtype)
        return self._dtypes[dtype]

    def _built_in(self, dtype: str) -> list[str]:
        """The types in a skeleton that was built in `dtype`, and what transformers keeps in fp32 all the same."""
        model = self.build(dtype).model
        own = {name: str(each.dtype).removeprefix("torch.") for name, each in model.named_parameters()}
        kept = kept_in_fp32(model, dtype)
        built = [
            next(own[each] for each in (name, *aliases) if each in own)
            for name, aliases in zip(self.table["name"], self.table["aliases"], strict=True)
        ]
        return loaded_dtypes(self.table.assign(dtype=built), dtype, kept=kept, explicit=dtype)

    def quantized(self, scheme: Scheme) -> Quantized:
        """What transformers and bitsandbytes make of the model under `scheme`."""
        if scheme not in self._quantized:
            self._quantized[scheme] = quantize(lambda: self.build().model, self.table, scheme)
        return self._quantized[scheme]

    def adapters(self, rank: int, targets: str | tuple[str, ...]) -> Adapters:
        """PEFT's adapters; Refused where it attaches nothing. Where it knows no default targets, all linear layers."""
        if (rank, targets) not in self._adapters:
            try:
                found = self._attached(LoraOptions(r=rank, targets=targets))
            except Refused as refusal:
                if targets != "default":
                    raise
                found = dataclasses.replace(
                    self._attached(LoraOptions(r=rank, targets="all-linear")),
                    note=f"LoRA on all linear layers: {str(refusal).split(';')[0]}",
                )
            self._adapters[rank, targets] = found
        return self._adapters[rank, targets]

    def _attached(self, options: LoraOptions) -> Adapters:
        model = self.build().model
        found = attach(model, options, self.table)
        ranks = Ranks(options, found.rank_pattern)
        added = {name: each for name, each in found.model.named_parameters() if each.requires_grad}
        return Adapters(
            names=tuple(name.removeprefix("base_model.model.").replace(".base_layer", "") for name in added),
            shapes=tuple(tuple(each.shape) for each in added.values()),
            given=options.targets,
            targets=_targets(found),
            ranks={name: ranks.of(name)[1] for name in found.modules},
            wrapped={name: ranks.of(name)[1] for name in found.parameters},
        )

    def full(self, precision: Precision) -> pd.DataFrame:
        """The tensors of full fine-tuning."""
        return full_tensors(self.table, self.dtypes(precision.base))

    def adapted(self, precision: Precision, adapters: Adapters, quantized: Quantized | None = None) -> pd.DataFrame:
        """The tensors of LoRA, or with `quantized` of QLoRA: the frozen base's, then the adapters'."""
        base = self.frozen(precision, quantized)
        added = full_tensors(_as_table(adapters.names, adapters.shapes), [precision.trained] * len(adapters.shapes))
        import pandas as pd

        return pd.concat([base, added], ignore_index=True)[list(TENSORS)]

    def frozen(self, precision: Precision, quantized: Quantized | None = None) -> pd.DataFrame:
        """The tensors of the frozen base."""
        packed = None
        if quantized is not None:
            packed = dict(zip(self.table["name"][quantized.rows], quantized.bytes[quantized.rows], strict=True))
        return frozen_tensors(
            self.table, self.dtypes(precision.base), quantized=packed, upcast=precision.upcast and packed is not None
        )


def kept_in_fp32(model: PreTrainedModel, dtype: str) -> list[str]:
    """Return the names, or globs, of the modules that transformers loads in fp32 when asked for `dtype`."""
    kept = list(getattr(model, "_keep_in_fp32_modules_strict", None) or ()) if dtype != "float32" else []
    if dtype == "float16":
        kept += list(getattr(model, "_keep_in_fp32_modules", None) or ())
    return kept


def _targets(found: Attached) -> tuple[str, ...]:
    names = (*found.modules, *found.parameters)
    return tuple(sorted({suffix(name.removesuffix(".weight")) for name in names}))


def _as_table(names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Any:
    import math

    import pandas as pd

    return pd.DataFrame(
        {
            "name": list(names),
            "shape": list(shapes),
            "numel": [math.prod(shape) for shape in shapes],
        }
    )
