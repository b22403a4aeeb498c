"""Inputs for a training step, made from what a model's forward takes and its config says.

A causal model is given token ids and labels; a masked or sequence-to-sequence one the same; a classifier labels of
its own; vision and audio models what their configs say of images and frames.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from hfcount.errors import BadInput


def make_inputs(model: Any, *, batch: int, seq: int) -> dict[str, torch.Tensor]:
    """The keyword arguments of `model.forward` for a step of `batch` rows of `seq` tokens (or one image or clip each).

    Raises BadInput for a class whose inputs cannot be made from its config.
    """
    takes = inspect.signature(model.forward).parameters
    config = model.config
    name = str(model.main_input_name)
    if name == "input_ids" or "input_ids" in takes:
        inputs = {"input_ids": _ids(config, batch, seq)}
        if name != "input_ids":
            inputs |= _main(name, config, batch)
    else:
        inputs = _main(name, config, batch)
    if "decoder_input_ids" in takes and "labels" not in takes:
        inputs["decoder_input_ids"] = _ids(config, batch, seq)
    if "labels" in takes:
        inputs["labels"] = _labels(model, batch, seq)
    return inputs


def _ids(config: Any, batch: int, seq: int) -> torch.Tensor:
    text = config.get_text_config()
    return torch.randint(0, max(1, min(int(text.vocab_size), 100)), (batch, seq))


def _labels(model: Any, batch: int, seq: int) -> torch.Tensor:
    name = type(model).__name__
    if name.endswith(("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")):
        return torch.zeros(batch, dtype=torch.long)
    if name.endswith("ForMultipleChoice"):
        return torch.zeros(batch, dtype=torch.long)
    return _ids(model.config, batch, seq)


def _main(name: str, config: Any, batch: int) -> dict[str, torch.Tensor]:
    for key, make in _MAKERS.items():
        if key == name:
            return {name: make(config, batch)}
    raise BadInput(f"inputs of the kind {name!r} cannot be made from the config, so no step can be simulated")


def _pixels(config: Any, batch: int) -> torch.Tensor:
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    return torch.zeros(batch, int(getattr(vision, "num_channels", 3)), height, width)


def _features(config: Any, batch: int) -> torch.Tensor:
    bins = int(getattr(config, "num_mel_bins", 80))
    frames = 2 * int(getattr(config, "max_source_positions", 1500))
    return torch.zeros(batch, bins, frames)


def _samples(config: Any, batch: int) -> torch.Tensor:
    return torch.zeros(batch, 16_000)


_MAKERS: Mapping[str, Any] = {
    "pixel_values": _pixels,
    "input_features": _features,
    "input_values": _samples,
}
