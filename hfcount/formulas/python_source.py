"""A form as a Python function that can be pasted and run: config.json as a dict in, the parameters out.

The source needs no hfcount and imports nothing but math. It does what `Form.evaluated` does: fills in the class's
defaults, replaces older names of fields, checks the conditions, and adds up the components.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hfcount.formulas.activations import ACTIVATIONS
from hfcount.formulas.expressions import FUNCTIONS, field_paths
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.text import to_text
from hfcount.visible import visible

_WIDTH = 119
_HELPERS = ("config", "size", "labels", "absent", "ACTIVATIONS")
"""Names of the function's own that are still needed where symbols have been assigned."""


def python_source(form: Form) -> str:
    """The source of `parameters(config)`; it raises ValueError, with the condition, where the form does not hold."""
    polynomials = component_polynomials(form)
    used = sum(polynomials.values(), Polynomial.constant(0)).symbols
    symbols = {name: text for name, text in form.symbols.items() if name in used}
    conditions = [*form.guards, *_unused_sizes(form, used)]
    texts = [*symbols.values(), *conditions]
    paths = {path for text in texts for path in field_paths(text)}
    writer = _Writer(form, paths, helpers={name: _free(name, symbols) for name in _HELPERS})
    checks = [(guard, writer.expression(guard)) for guard in conditions]
    sizes = [(name, writer.expression(text)) for name, text in symbols.items()]
    lines = [
        *_fields(form, writer),
        *(line for line in writer.helper_lines()),
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
            yield f"{text} >= 0" if re.fullmatch(r"[\w.]+", text) else f"({text}) >= 0"


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _opening(form: Form, writer: _Writer) -> list[str]:
    version = form.versions.get("transformers")
    stamp = f", with transformers {_within_string(version)}" if version else ""
    return [
        f"def parameters({writer.config}):",
        f'    """Parameters of {_within_string(form.model_class)}; `{writer.config}` is its config.json as a dict.',
        "",
        f"    Verified on {form.verified} random configs{stamp}. Raises ValueError where the form does not hold.",
        '    """',
    ]


def _fields(form: Form, writer: _Writer) -> list[str]:
    """Lines that refuse fields which the form knows nothing of, rename others and fill in defaults."""
    config, read = writer.config, writer.read
    inner = [alias for alias, name in form.renamed.items() if "." in alias and (alias in read or name in read)]
    lines = list(_refusals([*form.noticed, *inner], config))
    renamed = {
        alias: name for alias, name in form.renamed.items() if "." not in alias and (alias in read or name in read)
    }
    if renamed:
        lines += [
            *_assigned("renamed", renamed),
            "for alias, name in renamed.items():",
            f"    if alias in {config} and name in {config} and {config}[alias] != {config}[name]:",
            '        raise ValueError(f"the form holds only where {alias} and {name} are the same")',
            f"{config} = {{",
            f"    renamed.get(key, key): value for key, value in {config}.items() if renamed.get(key) not in {config}",
            "}",
        ]
    unsaid = _picked(form.unsaid, writer.paths)
    if unsaid:
        lines += [
            *_assigned("unsaid", unsaid),
            "for key, inner in unsaid.items():",
            f"    if not isinstance({config}.get(key), dict):",
            f"        {config} = {{**{config}, key: inner}}",
        ]
    defaults = _picked(form.defaults, writer.paths)
    if any(isinstance(value, Mapping) for value in defaults.values()):
        lines += [
            *_assigned("defaults", defaults),
            *_FILLED.splitlines(),
            "",
            f"{config} = filled({config}, defaults)",
        ]
    elif defaults:
        lines += [*_assigned("defaults", defaults), f"{config} = {{**defaults, **{config}}}"]
    return lines


_FILLED = '''
def filled(given, defaults):
    """`given` over `defaults`; a nested config that is null is one with its defaults."""
    given = dict(given) if isinstance(given, dict) else {}
    for key, default in defaults.items():
        given[key] = filled(given.get(key), default) if isinstance(default, dict) else given.get(key, default)
    return given'''


def _refusals(paths: Iterable[str], config: str) -> Iterator[str]:
    """For fields that the class would look at and that the function knows nothing of: they must not be given."""
    by_parent: dict[str, list[str]] = {}
    for path in paths:
        parent, _, last = path.rpartition(".")
        by_parent.setdefault(parent, []).append(last)
    for parent, names in by_parent.items():
        holder, tests = config, list[str]()
        for scope in parent.split(".") if parent else ():
            tests.append(f"isinstance({holder}.get({_literal(scope)}), dict)")
            holder = f"{holder}[{_literal(scope)}]"
        prefix = _within_string(f"{parent}." if parent else "").replace("{", "{{").replace("}", "}}")
        listed = ", ".join(map(_literal, names)) + ("," if len(names) == 1 else "")
        yield from _wrapped(f"for name in ({listed}):")
        yield f"    if {' and '.join([*tests, f'name in {holder}'])}:"
        yield f'        raise ValueError(f"the form holds only where {prefix}{{name}} is not given")'


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
        "    if not value >= 0:",
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

    def __init__(self, form: Form, paths: Iterable[str], *, helpers: Mapping[str, str]) -> None:
        self.form = form
        self.helpers = helpers
        self.config = helpers["config"]
        self.paths = frozenset(paths) | frozenset(
            f"{path.removesuffix('num_labels')}id2label" for path in paths if path.split(".")[-1] == "num_labels"
        )
        self.read = frozenset(path.split(".")[0] for path in self.paths)
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
        if "labels" in self._needed:
            yield from _LABELS.format(labels=self.helpers["labels"]).split("\n")

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
        if self._counted(scopes, last):
            return ast.Call(self._helper("labels"), [holder], [])
        if not missing_allowed or self._has_default(path):
            return ast.Subscript(holder, ast.Constant(last), ast.Load())
        get = ast.Attribute(holder, "get", ast.Load())
        return ast.Call(get, [ast.Constant(last), self._helper("absent")], [])

    def _membership(self, path: str, operator: ast.cmpop) -> ast.expr:
        *scopes, last = path.split(".")
        if self._counted(scopes, last):
            return ast.Constant(isinstance(operator, ast.In))
        found: ast.expr = ast.Compare(ast.Constant(last), [operator], [self._holder(scopes)])
        if not scopes or self._has_default(".".join(scopes)):
            return found
        nested = ast.Call(ast.Name("isinstance"), [self._holder(scopes), ast.Name("dict")], [])
        return ast.BoolOp(ast.And(), [nested, found])

    def _counted(self, scopes: list[str], last: str) -> bool:
        """Whether the field is the number of labels, which is worked out in every config."""
        return last == "num_labels" and all(scope.endswith("config") for scope in scopes)

    def _has_default(self, path: str) -> bool:
        value: Any = self.form.defaults
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return False
            value = value[part]
        return True


_LABELS = '''
def {labels}(part):
    """How many labels a classifier has: as many as `id2label` names, else two."""
    named, number = part.get("id2label"), part.get("num_labels")
    if isinstance(named, dict) and number not in (None, len(named)):
        raise ValueError("the form holds only where id2label has as many labels as num_labels says")
    return len(named) if isinstance(named, dict) else part.get("num_labels", 2)
'''


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
    return f'"{_within_string(value)}"' if isinstance(value, str) else _double_quoted(repr(value))


def _within_string(text: str) -> str:
    """Return `text` as it stands between double quotes, of a string or of a docstring, and cannot end them."""
    return visible(text.replace("\\", "\\\\").replace('"', '\\"'))


def _assigned(name: str, value: Any) -> list[str]:
    """`name = value`, a mapping with a line for each entry, a tuple filled up to the width."""
    if isinstance(value, Mapping):
        return [f"{name} = {{", *_entries(value), "}"]
    if isinstance(value, tuple):
        inside = textwrap.fill(", ".join(map(_literal, value)), _WIDTH - 8).splitlines()
        return [f"{name} = (", *(f"    {line}" for line in inside), ")"]
    return [f"{name} = {_literal(value)}"]


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
