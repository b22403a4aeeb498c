"""The closed forms derived by hand equal the count of the real classes, in total and component by component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from family_witness import WITNESSES, build, config_class, config_of, count

from hfcount.formulas import closed_form
from hfcount.formulas.registry import FAMILIES

FACTS = Path(__file__).parents[2] / "scripts" / "facts"
PUBLISHED = [
    entry
    for name in ("configs.json", "minigpt.json")
    for entry in json.loads((FACTS / name).read_text())
    if entry["model_type"] in FAMILIES
]


def assert_form_is_count(config: Any, model_class: str) -> None:
    form = closed_form(config, model_class)
    assert form is not None, f"no closed form for {model_class}: {config}"
    total, components = count(build(config, model_class))
    by_component = {each.component: each.value for each in form.components if each.value}
    assert by_component == {name: size for name, size in components.items() if size}
    assert form.value == total, f"form {form.value:,}, count {total:,}: {form.value - total:+,}; {form.text}"
    values = {symbol: eval(field, {}, Fields(config)) for symbol, field in form.symbols.items()}
    assert eval(form.text, {}, values) == total, f"{form.text} with {values}"
    for each in form.components:
        assert eval(each.text, {}, values) == each.value, each


class Fields(dict):
    """A config's fields as the names of an expression: what the symbols of a form stand for."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def __missing__(self, name: str) -> Any:
        value = getattr(self.config, name)
        return value[0] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry["id"])
def test_published_config(entry: dict[str, Any]) -> None:
    config = config_class(entry["model_type"]).from_dict(dict(entry["config"]))
    assert_form_is_count(config, entry["architectures"][0])


@pytest.mark.parametrize(("model_type", "model_class", "fields"), WITNESSES)
def test_witness(model_type: str, model_class: str, fields: dict[str, Any]) -> None:
    assert_form_is_count(config_of(model_type, **fields), model_class)


def test_every_family_has_a_published_config_or_a_witness_of_each_head() -> None:
    """No registry entry goes unheld: each family has witnesses, and each kind of head on it is built somewhere."""
    shown = {(model_type, FAMILIES[model_type].heads[name]) for model_type, name, _ in WITNESSES}
    shown |= {
        (entry["model_type"], FAMILIES[entry["model_type"]].heads[entry["architectures"][0]]) for entry in PUBLISHED
    }
    assert {model_type for model_type, _ in shown} == set(FAMILIES)
    heads = {head for family in FAMILIES.values() for head in family.heads.values()}
    assert heads == {head for _, head in shown}
