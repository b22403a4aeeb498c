"""A form as a Python function that can be pasted and run: config.json as a dict in, the parameters out.

The source needs no hfcount and imports nothing but math. It carries the functions by which a form reads a config
(`hfcount.formulas.given`, `hfcount.formulas.kinds`), so it answers and refuses what `Form.evaluated` does.
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import math
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hfcount.formulas.activations import ACTIVATIONS
from hfcount.formulas.expressions import FUNCTIONS, field_paths
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.given import (
    by_own_names,
    completed,
    disputes,
    filled_in,
    given_at,
    labels_disputed,
    with_labels,
)
from hfcount.formulas.kinds import fits, in_words, refusal, turns
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.text import to_text
from hfcount.visible import visible

_WIDTH = 119
_HELPERS = ("config", "size", "absent", "ACTIVATIONS")
"""Names of the function's own that are still needed where symbols have been assigned."""

_CARRIED = (
    disputes, given_at, labels_disputed, by_own_names, refusal, in_words, turns, fits, completed, filled_in,
    with_labels,
)  # fmt: skip
"""The functions that read a config, which stand in the source as they do in hfcount, without annotations."""


def python_source(form: Form) -> str:
    """Return the source of `parameters(config)`, which raises ValueError, and says why, where it has no answer."""
    polynomials = component_polynomials(form)
    used = sum(polynomials.values(), Polynomial.constant(0)).symbols
    symbols = {name: text for name, text in form.symbols.items() if name in used}
    conditions = [*form.guards, *_unused_sizes(form, used)]
    paths = {path for text in (*symbols.values(), *conditions) for path in field_paths(text)}
    writer = _Writer(form, helpers={name: _free(name, symbols) for name in _HELPERS})
    checks = [(guard, writer.expression(guard)) for guard in conditions]
    sizes = [(name, writer.expression(text)) for name, text in symbols.items()]
    lines = [
        *_reading(form, paths, writer.config),
        *writer.helper_lines(),
        *_conditions(checks),
        *_sizes(sizes, writer.helpers["size"]),
        *_total(polynomials),
    ]
    head = ["import math", "", ""] if any("math." in code for _, code in (*checks, *sizes)) else []
    return "\n".join([*head, *_opening(form, writer), *(f"    {line}".rstrip() for line in lines)]) + "\n"


def _unused_sizes(form: Form, used: Iterable[str]) -> Iterator[str]:
    """The condition that a size which stands in no parameter's shape (in a buffer's, say) is none below 0."""
    for name, text in form.symbols.items():
        if name not in used and f"{text} > 0" not in form.guards:
            yield f"0 <= {text} < 2**63" if re.fullmatch(r"[\w.]+", text) else f"0 <= ({text}) < 2**63"


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _opening(form: Form, writer: _Writer) -> list[str]:
    version = form.versions.get("transformers")
    configs = form.verified + form.single_changes
    stamp = f", with transformers {_within_string(version)}" if version else ""
    return [
        f"def parameters({writer.config}):",
        f'    """Parameters of {_within_string(form.model_class)}; `{writer.config}` is its config.json as a dict.',
        "",
        f"    Verified on {configs} configs{stamp}. Raises ValueError where the form does not hold.",
        '    """',
    ]


def _reading(form: Form, paths: Iterable[str], config: str) -> list[str]:
    """Return lines that refuse what the form knows nothing of, put own names for others and fill in defaults."""
    return [
        *_assigned("noticed", tuple(form.noticed)),
        *_assigned("renamed", form.renamed),
        *_kinds(form.kinds),
        *_assigned("unsaid", _picked(form.unsaid, paths)),
        *_assigned("defaults", _picked(form.defaults, paths)),
        *(line for function in _CARRIED for line in ("", *_definition(function))),
        "",
        f"broken = next(disputes({config}, noticed, renamed), None)",
        f"{config} = by_own_names({config}, renamed)",
        f"broken = broken or refusal({config}, kinds)",
        "if broken:",
        '    raise ValueError(f"the form holds only where {broken}")',
        f"{config} = completed({config}, unsaid, defaults)",
    ]


def _kinds(kinds: Mapping[str, str]) -> list[str]:
    """Return lines that say which kind each field has, the fields of a kind together."""
    fields: dict[str, list[str]] = {}
    for path, kind in kinds.items():
        fields.setdefault(kind, []).append(path)
    lines = []
    for kind, paths in fields.items():
        first, *others = textwrap.wrap(" ".join(paths), _WIDTH - 24 - len(kind), break_on_hyphens=False)
        lines += [f"    {_literal(kind)}: {_literal(first)}", *(f"        {_literal(f' {each}')}" for each in others)]
        lines[-1] += ","
    together = "kinds = {field: kind for kind, fields in kinds.items() for field in fields.split()}"
    return ["kinds = {", *lines, "}", together] if lines else ["kinds = {}"]


