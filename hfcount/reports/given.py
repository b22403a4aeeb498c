"""What a step was given, in words: rows of tokens, images, videos or sound, by the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hfcount.simulation.plan import FRAMES, RATE

Shapes = Mapping[str, Sequence[int]]


def given(batch: int, inputs: Shapes, *, encoder_decoder: bool) -> str:
    """Rows, and what is in each: "8 × 1 image 224 × 224". Rows alone where the inputs are not known.

    >>> given(1, {"input_values": (1, 160_000), "labels": (1, 125)}, encoder_decoder=False)
    '1 × 10 s of sound (160,000 samples)'
    """
    row = _row(batch, inputs, encoder_decoder=encoder_decoder)
    return f"{batch:,} × {row}" if row else f"{batch:,}"


def symbols(batch: int, inputs: Shapes, *, encoder_decoder: bool) -> str:
    """What the symbols of a form stand for: "b rows of s tokens, rank r". Images have no s."""
    rows = "one row" if batch == 1 else "b rows"
    unit = _length_unit(inputs, encoder_decoder=encoder_decoder)
    return f"{rows} of s {unit}, rank r" if unit else f"{rows}, rank r"


def _row(batch: int, inputs: Shapes, *, encoder_decoder: bool) -> str:
    """What one row holds."""
    parts = [_tokens(inputs), _picture(batch, inputs), _sound(inputs)]
    if encoder_decoder:
        parts.append(_decoded(inputs))
    return " and ".join(filter(None, parts))


def _tokens(inputs: Shapes) -> str:
    shape = inputs.get("input_ids") or inputs.get("inputs") or ()
    return f"{' × '.join(f'{each:,}' for each in shape[1:])} tokens" if len(shape) in (2, 3) else ""


def _picture(batch: int, inputs: Shapes) -> str:
    """An image, its tiles or its patches; or the frames of a video."""
    name = next(
        (each for each in ("pixel_values", "pixel_values_videos", "flattened_patches") if each in inputs), None
    )
    shape = inputs[name] if name else inputs.get("inputs", ())
    if len(shape) < (2 if name else 4):
        return ""
    if "image_grid_thw" in inputs:  # the patches of all rows in one
        return f"1 image of {(shape[1] if shape[0] == 1 else shape[0]) // batch:,} patches"
    if len(shape) == 3:
        return f"1 image of {shape[1]:,} patches"
    size = f"{shape[-2]:,} × {shape[-1]:,}"
    if len(shape) == 4 or shape[1] == 1:
        return f"1 image {size}"
    return (
        f"1 image in {shape[1]:,} tiles {size}" if "input_ids" in inputs else f"1 video of {shape[1]:,} frames {size}"
    )


def _sound(inputs: Shapes) -> str:
    shape = inputs.get("input_values") or inputs.get("input_features")
    if not shape:
        return ""
    length = max(shape[1:])
    unit, second = ("samples", RATE) if len(shape) == 2 else ("frames", FRAMES)
    return f"{length / second:.4g} s of sound ({length:,} {unit})"


def _decoded(inputs: Shapes) -> str:
    shape = inputs.get("decoder_input_ids") or inputs.get("labels") or ()
    return f"{shape[1]:,} tokens decoded" if len(shape) == 2 else ""


def _length_unit(inputs: Shapes, *, encoder_decoder: bool) -> str:
    """What there are s of: what `--seq` counts."""
    if _tokens(inputs) or (encoder_decoder and _decoded(inputs)):
        return "tokens"
    sound = inputs.get("input_values") or inputs.get("input_features")
    return "" if not sound else "samples" if len(sound) == 2 else "frames"
