"""Live modules: what a model that is in memory holds, whoever built, wrapped or quantized it."""

from __future__ import annotations

from hfcount.live.live_report import LiveReport, report
from hfcount.live.optimizer_state import OptimizerState
from hfcount.live.trainer_callback import callback

__all__ = ["LiveReport", "OptimizerState", "callback", "report"]
