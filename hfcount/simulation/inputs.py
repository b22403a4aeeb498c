"""Inputs for a training step, made from what a model's forward takes and its config says.

Rows are whole, without padding, and hold one text, image or clip each. Token ids avoid the special ones, but each row
ends with the end of a text where there is such a token. A model that reads images among tokens is asked itself how
many tokens an image takes. Labels are those of the task that the class is for; a class whose labels are no plain
tensor (boxes, say), or that has none, is trained on the sum of what it gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from hfcount.classes import text_config
from hfcount.deadline import Overdue
from hfcount.errors import BadInput
from hfcount.simulation.faking import without_memory
from hfcount.simulation.media import (
    clips,
    image_token,
    images,
    patches,
    pictures_among,
    pixels,
    shaped,
    transcript_length,
)

CHOICES = 4
"""Answers to choose from in a multiple choice, as in SWAG (Zellers et al. 2018, arXiv 1808.05326)."""

Inputs = dict[str, torch.Tensor]


def input_shapes(model: Any, *, batch: int, seq: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a step would be given; none where its inputs cannot be made."""
    try:
        with without_memory():
            inputs = make_inputs(model, batch=batch, seq=seq)
    except Overdue:
        raise
    except Exception:  # whatever a model of no known kind raises, it has no step
        return {}
    return {name: tuple(each.shape) for name, each in inputs.items()}


def make_inputs(model: Any, *, batch: int, seq: int) -> Inputs:
    """The keyword arguments of `model.forward` for a step of `batch` rows of `seq` tokens (or one image each).

    Of a model that begins with a sound, `seq` is its samples or its frames of features, whichever the model reads.

    Raises BadInput for a class whose inputs cannot be made from its config.
    """
    takes = inspect.signature(model.forward).parameters
    name = str(model.main_input_name)
    inputs: Inputs = {}
    if "input_ids" in takes and name != "inputs":  # which is another word for it
        inputs["input_ids"] = token_ids(model.config, batch, seq)
    if name != "input_ids" and name in takes:
        inputs |= _main(model, name, batch, seq)
        features = inputs.get("input_features")
        if features is not None and "attention_mask" in takes and features.shape[1] > features.shape[-1]:
            # Extractors that put frames first say which of them are sound.
            inputs["attention_mask"] = torch.ones(features.shape[:2], dtype=torch.long)
    elif "pixel_values" in takes and "input_ids" in takes:
        inputs |= pictures_among(model, inputs["input_ids"])
    if not inputs:
        raise BadInput(f"inputs of the kind {name!r} cannot be made from the config, so no step can be simulated")
    if "spatial_shapes" in takes and "input_ids" not in inputs:
        inputs |= shaped(model, batch)
    for each in takes.values():  # further texts that a forward cannot do without
        if each.default is each.empty and each.name.endswith("input_ids"):
            inputs.setdefault(each.name, token_ids(model.config, batch, seq))
    inputs |= _labels(model, takes, inputs, batch=batch, seq=_target_length(model.config, seq))
    if "decoder_input_ids" in takes and "labels" not in inputs and "input_features" not in inputs:
        inputs["decoder_input_ids"] = token_ids(model.config, batch, _target_length(model.config, seq))
    return inputs


