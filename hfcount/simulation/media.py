"""Images and sounds for a training step: of the sizes that a config names, and of one colour, but not black: an
image of zeros is taken for none."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import torch

from hfcount.errors import BadInput, one_line
from hfcount.simulation.plan import FRAMES, PIXELS, RATE, SECONDS

MOST_TILES = 5


def images(model: Any, batch: int) -> torch.Tensor:
    """An image for each row: batch x channels x height x width."""
    config = _vision(model.config)
    channels = _number(config, "num_channels", "in_channels", "in_chans", otherwise=3)
    return torch.ones(batch, channels, *_side(config))


def pixels(model: Any, batch: int) -> torch.Tensor:
    """An image for each row, or a video where the config has a number of frames: batch x frames x image."""
    config = _vision(model.config)
    frames = _number(config, "num_frames", "frames_per_clip", otherwise=0)
    image = images(model, batch)
    return image.unsqueeze(1).repeat(1, frames, 1, 1, 1) if frames else image


def clips(model: Any, batch: int, seq: int) -> torch.Tensor:
    """A sound for each row: features, where the config has a number of them, else samples.

    `seq` is how many there are, but where the config fixes it, or a decoder's tokens are what is counted.
    """
    beside = bool(getattr(model.config, "is_encoder_decoder", False))
    for config in _parts(model.config):
        frames = _number(config, "max_length", otherwise=FRAMES * SECONDS if beside else seq)
        bins = _number(config, "feature_projection_input_dim", "input_feat_per_channel", otherwise=0)
        if bins:
            return torch.zeros(batch, frames, bins)
        bins = _number(config, "num_mel_bins", otherwise=0)
        positions = _number(config, "max_source_positions", otherwise=0)
        if bins and positions:  # Whisper's order, two frames to a position
            return torch.zeros(batch, bins, 2 * positions)
        if bins and str(model.main_input_name) == "input_features":
            return torch.zeros(batch, frames, bins)
        if bins and hasattr(config, "frequency_stride"):  # a spectrogram that is read as an image
            return torch.zeros(batch, frames, bins)
    samples = SECONDS * RATE if beside else seq
    least = _receptive_field(model.config)
    if samples < least:
        raise BadInput(
            f"--seq {samples}: a sound of fewer than {least} samples is too short for {type(model).__name__}"
        )
    return torch.zeros(batch, samples)


def usual_length(model: Any) -> int | None:
    """Return how long a sound is where nobody says it, in what the model reads; None where it begins with tokens."""
    name, config = str(getattr(model, "main_input_name", "")), model.config
    if name not in ("input_values", "input_features") or getattr(config, "is_encoder_decoder", False):
        return None
    return SECONDS * (FRAMES if name == "input_features" or hop(config) == 1 else RATE)


def hop(config: Any) -> int:
    """Return how many samples become one row of the encoder; 1 where it reads features.

    >>> from types import SimpleNamespace
    >>> hop(SimpleNamespace(conv_stride=(5, 2, 2, 2, 2, 2, 2)))
    320
    """
    strides = getattr(config, "conv_stride", None)
    return math.prod(strides) if isinstance(strides, (list, tuple)) else 1


def _receptive_field(config: Any) -> int:
    """Return how many samples the convolutions need for one row."""
    kernels, strides = (getattr(config, name, None) or () for name in ("conv_kernel", "conv_stride"))
    if not isinstance(kernels, (list, tuple)) or not isinstance(strides, (list, tuple)):
        return 1
    field = 1
    for kernel, stride in reversed(list(zip(kernels, strides, strict=False))):
        field = (field - 1) * stride + kernel
    return int(field)


def transcript_length(model: Any, sound: torch.Tensor) -> int:
    """Return the length of a sound's text: twelve signs a second, and always fewer than the encoder's rows."""
    if sound.dim() == 2:
        return max(1, sound.shape[1] // hop(model.config) // 4)
    return max(1, max(sound.shape[1:]) // 8)


def patches(model: Any, batch: int) -> torch.Tensor:
    """An image for each row as a row of patches, each with its place in two directions before it (Pix2Struct)."""
    config = _vision(model.config)
    numbers = _number(config, "patch_embed_hidden_size", otherwise=3 * 16 * 16)
    return torch.ones(batch, _number(config, "seq_len", otherwise=2048), 2 + numbers)


def pictures_among(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """An image for each row of `ids`, whose tokens are put into the row from its second place on.

    The model says itself how many tokens an image takes. One that has no token for images is given them beside the
    text. Raises BadInput where no image can be made for it, or the row has no room.
    """
    batch, seq = ids.shape
    token = image_token(model.config)
    reader = getattr(model, "get_image_features", None) or getattr(model.base_model, "get_image_features", None)
    if getattr(model.config, "vision_config", model.config) is None:  # it was built without eyes
        return {}
    if token is None or reader is None:  # images stand beside the text
        return {"pixel_values": images(model, batch)}
    takes = inspect.signature(model.forward).parameters
    made, tokens = _accepted(model, reader, batch)
    if tokens + 2 > seq:
        raise BadInput(f"an image takes {tokens} tokens, more than --seq {seq} has room for")
    ids[:, 1 : 1 + tokens] = token
    marks = ("token_type_ids", "mm_token_type_ids")
    return {**made, **{name: (ids == token).long() for name in marks if name in takes}}


def image_token(config: Any) -> int | None:
    """The id that stands for a place of an image among the tokens."""
    found = _number(config, "image_token_id", "image_token_index", otherwise=-1)
    return found if found >= 0 else None


def _accepted(model: Any, reader: Any, batch: int) -> tuple[dict[str, torch.Tensor], int]:
    """The first kind of images that `reader` takes, and how many tokens each becomes."""
    reason = ""
    for made in _candidates(model, batch):
        try:
            with torch.no_grad():
                return made, _rows(reader(**{name: _as_kept(model, each) for name, each in made.items()})) // batch
        except Exception as error:  # images of another kind are wanted
            reason = reason or one_line(error)
    raise BadInput(f"no image can be made for {type(model).__name__} from its config ({reason})")


def _as_kept(model: Any, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)


def _candidates(model: Any, batch: int) -> Iterator[dict[str, torch.Tensor]]:
    """The kinds of images that models take, one after the other."""
    takes = inspect.signature(model.forward).parameters
    config = _vision(model.config)
    if "image_grid_thw" in takes:
        yield from _packed(config, batch)
    if "spatial_shapes" in takes:
        yield shaped(model, batch)
    whole = images(model, batch)
    sizes = {"image_sizes": torch.tensor([list(whole.shape[-2:])] * batch)}
    yield {"pixel_values": whole}
    if "image_sizes" in takes:
        yield {"pixel_values": whole, **sizes}
        for tiles in range(2, MOST_TILES + 1):  # an image as a whole, and cut into tiles
            yield {"pixel_values": whole.unsqueeze(1).repeat(1, tiles, 1, 1, 1), **sizes}
    yield {"pixel_values": whole.unsqueeze(1)}


def shaped(model: Any, batch: int) -> dict[str, torch.Tensor]:
    """Images cut into patches, a row of patches for each image, and how they lie (SigLIP 2)."""
    config = _vision(model.config)
    patch = _number(config, "patch_size", otherwise=16)
    side = math.isqrt(_number(config, "num_patches", otherwise=(PIXELS // patch) ** 2))
    channels = _number(config, "num_channels", "in_channels", otherwise=3)
    return {
        "pixel_values": torch.ones(batch, side * side, channels * patch * patch),
        "pixel_attention_mask": torch.ones(batch, side * side, dtype=torch.long),
        "spatial_shapes": torch.tensor([[side, side]] * batch),
    }


def _packed(config: Any, batch: int) -> Iterator[dict[str, torch.Tensor]]:
    """All images cut into patches that stand in one row, and how many there are in each direction (Qwen2-VL)."""
    patch, merged = _number(config, "patch_size", otherwise=14), _number(config, "spatial_merge_size", otherwise=2)
    side = max(1, PIXELS // patch // merged) * merged
    channels = _number(config, "in_channels", "in_chans", "num_channels", otherwise=3)
    depth = _number(config, "temporal_patch_size", otherwise=1)
    grid = {"image_grid_thw": torch.tensor([[1, side, side]] * batch)}
    count = batch * side * side
    yield {"pixel_values": torch.ones(count, channels * depth * patch * patch), **grid}
    yield {"pixel_values": torch.ones(count, channels * 2 * patch * patch), **grid}  # two frames, which no field says
    yield {"pixel_values": torch.ones(count, channels, patch, patch), **grid}
    yield {"pixel_values": torch.ones(1, count, channels, patch, patch), **grid}


def _rows(found: Any) -> int:
    """How many rows of features there are in what a reader of images gives."""
    found = getattr(found, "pooler_output", found)
    if isinstance(found, torch.Tensor):
        return math.prod(found.shape[:-1])
    return sum(_rows(each) for each in found)


def _vision(config: Any) -> Any:
    """The part of a config that says how images are read."""
    for name in ("vision_config", "encoder", "backbone_config"):
        inner = getattr(config, name, None)
        if inner is not None and not isinstance(inner, (str, dict)) and not hasattr(config, "image_size"):
            return inner
    return config


def _parts(config: Any) -> Iterator[Any]:
    yield config
    for name in ("encoder_config", "audio_config", "speech_config", "encoder"):
        inner = getattr(config, name, None)
        if inner is not None and not isinstance(inner, (str, dict)):
            yield inner


def _side(config: Any) -> tuple[int, int]:
    size = getattr(config, "image_size", None) or PIXELS
    if isinstance(size, int):
        return size, size
    height, width = (size["height"], size["width"]) if isinstance(size, dict) else tuple(size)[-2:]
    return int(height), int(width)


def _number(config: Any, *names: str, otherwise: int) -> int:
    """The first of these fields that is a number."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return otherwise
