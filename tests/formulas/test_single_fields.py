"""Every field changed alone: a packaged form says what its class builds, or refuses."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

import pytest

from hfcount import deadline
from hfcount.errors import BadInput
from hfcount.formulas import catalogue
from hfcount.formulas.form import Form
from hfcount.formulas.tracing.reality import built
from hfcount.formulas.tracing.search import subject_of
from hfcount.formulas.tracing.single_fields import bases, held, is_given, variants, with_value

pytestmark = pytest.mark.pinned  # the packaged forms are of the versions in constraints.txt


def forms_of(model_type: str) -> list[Form]:
    return list(catalogue.forms(model_type))


def said(form: Form, raw: Mapping[str, Any]) -> int | None:
    try:
        return sum(row.numel for row in form.evaluated(raw))
    except ValueError:
        return None


def counted(form: Form, raw: Mapping[str, Any]) -> int | None:
    subject = subject_of(form)
    try:
        model = built(copy.deepcopy(dict(raw)), subject.config_class, subject.model_class)
    except BadInput:
        return None
    return sum(parameter.numel() for parameter in model.parameters())


IGNORED_ONCE = [
    ("cohere2", {"head_dim": 256}),
    ("cohere2", {"head_dim": 64}),
    ("bros", {"dim_bbox_sinusoid_emb_2d": 64}),
    ("bros", {"dim_bbox_projection": 48}),
    ("cohere_asr", {"encoder_config.subsampling_factor": 4}),
    ("cohere_asr", {"encoder_config.num_key_value_heads": 4}),
    ("t5", {"num_attention_heads": 4}),
    ("t5", {"head_dim": 128}),
    ("mamba", {"intermediate_size": 3072}),
    ("llama", {"head_dim": 8}),
    ("gpt2", {"n_head": 7}),
    ("clip", {"vision_config.num_attention_heads": 7}),
]


@pytest.mark.parametrize(("model_type", "change"), IGNORED_ONCE, ids=str)
def test_a_field_that_a_form_once_ignored(model_type: str, change: dict[str, Any]) -> None:
    """The form of each class gives the real class's parameters, or none."""
    asked = 0
    for form in forms_of(model_type):
        raw: dict[str, Any] | None = dict(subject_of(form).raw)
        for path, value in change.items():
            assert raw is not None
            raw = with_value(raw, path, value)
        assert raw is not None
        found = said(form, raw)
        assert found is None or found == counted(form, raw), form.model_class
        asked += 1
    assert asked


def test_cohere2_with_wider_heads() -> None:
    """The class itself builds 45,718,249,472 parameters with heads of 256; the default's number is 34,980,831,232."""
    form = next(each for each in forms_of("cohere2") if each.model_class == "Cohere2ForCausalLM")
    raw = {"model_type": "cohere2", "architectures": ["Cohere2ForCausalLM"]}
    assert counted(form, {**raw, "head_dim": 256}) == 45718249472
    assert said(form, {**raw, "head_dim": 256}) in (None, 45718249472)
    assert said(form, raw) == counted(form, raw) == 34980831232


def test_every_packaged_form_was_held_against_single_changes() -> None:
    unproven = [
        f"{model_type}: {form.model_class}"
        for model_type in catalogue.model_types()
        for form in catalogue.forms(model_type)
        if not form.single_changes
    ]
    assert unproven == []


@pytest.mark.parametrize("seed", range(6))
def test_a_sample_of_all_types_is_right_or_refused(seed: int) -> None:
    """A few single changes of one type in a hundred; `make sweep` tries all."""
    chance = random.Random(seed)
    model_type = chance.choice(sorted(catalogue.model_types()))
    form = chance.choice(forms_of(model_type))
    subject = subject_of(form)
    base = next(iter(bases(form, subject)))
    tried = list(variants(base, subject))
    found = [held(form, each, subject) for each in chance.sample(tried, min(25, len(tried)))]
    assert [(each.variant.path, each.variant.value, each.said, each.built) for each in found if each.is_wrong] == []


def test_a_deadline_that_passes_is_no_refusal_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what was not built in time would become conditions of a form that is kept."""
    form = next(iter(forms_of("gpt2")))
    subject = subject_of(form)
    base = next(iter(bases(form, subject)))
    variant = next(each for each in variants(base, subject) if each.path == "vocab_size")
    with deadline.deadline(10, "gpt2"):
        late = deadline.clock() + 11
        monkeypatch.setattr(deadline, "clock", lambda: late)
        with pytest.raises(deadline.Overdue):
            held(form, variant, subject)


def test_a_variant_differs_from_its_base_in_one_field() -> None:
    form = next(iter(forms_of("gpt2")))
    subject = subject_of(form)
    base = next(iter(bases(form, subject)))
    paths = set()
    for variant in variants(base, subject):
        left = is_given(variant.raw, variant.path)
        assert left is not variant.is_left_out
        assert {key: value for key, value in variant.raw.items() if key != variant.path} == {
            key: value for key, value in base.items() if key != variant.path
        }
        paths.add(variant.path)
    assert {"n_embd", "n_inner", "tie_word_embeddings", "num_attention_heads", "hidden_size"} <= paths
