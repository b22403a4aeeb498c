"""What is true of a model, as far as its config tells: the count, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hfcount.errors import HfcountError, UnknownModelType
from hfcount.sources.described import Described
from hfcount.sources.source import Source, SourceKind

if TYPE_CHECKING:
    from hfcount.result import Count

_KINDS: Mapping[str, SourceKind] = {
    "card": "card",
    "folder": "folder",
    "hub": "hub",
    "file": "header",
    "row": "header",
}


@dataclasses.dataclass(frozen=True)
class Uncounted:
    """Why there is no count; `fault` where the config itself is wrong, and not only unknown here or absent."""

    reason: str
    fault: bool = False


@dataclasses.dataclass(frozen=True)
class Truth:
    """A described model and its count, made when it is first asked for.

    Attributes:
        described: what was read.
        seconds: for building the model, where the catalogue of closed forms does not cover it.
    """

    described: Described
    seconds: float | None = None

    @cached_property
    def answer(self) -> Count | Uncounted:
        """The count of the config as it stands."""
        return self.variant({})

    def variant(self, fields: Mapping[str, Any]) -> Count | Uncounted:
        """The count with `fields` of the config set."""
        from hfcount.api import as_settings, count_source

        source = source_of(self.described)
        if source is None:
            return Uncounted("there is no config.json to count from")
        try:
            return count_source(source, as_settings(fields), fast=True, timeout=self.seconds)
        except UnknownModelType as error:
            return Uncounted(str(error))
        except HfcountError as error:
            return Uncounted(str(error), fault=not fields)


def source_of(described: Described) -> Source | None:
    """The config as a source of counts; None where there is none."""
    if described.config is None:
        return None
    return Source(
        model=described.model,
        kind=_KINDS[described.where],
        location=described.location,
        revision=described.revision,
        config=described.config,
    )
