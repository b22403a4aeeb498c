"""The size of LoRA's adapters from shapes alone: the base model's and the ranks, nothing that was attached.

A rank-r update of W (out x in) is B·A with B (out x r) and A (r x in) (Hu et al. 2021, arXiv 2106.09685, section
4.1), so it has r·(in + out) parameters. The same form holds for every kind of layer that PEFT adapts:

    Linear, Conv1D        r·(in + out)
    Embedding             r·(V + d): A is r x V, B is d x r
    convolution           r·c_in·kernel + r/groups·c_out: A has the kernel and one group, B has a 1x1 kernel
    MultiheadAttention    r·(d + 3d) + r·(d + d): the fused input matrix and the output projection
    E fused experts       E·r·(in + out): one parameter of E matrices, wrapped as a whole
    a bare 2-D parameter  r·(in + out)

What comes with it: DoRA's magnitude is one number per output (Liu et al. 2024, arXiv 2402.09353, section 4.1); `bias`
trains biases that the base has; a module to save is copied whole.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from hfcount.lora.options import LoraOptions

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseShapes:
    """The base model's shapes: every name of a parameter to the row that it shares with its ties.

    Attributes:
        rows: a parameter's name (each of tied names) to the index of its row.
        shapes: the row's shape.
        modules: the base model's modules, taken before anything was attached.
    """

    rows: Mapping[str, int]
    shapes: tuple[tuple[int, ...], ...]
    modules: Mapping[str, nn.Module]

    @classmethod
    def of(cls, table: pd.DataFrame, modules: Mapping[str, nn.Module]) -> BaseShapes:
        """The shapes in the inventory `table` of the model that has `modules`."""
        rows: dict[str, int] = {}
        for index, (name, aliases) in enumerate(zip(table["name"], table["aliases"], strict=True)):
            rows.update(dict.fromkeys((name, *aliases), index))
        return cls(rows=rows, shapes=tuple(table["shape"]), modules=modules)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[self.rows[name]]

    def numel(self, name: str) -> int:
        return math.prod(self.shape(name))

    def below(self, module: str) -> tuple[str, ...]:
        """The names of all parameters of `module` and of the modules in it."""
        return tuple(name for name in self.rows if name.startswith(f"{module}."))


@dataclasses.dataclass(frozen=True)
class Term:
    """A summand: its text, where r stands for the rank asked, and its value. Equal texts are added up."""

    text: str
    value: int


def closed_form(
    shapes: BaseShapes,
    options: LoraOptions,
    *,
    modules: Iterable[str],
    parameters: Iterable[str],
    saved: Iterable[str],
    rank_pattern: Mapping[str, int],
) -> tuple[str, int]:
    """The formula's text ("12*r*(768 + 2304)"; Python can evaluate it) and its value.

    `modules` and `parameters` have adapters, `saved` are copied and trained in full. `rank_pattern` gives the ranks
    that are not r.
    """
    modules, parameters, saved = tuple(modules), tuple(parameters), tuple(saved)
    ranks = Ranks(options, rank_pattern)
    terms = list(_module_terms(shapes, options, ranks, modules))
    terms += [_parameter_term(shapes, ranks, name) for name in parameters]
    biases = (math.prod(shapes.shapes[row]) for row in trained_biases(shapes, options, modules, parameters, saved))
    terms += [Term(str(size), size) for size in biases]
    terms += _saved_terms(shapes, options, saved)
    counted: dict[Term, int] = {}
    for term in terms:
        counted[term] = counted.get(term, 0) + 1
    text = " + ".join(term.text if times == 1 else f"{times}*{term.text}" for term, times in counted.items())
    return text or "0", sum(term.value * times for term, times in counted.items())


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The rank of a module by its name, as PEFT reads its patterns: the first that fits wins."""

    options: LoraOptions
    pattern: Mapping[str, int]

    def of(self, name: str) -> tuple[str, int]:
        """The rank's text ("r", "2*r", "16") and its value."""
        pattern = next((each for each in self.pattern if re.match(rf"(.*\.)?({each})$", name)), None)
        if pattern is None:
            return "r", self.options.r
        rank = self.pattern[pattern]
        if pattern in self.options.rank_pattern:
            return str(rank), rank
        # A pattern that the user did not give: PEFT's for matrices fused into one parameter, a multiple of r.
        return f"{rank // self.options.r}*r", rank


