"""LoRA: what PEFT attaches to a model for the ranks and targets asked, and the closed form of its size.

PEFT itself attaches the adapters, to a skeleton on the meta device; what is then trainable is counted parameter
by parameter. The closed form is worked out beside it from the shapes of the base model alone.
"""

from __future__ import annotations

from hfcount.lora.count import LoraCount, LoraRows, count_lora
from hfcount.lora.options import LoraOptions

__all__ = ["LoraCount", "LoraOptions", "LoraRows", "count_lora"]