def token_ids(config: Any, batch: int, seq: int) -> torch.Tensor:
    """Rows of ids that stand for nothing but words, the last for the end of a text."""
    text = text_config(config)
    size = int(getattr(text, "vocab_size", None) or getattr(config, "vocab_size", None) or 2)
    special = special_ids(config) | special_ids(text)
    plain = [each for each in range(min(size, 100 + len(special))) if each not in special] or [0]
    rows = torch.tensor(plain, dtype=torch.long).repeat(seq // len(plain) + 1)[:seq].repeat(batch, 1)
    end = getattr(text, "eos_token_id", None)
    if isinstance(end, int) and 0 <= end < size:
        rows[:, -1] = end
    return rows


def special_ids(config: Any) -> set[int]:
    """The ids that a config gives a meaning of their own."""
    found: set[int] = set()
    for name, value in vars(config).items():
        if name.endswith(("_token_id", "_token_index", "_token_ids")):
            found |= {each for each in (value if isinstance(value, (list, tuple)) else (value,)) if type(each) is int}
    return found


def _target_length(config: Any, seq: int) -> int:
    """No more tokens than a decoder with positions of its own has."""
    most = getattr(text_config(config), "max_target_positions", None)
    return min(seq, most) if isinstance(most, int) else seq


def _main(model: Any, name: str, batch: int, seq: int) -> Inputs:
    """The inputs of a model that does not begin with token ids."""
    if name == "inputs":  # the input of whatever encoder stands inside
        encoder = getattr(model, "encoder", None)
        inner = str(getattr(encoder, "main_input_name", ""))
        if inner in _MAKERS:
            return {"inputs": _MAKERS[inner](encoder, batch, seq)}
        words = type(model).__name__.endswith(("ForMaskedLM", "ForSequenceClassification"))
        return {"inputs": token_ids(model.config, batch, seq) if words else images(model, batch)}
    if name not in _MAKERS:
        raise BadInput(f"inputs of the kind {name!r} cannot be made from the config, so no step can be simulated")
    return {name: _MAKERS[name](model, batch, seq)}


_MAKERS: Mapping[str, Callable[[Any, int, int], torch.Tensor]] = {
    "pixel_values": lambda model, batch, _: pixels(model, batch),
    "pixel_values_videos": lambda model, batch, _: pixels(model, batch),
    "flattened_patches": lambda model, batch, _: patches(model, batch),
    "input_features": clips,
    "input_values": clips,
}


def _labels(model: Any, takes: Mapping[str, Any], inputs: Inputs, *, batch: int, seq: int) -> Inputs:
    """The labels of the task; none where they are no plain tensor."""
    if "start_positions" in takes:
        return {each: torch.zeros(batch, dtype=torch.long) for each in ("start_positions", "end_positions")}
    if "labels" not in takes:
        return {}
    name = type(model).__name__
    for task, make in _TASKS.items():
        if f"For{task}" in name:
            return make(model, inputs, batch, seq)
    if "input_ids" in inputs or "decoder_input_ids" in takes or "inputs" in inputs:
        return {"labels": _next_tokens(model, inputs, batch, seq)}
    return {}


def _next_tokens(model: Any, inputs: Inputs, batch: int, seq: int) -> torch.Tensor:
    """The row itself, which the model shifts; images are not to be foretold."""
    if "input_ids" not in inputs:
        return token_ids(model.config, batch, seq)
    token = image_token(model.config)
    rows = inputs["input_ids"]
    return rows.clone() if token is None else rows.masked_fill(rows == token, -100)


def _class_of_each(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    """A class for each row; a number where there is but one class, numbers where a row may have several."""
    classes = int(getattr(model.config, "num_labels", 2))
    if getattr(model.config, "problem_type", None) == "multi_label_classification":
        return {"labels": torch.zeros(batch, classes)}
    return {"labels": torch.zeros(batch, dtype=torch.long if classes > 1 else torch.float32)}


def _class_of_each_token(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    return {"labels": torch.zeros_like(inputs["input_ids"])}


def _choice(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    ids = inputs["input_ids"]
    return {"input_ids": ids.unsqueeze(1).repeat(1, CHOICES, 1), "labels": torch.zeros(batch, dtype=torch.long)}


def _class_of_each_pixel(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    pixels = inputs["pixel_values"]
    return {"labels": torch.zeros(batch, *pixels.shape[-2:], dtype=torch.long)}


def _transcript(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    sound = inputs.get(str(model.main_input_name))
    length = seq if sound is None or "input_ids" in inputs else transcript_length(model, sound)
    return {"labels": token_ids(model.config, batch, length)}


def _masked_patches(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    config, height = model.config, inputs["pixel_values"].shape[-1]
    return {"bool_masked_pos": torch.ones(batch, (height // int(config.patch_size)) ** 2, dtype=torch.bool)}


def _none(model: Any, inputs: Inputs, batch: int, seq: int) -> Inputs:
    return {}


_TASKS: Mapping[str, Callable[[Any, Inputs, int, int], Inputs]] = {
    "SequenceClassification": _class_of_each,
    "ImageClassification": _class_of_each,
    "AudioClassification": _class_of_each,
    "VideoClassification": _class_of_each,
    "XVector": _class_of_each,
    "NextSentencePrediction": _class_of_each,
    "TokenClassification": _class_of_each_token,
    "MultipleChoice": _choice,
    "SemanticSegmentation": _class_of_each_pixel,
    "MaskedImageModeling": _masked_patches,
    "CTC": _transcript,
    "AudioFrameClassification": _none,
    "DepthEstimation": _none,
}
"""Labels by what a class is for, which its name says: LlamaForTokenClassification."""