def _module_terms(shapes: BaseShapes, options: LoraOptions, ranks: Ranks, modules: tuple[str, ...]) -> Iterator[Term]:
    seen: set[int] = set()
    for name in modules:
        module = shapes.modules[name]
        weight, *others = _matrices(shapes, name)
        row = shapes.rows[weight]
        if options.ensure_weight_tying and row in seen and not _inputs_first(module):
            continue  # a head tied to an embedding: its adapter is the embedding's, transposed
        seen.add(row)
        text, rank = ranks.of(name)
        yield _layer_term(shapes.shapes[row], module, text, rank)
        for other in others:
            out = shapes.shape(other)
            yield Term(f"{text}*({out[1]} + {out[0]})", rank * sum(out))
        if options.use_dora:
            outputs = _outputs(shapes.shapes[row], module)
            yield Term(str(outputs), outputs)


def _matrices(shapes: BaseShapes, module: str) -> tuple[str, ...]:
    """The names of the matrices of `module` that get an A and a B: one, or the two of a MultiheadAttention."""
    if f"{module}.weight" in shapes.rows:
        return (f"{module}.weight",)
    if f"{module}.in_proj_weight" in shapes.rows:
        return f"{module}.in_proj_weight", f"{module}.out_proj.weight"
    # A parametrised weight (weight norm: a direction and a magnitude) has the shape of its largest part.
    return (max(adapted_weights(shapes, module), key=shapes.numel),)


def adapted_weights(shapes: BaseShapes, module: str) -> tuple[str, ...]:
    """The names of the parameters of an adapted `module` that its adapter changes: all but the biases."""
    return tuple(name for name in shapes.below(module) if not name.endswith("bias"))


def _layer_term(shape: tuple[int, ...], module: nn.Module, text: str, rank: int) -> Term:
    """The term of one layer; a matrix's two sides are added, whichever of them is the input."""
    if len(shape) > 2:
        groups = int(getattr(module, "groups", 1))
        inputs, outputs = shape[1] * groups * math.prod(shape[2:]), shape[0]
        if groups == 1:
            return Term(f"{text}*({inputs} + {outputs})", rank * (inputs + outputs))
        return Term(f"({text}*{inputs} + {text}*{outputs}//{groups})", rank * inputs + rank * outputs // groups)
    inputs, outputs = shape if _inputs_first(module) else shape[::-1]
    return Term(f"{text}*({inputs} + {outputs})", rank * (inputs + outputs))


def _inputs_first(module: nn.Module) -> bool:
    """Whether the weight is stored as inputs x outputs: in an Embedding (V x d) and in transformers' Conv1D."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (nn.Embedding, Conv1D))


def _outputs(shape: tuple[int, ...], module: nn.Module) -> int:
    return shape[1] if _inputs_first(module) else shape[0]


def _parameter_term(shapes: BaseShapes, ranks: Ranks, name: str) -> Term:
    """E·r·(in + out) for a parameter of E matrices; E = 1 for a single matrix."""
    text, rank = ranks.of(name)
    *experts, first, second = shapes.shape(name)
    if not experts:
        return Term(f"{text}*({second} + {first})", rank * (first + second))
    if not getattr(shapes.modules[name.rpartition(".")[0]], "is_transposed", False):
        first, second = second, first
    return Term(f"{experts[0]}*{text}*({first} + {second})", experts[0] * rank * (first + second))


def trained_biases(
    shapes: BaseShapes,
    options: LoraOptions,
    modules: tuple[str, ...],
    parameters: tuple[str, ...],
    saved: tuple[str, ...],
) -> list[int]:
    """The rows of the base's biases that train by the option `bias`."""
    if options.bias == "all":
        names = [name for name in shapes.rows if name.rpartition(".")[2] == "bias"]
    elif options.bias == "lora_only":
        owners = dict.fromkeys((*modules, *(name.rpartition(".")[0] for name in parameters)))
        names = [f"{owner}.bias" for owner in owners if f"{owner}.bias" in shapes.rows]
    else:
        return []
    # The original of a copied module is frozen; its copy is counted with the copies.
    kept = (name for name in names if not any(name.startswith(f"{module}.") for module in saved))
    return sorted({shapes.rows[name] for name in kept})


def _saved_terms(shapes: BaseShapes, options: LoraOptions, saved: tuple[str, ...]) -> Iterator[Term]:
    seen: set[int] = set()
    for module in saved:
        for name in shapes.below(module):
            row = shapes.rows[name]
            if options.ensure_weight_tying and row in seen:
                continue
            seen.add(row)
            yield Term(str(shapes.numel(name)), shapes.numel(name))
