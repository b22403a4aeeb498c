"""How a training run keeps its numbers: each recipe says the element type of every bucket, and who trains that way.

"Mixed precision" names four different things or more, which differ by a factor of two in memory; each has a name here.
Bytes of a trained parameter in full fine-tuning with AdamW, weights + master + gradients + moments:

    mixed-fp16, mixed-bf16   2 + 4 + 2 + 8 = 16   Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054), section 3.1
    megatron-bf16            2 + 4 + 4 + 8 = 18   gradients added up in fp32 (Megatron-LM's distributed optimizer)
    autocast-fp16, -bf16     4 + 0 + 4 + 8 = 16   torch.autocast over fp32 weights: transformers' Trainer, fp16=True
                                                  or bf16=True and a model loaded in fp32
    bf16, pure-bf16          2 + 0 + 2 + 4 =  8   everything in bf16, the moments too: a model loaded in bf16 and
                                                  trained as it stands
    fp32                     4 + 0 + 4 + 8 = 16

With LoRA the base is frozen: it has no master, no gradient and no moment. PEFT casts adapters of a 16-bit base to fp32
(`autocast_adapter_dtype=True`, its default since 0.12; peft/tuners/tuners_utils.py, `cast_adapter_dtype`), so an
adapter's parameter takes 4 + 4 + 8 bytes. `pure-bf16` leaves them in bf16, as torchtune and TRL do. `lab` is the LoRA
lab's own reading instead: adapters and their gradients in fp16 beside fp32 moments, 2 + 2 + 8, and nothing upcast.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping

from hfcount.errors import BadInput

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """Element types in one kind of training.

    Attributes:
        base: what the model is loaded in.
        trained: what trained parameters are kept in; of full fine-tuning the base itself.
        gradients: of the gradients.
        moments: of the optimizer's state, where the optimizer does not choose it itself.
        master: whether an fp32 copy of the 16-bit trained parameters stands beside them.
        autocast: what torch.autocast computes in; None where the forward runs in the weights' own type.
        upcast: with a quantized base, whether `prepare_model_for_kbit_training` casts the rest of it to fp32.
    """

    base: str
    trained: str
    gradients: str
    moments: str
    master: bool = False
    autocast: str | None = None
    upcast: bool = False

    def over(self, base: str) -> Precision:
        """Return the same over a base that is loaded in another type.

        Adapters in fp32 stay so, as PEFT casts them; others have the base's type, and what had theirs follows.
        """
        if self.trained == "float32":
            return dataclasses.replace(self, base=base)
        gradients, moments = (base if each == self.trained else each for each in (self.gradients, self.moments))
        return dataclasses.replace(self, base=base, trained=base, gradients=gradients, moments=moments)

    def under(self, autocast: bool) -> Precision:
        """Return the same with autocast or without; where it had none, in fp16 over fp16 and else in bf16."""
        usual = self.autocast or ("float16" if self.base == "float16" else "bfloat16")
        return dataclasses.replace(self, autocast=usual if autocast else None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named way to train: `full` for all parameters, `adapters` for LoRA and QLoRA."""

    name: str
    summary: str
    full: Precision
    adapters: Precision


def _mixed(kind: str, *, gradients: str | None = None) -> Precision:
    return Precision(base=kind, trained=kind, gradients=gradients or kind, moments="float32", master=True)


def _peft(base: str, *, autocast: str | None = None) -> Precision:
    """PEFT's default: adapters in fp32, and `prepare_model_for_kbit_training` before QLoRA."""
    return Precision(
        base=base, trained="float32", gradients="float32", moments="float32", autocast=autocast, upcast=True
    )


def _all(kind: str, autocast: str | None = None) -> Precision:
    return Precision(base=kind, trained=kind, gradients=kind, moments=kind, autocast=autocast)


_LAB = Precision(base="float16", trained="float16", gradients="float16", moments="float32")

RECIPES: dict[str, Recipe] = {
    each.name: each
    for each in (
        Recipe(
            name="mixed-fp16",
            summary="fp16 weights with an fp32 master copy, fp16 gradients, fp32 moments; "
            "adapters and their gradients in fp32 over an fp16 base, under autocast (PEFT's default)",
            full=_mixed("float16"),
            adapters=_peft("float16", autocast="float16"),
        ),
        Recipe(
            name="mixed-bf16",
            summary="bf16 weights with an fp32 master copy, bf16 gradients, fp32 moments; "
            "adapters and their gradients in fp32 over a bf16 base, under autocast (PEFT's default)",
            full=_mixed("bfloat16"),
            adapters=_peft("bfloat16", autocast="bfloat16"),
        ),
        Recipe(
            name="megatron-bf16",
            summary="bf16 weights with an fp32 master copy, gradients added up in fp32, fp32 moments; "
            "adapters as in mixed-bf16",
            full=_mixed("bfloat16", gradients="float32"),
            adapters=_peft("bfloat16", autocast="bfloat16"),
        ),
        Recipe(
            name="autocast-fp16",
            summary="fp32 weights, gradients and moments, computed in fp16 under autocast; adapters as in mixed-fp16",
            full=_all("float32", "float16"),
            adapters=_peft("float16", autocast="float16"),
        ),
        Recipe(
            name="autocast-bf16",
            summary="fp32 weights, gradients and moments, computed in bf16 under autocast; adapters as in mixed-bf16",
            full=_all("float32", "bfloat16"),
            adapters=_peft("bfloat16", autocast="bfloat16"),
        ),
        Recipe(
            name="bf16",
            summary="everything in bf16, gradients and moments too; adapters and their gradients in fp32 over a bf16 "
            "base (PEFT's default), without autocast",
            full=_all("bfloat16"),
            adapters=_peft("bfloat16"),
        ),
        Recipe(
            name="pure-bf16",
            summary="everything in bf16, adapters, their gradients and moments too (autocast_adapter_dtype=False, and "
            "a cast of them over a 4-bit base); nothing upcast",
            full=_all("bfloat16"),
            adapters=_all("bfloat16"),
        ),
        Recipe(
            name="fp32",
            summary="everything in fp32",
            full=_all("float32"),
            adapters=_peft("float32"),
        ),
        Recipe(
            name="lab",
            summary="the LoRA lab's: full fine-tuning as mixed-fp16; adapters and their gradients in fp16, fp32 "
            "moments, no master copy of the adapters, nothing upcast",
            full=_mixed("float16"),
            adapters=_LAB,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called `name`; BadInput with the near names where there is none.

    >>> recipe("bf16").full.moments
    'bfloat16'
    """
    return RECIPES[named(name, RECIPES, "precision")]


def named(name: str, known: Mapping[str, object], what: str) -> str:
    """`name` if it is a key of `known`; else BadInput that says which are near, or all where none is."""
    if name in known:
        return name
    close = near(name, known)
    choice = f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(known)}"
    raise BadInput(f"{what} {name!r} is not known: {choice}")


def near(name: str, known: Iterable[str]) -> list[str]:
    """The names in `known` that are written like `name`, the nearest first; at most three."""
    return difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
