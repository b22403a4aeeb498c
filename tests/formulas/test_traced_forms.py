"""No wrong count: configs that no catalogue entry was built from, against the real classes.

A form may decline a config; where it answers, it says of every parameter what the class has.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from strange_configs import strange

from hfcount.errors import BadInput
from hfcount.formulas import catalogue
from hfcount.formulas.config_fields import example_of
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.reality import buffers_differ, difference
from hfcount.formulas.tracing.search import Subject
from hfcount.sources.cards import card_names, load_card

CLASSICS = (
    "gpt2",
    "llama",
    "mixtral",
    "bert",
    "t5",
    "gemma3",
    "deepseek_v3",
    "vit",
    "whisper",
    "mamba",
    "llava",
    "clip",
)


def subject_of(form: Form, raw: dict[str, Any]) -> Subject:
    from transformers import CONFIG_MAPPING

    import hfcount.minigpt  # noqa: F401  (registers the house's own model type)
    from hfcount.classes import model_class_named

    model_class = model_class_named(form.model_class)
    assert model_class is not None
    return Subject(raw=raw, config_class=CONFIG_MAPPING[form.model_type], model_class=model_class)


def held_against_reality(form: Form, *, seed: int, times: int) -> int:
    """How many strange configs the catalogue answered for and was right about; an assertion where it was wrong."""
    chance, agreed = random.Random(f"{form.model_class} {seed}"), 0
    base = form.fields(example_of(form))
    for _ in range(times):
        raw = strange(form, base, chance)
        found = catalogue.find(raw, form.model_class)
        if found is None:
            continue
        subject = subject_of(found, raw)
        try:
            real = subject.reality(raw)
        except BadInput:
            continue  # sizes that the class refuses
        wrong = difference(found, raw, real)
        assert wrong is None, f"{form.model_type} {form.model_class}: {wrong}\n{raw}"
        assert not buffers_differ(found, raw, real), f"{form.model_class}: buffers\n{raw}"
        agreed += 1
    return agreed


@pytest.mark.pinned
@pytest.mark.parametrize("model_type", CLASSICS)
def test_no_wrong_count_of_the_classics(model_type: str) -> None:
    form = next(catalogue.forms(model_type))
    assert held_against_reality(form, seed=1, times=12) > 0


SHARDS = 6


@pytest.mark.slow
@pytest.mark.pinned
@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_wrong_count_anywhere(shard: int) -> None:
    """A form of every model type, two configs each."""
    agreed = 0
    for model_type in catalogue.model_types()[shard::SHARDS]:
        forms = list(catalogue.forms(model_type))
        form = random.Random(model_type).choice(forms)
        if max(len(form.rows), len(form.guards)) < 150:  # the largest take minutes each to build
            agreed += held_against_reality(form, seed=2, times=2)
    assert agreed > 20


@pytest.mark.slow
@pytest.mark.pinned
@pytest.mark.parametrize("name", card_names())
def test_every_card_has_a_form_that_is_right(name: str) -> None:
    raw = {key: value for key, value in load_card(name).config.items() if key != "quantization_config"}
    form = catalogue.find(raw)
    assert form is not None
    assert difference(form, raw, subject_of(form, raw).reality(raw)) is None


def test_every_form_was_verified_and_holds_where_it_came_from() -> None:
    """Each entry: 20 drawn configs at least, stamped, its own example covered unless the class fills it in oddly."""
    count = covered = 0
    for model_type in catalogue.model_types():
        for form in catalogue.forms(model_type):
            count += 1
            assert form.verified >= 20, (model_type, form.model_class)
            assert form.versions.get("transformers"), (model_type, form.model_class)
            covered += form.covers(example_of(form))
    assert count > 1000
    assert covered / count > 0.97


def test_the_catalogue_is_read_whole() -> None:
    assert all(list(catalogue.read(path)) for path in Path(catalogue.PACKAGED).glob("*.json"))
