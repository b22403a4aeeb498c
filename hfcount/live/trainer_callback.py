"""The figures of a training run, said by `transformers.Trainer` itself as it begins."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfcount.live.live_report import LiveReport, report

if TYPE_CHECKING:
    from transformers import TrainerCallback

logger = logging.getLogger("hfcount")


def callback(tell: Callable[[str], object] | None = None) -> TrainerCallback:
    """A `transformers.TrainerCallback` that reports the model and its optimizer as training begins.

    `Trainer(..., callbacks=[hfcount.callback()])` logs the report to the logger "hfcount" at INFO before the first
    step, and in one line what is held after it, when gradients and the optimizer's state are there. `tell` takes the
    texts instead (`hfcount.callback(print)`). Of several processes the first one speaks. The callback keeps what it
    found as `.begun` and `.stepped`, each a LiveReport, None before.
    """
    made: TrainerCallback = _class()(tell or logger.info)
    return made


@functools.cache
def _class() -> Any:
    """The class, made when transformers is there: importing hfcount imports nothing heavy."""
    from transformers import TrainerCallback

    class Figures(TrainerCallback):
        """Reports at the beginning and after the first step."""

        def __init__(self, tell: Callable[[str], object]) -> None:
            self.tell = tell
            self.begun: LiveReport | None = None
            self.stepped: LiveReport | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **running: Any) -> None:
            """All that is known before the first step."""
            if state.is_world_process_zero and running.get("model") is not None:
                self.begun, self.stepped = report(running["model"], optimizer=running.get("optimizer")), None
                self.tell(str(self.begun))

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **running: Any) -> None:
            """What is held when the optimizer has made its state and the gradients are still there, once."""
            if self.begun is not None and self.stepped is None:
                self.stepped = report(running["model"], optimizer=running.get("optimizer"))
                self.tell(_line(self.stepped))

    return Figures


def _line(found: LiveReport) -> str:
    """What is held after the first step, in bytes."""
    parts = [("parameters", found.bytes), ("gradients", found.gradient_bytes), ("buffers", found.buffer_bytes)]
    if found.optimizer is not None:
        parts.insert(2, (found.optimizer.name, found.optimizer.bytes + found.optimizer.scalar_bytes))
    held = ", ".join(f"{name} {size:,}" for name, size in parts)
    return f"after the first step, bytes: {held}, {found.total_bytes:,} in all"
