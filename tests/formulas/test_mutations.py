"""Break each term of each hand-derived form in turn: some witness model must then disagree.

A closed form that could lose a term, a bias or a factor without any test noticing would be no witness. Every
function of hfcount.formulas.families is taken apart with ast; each mutant is put in its place and the family's
witnesses are counted again.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest
from family_witness import witnesses

from hfcount.formulas import families
from hfcount.formulas.families import experts, pieces
from hfcount.formulas.registry import FAMILIES
from hfcount.formulas.sizes import Sizes

MODEL_TYPES_OF: dict[FunctionType, tuple[str, ...]] = {}
for _model_type, _family in FAMILIES.items():
    MODEL_TYPES_OF[_family.form] = (*MODEL_TYPES_OF.get(_family.form, ()), _model_type)
SHARED = [
    experts.latent_attention, pieces.attention, pieces.gated_mlp, pieces.layer_norm, pieces.linear, pieces.mlp,
    pieces.untied_head,
]  # fmt: skip
FUNCTIONS = [*MODEL_TYPES_OF, *SHARED]

EQUIVALENT = {
    # With r_q = 0 where there is no latent of queries, the else-branch's 0 and r_q itself are the same.
    ("deepseek_v3", "r_q if query_latent else 0", "r_q"),
    # Where no labels are asked for, K is 0, and d·0 + 0 is nothing: `labels` only says it aloud.
    ("bert", "linear(inputs=d, outputs=K, bias=True) if labels else 0", "linear(inputs=d, outputs=K, bias=True)"),
    ("vit", "linear(inputs=d, outputs=K, bias=True) if labels else 0", "linear(inputs=d, outputs=K, bias=True)"),
    # The encoder alone comes with L_dec = 0, so the decoder's layers add nothing in any case.
    ("t5", "L_dec * (2 * per_attention) if decoder else 0", "L_dec * (2 * per_attention)"),
    ("t5", "L_dec * per_mlp if decoder else 0", "L_dec * per_mlp"),
}
"""(function, expression, what replaced it): mutants that compute the same for every config, and why."""


class Mutant:
    """One change at one node: `function` with the expression `old` replaced by `new`."""

    def __init__(self, function: str, old: ast.expr, new: ast.expr, tree: ast.FunctionDef) -> None:
        self.function, self.old, self.new, self.tree = function, ast.unparse(old), ast.unparse(new), tree

    def __repr__(self) -> str:
        return f"{self.function}: {self.old}  ->  {self.new}"

    @property
    def equivalent(self) -> bool:
        return (self.function, self.old, self.new) in EQUIVALENT


def replacements(node: ast.expr) -> Iterator[ast.expr]:
    """What `node` is broken into: constants move, terms and factors go, signs and conditions turn."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
        other = {ast.Add: ast.Sub(), ast.Mult: ast.Add()}[type(node.op)]
        yield ast.BinOp(node.left, other, node.right)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def mutants(function: FunctionType) -> list[Mutant]:
    """All mutants of one function: one change each, entries of its dictionary dropped among them."""
    source = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(source, ast.FunctionDef)
    found = []
    for place, node in enumerate(ast.walk(source)):
        if isinstance(node, ast.Dict):
            for value in node.values:
                found.append(_mutant(function, source, _place_of(source, value), value, ast.Constant(0)))
        if isinstance(node, ast.If):
            found.append(_mutant(function, source, _place_of(source, node.test), node.test, _negated(node.test)))
        if isinstance(node, ast.expr):
            found += [_mutant(function, source, place, node, new) for new in replacements(node)]
    return found


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _place_of(tree: ast.AST, wanted: ast.AST) -> int:
    return next(place for place, node in enumerate(ast.walk(tree)) if node is wanted)


def _mutant(function: FunctionType, source: ast.FunctionDef, place: int, old: ast.expr, new: ast.expr) -> Mutant:
    tree = copy.deepcopy(source)
    target = list(ast.walk(tree))[place]

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return copy.deepcopy(new) if node is target else self.generic_visit(node)

    return Mutant(function.__name__, old, new, Swap().visit(tree))


def compiled(mutant: Mutant, function: FunctionType) -> FunctionType:
    """The mutant as a function with the globals of the original."""
    module = ast.fix_missing_locations(ast.Module([mutant.tree], []))
    namespace: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + ast.unparse(module), "mutant", "exec"), namespace)
    return namespace[function.__name__]


def totals(model_types: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(form, count) of each witness of these model types."""
    for config, model_class, total, _ in witnesses(model_types):
        family = FAMILIES[config.model_type]
        yield _total(family.form, family.read(Sizes(config, symbolic=False), family.heads[model_class])), total


def _total(form: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> int:
    return sum(form(**arguments).values())


def survivors(function: FunctionType, model_types: tuple[str, ...]) -> list[Mutant]:
    """The mutants that no witness tells from the original."""
    original, alive = function.__code__, []
    try:
        for mutant in mutants(function):
            function.__code__ = compiled(mutant, function).__code__
            if all(form == total for form, total in totals(model_types)):
                alive.append(mutant)
    finally:
        function.__code__ = original
    return alive


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_broken_term_is_noticed(function: FunctionType) -> None:
    model_types = MODEL_TYPES_OF.get(function, ("deepseek_v3",) if function is experts.latent_attention else ALL)
    assert all(form == total for form, total in totals(model_types)), "the unbroken form must agree"
    assert len(mutants(function)) >= 2
    alive = [mutant for mutant in survivors(function, model_types) if not mutant.equivalent]
    assert not alive, f"{len(alive)} broken forms that no witness notices:\n" + "\n".join(map(repr, alive))


ALL = tuple(FAMILIES)


def test_every_function_of_the_families_is_taken_apart() -> None:
    """No form and no shared piece escapes the mutation."""
    names = [module.name for module in pkgutil.iter_modules(families.__path__)]
    modules = [importlib.import_module(f"{families.__name__}.{name}") for name in names]
    defined = {value for module in modules for value in vars(module).values() if inspect.isfunction(value)}
    assert defined == set(FUNCTIONS)


def test_equivalent_mutants_exist() -> None:
    """The list of exceptions names only mutants that are really made and really survive."""
    made = {
        (mutant.function, mutant.old, mutant.new)
        for function in FUNCTIONS
        if function.__name__ in {name for name, _, _ in EQUIVALENT}
        for mutant in survivors(function, MODEL_TYPES_OF[function])
    }
    assert made >= EQUIVALENT