@functools.cache
def _definition(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the source of a function without its annotations, and with the first line of its docstring."""
    tree = _Plain().visit(ast.parse(inspect.getsource(function)))
    lines = []
    for line in ast.unparse(tree).splitlines():
        code = line.lstrip()
        blanks = line.removesuffix(code)
        lines += [line] if code.startswith('"""') else [blanks + each for each in _wrapped(_double_quoted(code))]
    return tuple(lines)


class _Plain(ast.NodeTransformer):
    """Python without annotations, and with one line for a docstring."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for each in node.args.args:
            each.annotation = None
        first = ast.get_docstring(node)
        if first is not None:
            node.body[0] = ast.Expr(ast.Constant(first.splitlines()[0]))
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return self.generic_visit(ast.Assign([node.target], node.value, lineno=node.lineno))


def _conditions(checks: list[tuple[str, str]]) -> list[str]:
    """Lines that try each condition; one that cannot be evaluated does not hold."""
    if not checks:
        return []
    lines = ["conditions = {"]
    for guard, code in checks:
        key, value = f"{_literal(guard)}:", f"lambda: {code},"
        if len(key) + len(value) > _WIDTH - 12:
            lines += [f"    {key}", *(f"        {line}" for line in _wrapped(value, inside=True))]
        else:
            lines.append(f"    {key} {value}")
    return [*lines, "}", *_TRIED.splitlines()]


_ERRORS = "TypeError, ValueError, LookupError, AttributeError, ArithmeticError"
_TRIED = f"""for text, holds in conditions.items():
    try:
        if holds():
            continue
    except ({_ERRORS}):
        pass
    raise ValueError(f"the form holds only where {{text}}")"""


def _sizes(sizes: list[tuple[str, str]], size: str) -> list[str]:
    if not sizes:
        return []
    assigned = [f"    {line}" for name, code in sizes for line in _wrapped(f"{name} = {size}({code})")]
    return [
        "",
        f"def {size}(value):",
        "    if not 0 <= value < 2**63:",
        '        raise ValueError(f"{value!r} is no size")',
        "    return int(value)",
        "",
        "try:",
        *assigned,
        f"except ({_ERRORS}) as error:",
        '    raise ValueError(f"the form needs sizes: {error}") from error',
    ]


def _total(polynomials: Mapping[str, Polynomial]) -> list[str]:
    terms = [(to_text(polynomial), name.replace("_", " ")) for name, polynomial in in_order(polynomials).items()]
    lines: list[str] = []
    for text, name in terms:
        *most, last = _wrapped(f"+ {text}" if lines else text, inside=True)
        lines += [f"    {line}" for line in (*most, f"{last}  # {name}")]
    return ["", "return (", *lines, ")"] if lines else ["return 0"]


def in_order(polynomials: Mapping[str, Polynomial]) -> dict[str, Polynomial]:
    """The components as reports list them: embeddings first."""
    from hfcount.components import COMPONENTS

    return {name: polynomials[name] for name in sorted(polynomials, key=COMPONENTS.index)}


class _Writer(ast.NodeTransformer):
    """Expressions over fields as expressions over the dict that config.json is."""

    def __init__(self, form: Form, *, helpers: Mapping[str, str]) -> None:
        self.form = form
        self.helpers = helpers
        self.config = helpers["config"]
        self._bound: set[str] = set()
        self._needed: set[str] = set()

    def expression(self, text: str) -> str:
        """The expression with each field looked up in the dict; a field that is not there as `absent`."""
        tree = ast.parse(text, mode="eval")
        self._bound = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        if isinstance(tree.body, (ast.Name, ast.Attribute)):  # a bare field: one that is missing may say so by itself
            code = ast.unparse(self._looked_up(_path(tree.body) or "", missing_allowed=False))
        else:
            code = ast.unparse(self.visit(tree))
        return _double_quoted(code)

    def helper_lines(self) -> Iterator[str]:
        """Lines that define what the expressions written so far need."""
        if "absent" in self._needed:
            yield "# what a field is that config.json does not have: neither None nor any value"
            yield f'{self.helpers["absent"]} = type("Absent", (), {{"__bool__": lambda self: False}})()'
        if "ACTIVATIONS" in self._needed:
            yield "# the activations that have no parameters"
            yield from _assigned(self.helpers["ACTIVATIONS"], ACTIVATIONS)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute):  # a method, math's or a field's
            node.func.value = self.visit(node.func.value)
        node.args = [self.visit(each) for each in node.args]
        node.keywords = [self.visit(each) for each in node.keywords]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        path = _path(node.left)
        right = node.comparators[0]
        if path and len(node.ops) == 1 and isinstance(right, ast.Name) and right.id == "ABSENT":
            return self._membership(path, ast.NotIn() if isinstance(node.ops[0], ast.Is) else ast.In())
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        path = _path(node)
        if path is None:
            return self.generic_visit(node)
        first, _, _ = path.partition(".")
        return node if first == "math" or first in self._bound else self._looked_up(path)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._bound or node.id in FUNCTIONS or node.id == "math":
            return node
        if node.id == "ABSENT":
            return self._helper("absent")
        if node.id == "ACTIVATIONS":
            return self._helper("ACTIVATIONS")
        return self._looked_up(node.id)

    def _helper(self, name: str) -> ast.Name:
        self._needed.add(name)
        return ast.Name(self.helpers[name], ast.Load())

    def _holder(self, scopes: Iterable[str]) -> ast.expr:
        holder: ast.expr = ast.Name(self.config, ast.Load())
        for scope in scopes:
            holder = ast.Subscript(holder, ast.Constant(scope), ast.Load())
        return holder

    def _looked_up(self, path: str, *, missing_allowed: bool = True) -> ast.expr:
        """`config["a"]["b"]`, with `.get("b", absent)` where no default stands in for a field that is missing."""
        *scopes, last = path.split(".")
        holder = self._holder(scopes)
        if not missing_allowed or self._has_default(path):
            return ast.Subscript(holder, ast.Constant(last), ast.Load())
        get = ast.Attribute(holder, "get", ast.Load())
        return ast.Call(get, [ast.Constant(last), self._helper("absent")], [])

    def _membership(self, path: str, operator: ast.cmpop) -> ast.expr:
        *scopes, last = path.split(".")
        found: ast.expr = ast.Compare(ast.Constant(last), [operator], [self._holder(scopes)])
        if not scopes or self._has_default(".".join(scopes)):
            return found
        nested = ast.Call(ast.Name("isinstance"), [self._holder(scopes), ast.Name("dict")], [])
        return ast.BoolOp(ast.And(), [nested, found])

    def _has_default(self, path: str) -> bool:
        value: Any = self.form.defaults
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return False
            value = value[part]
        return True


def _path(node: ast.AST) -> str | None:
    """The dotted field that the node is, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _path(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def _picked(defaults: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The defaults of the fields that are read; a nested config that is read has its place even where it has none."""
    heads: dict[str, list[str]] = {}
    for path in paths:
        head, _, rest = path.partition(".")
        heads.setdefault(head, []).append(rest)
    picked: dict[str, Any] = {}
    for key, value in defaults.items():
        if key in heads:
            nested = isinstance(value, Mapping) and "" not in heads[key]
            picked[key] = _picked(value, heads[key]) if nested else value
    return picked


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'"{_within_string(value)}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return _double_quoted(repr(value))


def _within_string(text: str) -> str:
    """Return `text` as it stands between double quotes, of a string or of a docstring, and cannot end them."""
    return visible(text.replace("\\", "\\\\").replace('"', '\\"'))


def _assigned(name: str, value: Any) -> list[str]:
    """`name = value`, a mapping with a line for each entry, a tuple filled up to the width."""
    if not value:
        return [f"{name} = {_literal(value)}"]
    if isinstance(value, Mapping):
        return [f"{name} = {{", *_entries(value), "}"]
    if isinstance(value, tuple):
        return [f"{name} = (", *(f"    {line}" for line in _filled([f"{_literal(each)}," for each in value])), ")"]
    return [f"{name} = {_literal(value)}"]


def _filled(items: Iterable[str]) -> list[str]:
    """Return lines of as many of the items as fit."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) < _WIDTH - 8:
            lines[-1] += f" {item}"
        else:
            lines.append(item)
    return lines


def _entries(mapping: Mapping[str, Any]) -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield f"    {_literal(key)}: {{"
            yield from (f"    {line}" for line in _entries(value))
            yield "    },"
        else:
            yield from (f"    {line}" for line in _wrapped(f"{_literal(key)}: {_literal(value)},", inside=True))


def _wrapped(code: str, *, inside: bool = False) -> list[str]:
    """The line; a long one is broken where brackets, or what it stands `inside` of, let it go on.

    Breaks come after a comma, and before an operator or a word that joins.
    """
    if len(code) <= _WIDTH - 12:
        return [code]
    lines, depth, start, last = [], int(inside), 0, 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            break
        if depth and token.string in _JOINING:
            last = token.start[1]
        if token.end[1] - start > _WIDTH - 16 and last > start:
            lines.append(code[start:last].strip())
            start = last
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if depth and token.string == ",":
            last = token.end[1]
    lines.append(code[start:].strip())
    return [lines[0], *(f"    {line}" for line in lines[1:])]


_JOINING = ("+", "-", "and", "or", "for", "if", "else", "%", "//")


def _double_quoted(code: str) -> str:
    """`code` with its plain strings in double quotes, as the rest of the source has them."""
    pieces, end = [], 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.STRING and token.string[0] == "'" and not {'"', "\\"} & set(token.string):
            pieces += [code[end : token.start[1]], f'"{token.string[1:-1]}"']
            end = token.end[1]
    return "".join([*pieces, code[end:]])
