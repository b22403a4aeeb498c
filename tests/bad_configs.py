"""What the tests of bad input share: a raw config on its way to the empty model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hfcount.configs import load_config
from hfcount.errors import BadInput, HfcountError
from hfcount.skeleton import Skeleton, build_skeleton
from hfcount.sources.cards import load_card
from hfcount.sources.source import Source


def card_config(name: str) -> dict[str, Any]:
    """A published config as raw fields that a test may spoil."""
    return copy.deepcopy(dict(load_card(name).config))


def build(config: Mapping[str, Any], settings: Sequence[str] = (), **how: bool) -> Skeleton:
    source = Source(model="lab/model", kind="folder", location="lab/model", config=config)
    return build_skeleton(load_config(source, settings, **how))


def parameters(skeleton: Skeleton) -> int:
    return sum(parameter.numel() for parameter in skeleton.model.parameters())


def refusal(config: Mapping[str, Any], settings: Sequence[str] = (), **how: bool) -> str:
    """The text of the BadInput that `config` ends in; asserts that it is one line and not a long one."""
    with pytest.raises(BadInput) as caught:
        build(config, settings, **how)
    return assert_one_line(caught.value)


def assert_one_line(error: HfcountError) -> str:
    text = str(error)
    assert text.isprintable(), f"more than a line, or terminal codes: {text!r}"
    assert len(text) <= 500, f"{len(text)} signs: {text}"
    assert "<class" not in text, text
    return text
