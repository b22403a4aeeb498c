"""What a visitor of the page has chosen, checked when it is made, and the limits on it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from hfcount.errors import BadInput

MAX_CONFIG_BYTES = 2**20
"""A published config.json has some kB."""

MAX_SETTINGS = 64
MAX_TEXT = 4096
MAX_RANKS = 8
MAX_BATCH = 2**20
MAX_SEQ = 2**22

_MODEL = re.compile(r"((hf|card):)?[\w.-]{1,96}(/[\w.-]{1,96})?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """Everything that the page's answers depend on; BadInput, which names the field, for what cannot be meant.

    Attributes:
        model: a bundled card's name or a Hub id. A folder is none: a page must not read its host's files.
        config: the text of a config.json, which then stands for the model; "" without.
        settings: config fields to override, "KEY=VALUE" a line.
        ranks: LoRA ranks with commas; "" for none.
        targets: as `hfcount --lora-targets`.
        batch, seq: rows a device; tokens a row, None for the model's own.
        precision, optimizer: names of a recipe and an optimizer.
        checkpointing, double_quant: as `hfcount memory` has them.
        gpus: names of the GPUs to hold the budgets against.
        figure: a published figure to explain; "" for none.
    """

    model: str = "openai-community/gpt2"
    config: str = ""
    settings: str = ""
    ranks: str = "4, 8, 16"
    targets: str = "default"
    batch: int = 1
    seq: int | None = None
    precision: str = "mixed-bf16"
    optimizer: str = "adamw"
    checkpointing: bool = False
    double_quant: bool = False
    gpus: tuple[str, ...] = ()
    figure: str = ""

    def __post_init__(self) -> None:
        for name in ("model", "config", "settings", "ranks", "targets", "precision", "optimizer", "figure"):
            object.__setattr__(self, name, _text(name, getattr(self, name)))
        object.__setattr__(self, "gpus", tuple(_text("GPU", each) for each in self.gpus or ()))
        object.__setattr__(self, "batch", _whole("batch", 1 if self.batch is None else self.batch, MAX_BATCH))
        object.__setattr__(self, "seq", None if not self.seq else _whole("seq", self.seq, MAX_SEQ))
        self._check()

    def _check(self) -> None:
        from hfcount.budget.gpus import gpu
        from hfcount.budget.optimizers import optimizer
        from hfcount.budget.recipes import recipe

        if not self.config and not _MODEL.fullmatch(self.model):
            raise BadInput(
                f"model {self.model[:80]!r}: neither a bundled card nor a Hub id (OWNER/NAME); "
                "for a model of your own paste its config.json"
            )
        if len(self.setting_lines) > MAX_SETTINGS:
            raise BadInput(f"config fields: {len(self.setting_lines)} lines; the page takes at most {MAX_SETTINGS}")
        for line in self.setting_lines:
            if not re.match(r"[^\s=][^=]*=\s*\S", line):
                raise BadInput(f"config fields: {line[:80]!r}: write it as KEY=VALUE, for example n_layer=24")
        # By their own names, as the page's lists have them: a link may say "h200".
        object.__setattr__(self, "precision", recipe(self.precision).name)
        object.__setattr__(self, "optimizer", optimizer(self.optimizer).name)
        object.__setattr__(self, "gpus", tuple(dict.fromkeys(gpu(each).name for each in self.gpus)))
        self.adapters()  # which checks the ranks and the targets

    @property
    def setting_lines(self) -> tuple[str, ...]:
        """The overrides, "KEY=VALUE" each."""
        return tuple(line.strip() for line in self.settings.splitlines() if line.strip())

    @property
    def rank_values(self) -> tuple[int, ...]:
        """The ranks, each once; BadInput for what is none."""
        found = [_rank(each) for each in re.split(r"[,;\s]+", self.ranks) if each]
        if len(set(found)) > MAX_RANKS:
            raise BadInput(f"LoRA ranks: {len(set(found))} of them; the page takes at most {MAX_RANKS}")
        return tuple(dict.fromkeys(found))

    def adapters(self) -> list[Any]:
        """The LoRA configurations (`LoraOptions`) asked for, a rank each."""
        from hfcount.lora.options import LoraOptions

        return [LoraOptions(r=r, targets=self.targets or "default") for r in self.rank_values]


NAMES = tuple(field.name for field in dataclasses.fields(State))
"""The fields of a state, in the order in which the page has them."""


def state_of(values: Sequence[Any]) -> State:
    """The state of the page's inputs, given in the order of NAMES; BadInput as State raises it."""
    return State(**dict(zip(NAMES, values, strict=True)))


def _text(name: str, value: Any) -> str:
    text = "" if value is None else str(value).strip()
    most = MAX_CONFIG_BYTES if name == "config" else MAX_TEXT
    if len(text) > most or len(text.encode("utf-8", "replace")) > most:
        raise BadInput(f"{name}: longer than {most:,} bytes, which the page does not take")
    return text


def _whole(name: str, value: Any, most: int) -> int:
    """A positive integer up to `most`; number boxes give floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value != value // 1:
        raise BadInput(f"{name} = {value!r}: give a whole number")
    if not 1 <= value <= most:
        raise BadInput(f"{name} = {value:,.0f}: give a whole number from 1 to {most:,}")
    return int(value)


def _rank(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,12}", text):
        raise BadInput(f"LoRA ranks: {text[:40]!r} is none; a rank is a positive integer, as in 4, 8, 16")
    return int(text)
