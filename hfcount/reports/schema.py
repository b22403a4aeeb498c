"""The JSON documents as types: what each command prints with `--format json`, key by key.

`scripts/doc_schema.py` publishes them as JSON Schema. A document that is a record of the program's own is described by
that record (`Record`), so that a new field is in the schema without a word here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypedDict

from hfcount.auditing.finding import VERDICTS, Finding
from hfcount.budget.gpus import Gpu
from hfcount.budget.recipes import Recipe
from hfcount.budgeting import REGIMES
from hfcount.conventions import Convention
from hfcount.costing import METHODS
from hfcount.environment import PACKAGES
from hfcount.fitting import VERDICTS as FIT_VERDICTS
from hfcount.fitting import Change
from hfcount.formulas.answering import Drawn
from hfcount.formulas.closed_form import ComponentForm
from hfcount.formulas.solve import Candidate
from hfcount.lora import LoraCount
from hfcount.memory_answer import Budget
from hfcount.parts import Sizes
from hfcount.reports.memory import PHASES
from hfcount.reports.readme import State
from hfcount.result import Component
from hfcount.sources import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A dict with the fields of a dataclass `of`: `only` these of them, some `renamed`; `also` adds or types some."""

    of: type
    only: tuple[str, ...] = ()
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    also: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Keys:
    """A dict with these keys, whose names are worked out; `optional` ones may be left out."""

    types: Mapping[str, Any]
    optional: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class OneOf:
    """One of the texts that the program knows by a tuple or a table."""

    names: Iterable[str]


Version: TypeAlias = Literal[1]
"""Of the documents: a key that goes or changes its meaning makes it 2; a new key does not."""


class TensorsDocument(TypedDict):
    """Tensors of one bucket and size at a step's peak: the bytes of them all, how many, and what one of them is."""

    bytes: int
    count: int
    bucket: str
    module: str | None
    name: str | None
    shape: list[int]
    dtype: str


SourceDocument: TypeAlias = Annotated[dict[str, Any], Record(Source, only=("kind", "location", "revision"))]
SizesDocument: TypeAlias = Annotated[
    dict[str, Any],
    Record(Sizes, only=("total", "embedding", "lm_head", "non_embedding", "active", "untied", "buffers")),
]
ComponentDocument: TypeAlias = Annotated[dict[str, Any], Record(Component)]
ShareDocument: TypeAlias = Annotated[dict[str, Any], Record(Component, only=("component", "parameters", "share"))]
ConventionDocument: TypeAlias = Annotated[
    dict[str, Any],
    Record(Convention, only=("name", "parameters", "published", "note", "derivation", "basis")),
]
FoundDocument: TypeAlias = Annotated[
    dict[str, Any],
    Record(Convention, only=("name", "parameters", "note", "derivation", "basis"), also={"difference": int}),
]
LoraDocument: TypeAlias = Annotated[dict[str, Any], Record(LoraCount)]
CandidateDocument: TypeAlias = Annotated[dict[str, Any], Record(Candidate, also={"difference": int})]
BudgetDocument: TypeAlias = Annotated[
    dict[str, Any],
    Record(
        Budget,
        renamed={"quantized": "quantized_bytes"},
        also={
            "regime": Annotated[str, OneOf(REGIMES)],
            "method": Annotated[str, OneOf(METHODS)],
            "peak_phase": Annotated[str, OneOf(PHASES)] | None,
            "largest": list[TensorsDocument],
        },
    ),
]
ChangeDocument: TypeAlias = Annotated[dict[str, Any], Record(Change)]
FindingDocument: TypeAlias = Annotated[dict[str, Any], Record(Finding)]
DrawnDocument: TypeAlias = Annotated[dict[str, Any], Record(Drawn)]
FormOfComponent: TypeAlias = Annotated[dict[str, Any], Record(ComponentForm)]


class FormDocument(TypedDict):
    """A closed form beside its count; all null where there is none."""

    text: str | None
    value: int | None
    matches: bool | None
    origin: str | None


class RowDocument(TypedDict):
    """A row of a breakdown."""

    name: str
    parameters: int
    share: float
    formula: str | None


class BreakdownDocument(TypedDict):
    """The parameters by what `--by` names; the rows add up to the total."""

    by: Literal["component", "layer", "module", "parameter"]
    rows: list[RowDocument]


class CountDocument(TypedDict):
    """`hfcount MODEL`."""

    schema: Version
    model: str
    model_class: str
    model_type: str
    source: SourceDocument
    versions: dict[str, str]
    parameters: SizesDocument
    components: list[ComponentDocument]
    formula: FormDocument
    conventions: list[ConventionDocument]
    lora: list[LoraDocument]
    symbols: dict[str, str]
    breakdown: BreakdownDocument
    notes: list[str]


class CardDocument(CountDocument):
    """`hfcount card MODEL`: the count, the section, and what became of the README."""

    section: str
    readme: str | None
    state: State | None
    differences: list[str]


class ExplanationDocument(TypedDict):
    """`hfcount explain MODEL FIGURE`."""

    schema: Version
    model: str
    model_class: str
    figure: str
    range: tuple[int, int]
    explained: bool
    matches: list[FoundDocument]
    misses: list[FoundDocument]
    inferences: list[str]
    notes: list[str]
    versions: dict[str, str]


class ComparedDocument(TypedDict):
    """One of the models that are compared."""

    model: str
    model_class: str
    parameters: SizesDocument
    components: list[ShareDocument]
    formula: FormDocument
    notes: list[str]


class ComparisonDocument(TypedDict):
    """`hfcount compare MODEL MODEL ...`."""

    schema: Version
    models: list[ComparedDocument]
    versions: dict[str, str]


class FormulaDocument(TypedDict):
    """`hfcount formula MODEL`."""

    schema: Version
    model: str
    model_type: str
    model_class: str
    value: int
    text: str | None
    latex: str | None
    python: str | None
    components: list[FormOfComponent]
    symbols: dict[str, str]
    guards: list[str]
    verified: int
    single_changes: int
    origin: str | None
    reason: str | None
    check: DrawnDocument | None
    versions: dict[str, str]
    notes: list[str]


class SolutionDocument(TypedDict):
    """`hfcount solve MODEL`."""

    schema: Version
    model: str
    model_class: str
    unknown: str
    wanted: str
    target: int
    equation: str | None
    exact: float | None
    below: CandidateDocument | None
    above: CandidateDocument | None
    nearest: int | None
    notes: list[str]


class BucketDocument(TypedDict):
    """A lasting bucket's closed form beside what the simulated step held of it."""

    regime: str
    bucket: str
    closed_form_bytes: int
    simulated_bytes: int
    difference: int
    reason: str | None


class FitDocument(TypedDict):
    """One regime on one GPU."""

    gpu: str
    gpu_mib: int
    gpu_source: str
    regime: str
    verdict: Annotated[str, OneOf(FIT_VERDICTS)]
    fits: bool
    needs_bytes: int
    reserve_bytes: tuple[int, int]
    offers_bytes: int
    margin_bytes: int
    largest_batch: int | None
    largest_seq: int | None
    largest_r: int | None
    changes: list[ChangeDocument]


class MemoryDocument(TypedDict):
    """`hfcount memory MODEL`."""

    schema: Version
    model: str
    model_class: str
    model_type: str
    source: SourceDocument
    batch: int
    seq: int
    inputs: dict[str, list[int]]
    encoder_decoder: bool
    precision: str
    recipe: str
    optimizer: str
    attention: str
    device: str
    gradient_checkpointing: bool
    quantization: str
    double_quant: bool
    sharding: str
    devices: int
    offload: bool
    regimes: list[BudgetDocument]
    comparisons: list[BucketDocument]
    fits: list[FitDocument]
    warnings: list[str]
    notes: list[str]
    versions: dict[str, str]


SummaryDocument: TypeAlias = Annotated[
    dict[str, int], Keys({"models": int, **dict.fromkeys(VERDICTS, int)}, optional={"unreached": int})
]


class AuditDocument(TypedDict):
    """`hfcount audit TARGET ...`."""

    schema: Version
    summary: SummaryDocument
    findings: list[FindingDocument]
    notes: list[str]


class NameDocument(TypedDict):
    """A bundled card's name."""

    name: str


class GpusDocument(TypedDict):
    """`hfcount list gpus`."""

    schema: Version
    gpus: list[
        Annotated[
            dict[str, Any],
            Record(Gpu, only=("name", "vendor", "total_mib", "capability", "source"), renamed={"total_mib": "mib"}),
        ]
    ]


class CardsDocument(TypedDict):
    """`hfcount list cards`."""

    schema: Version
    cards: list[NameDocument]


class RecipesDocument(TypedDict):
    """`hfcount list recipes`."""

    schema: Version
    recipes: list[Annotated[dict[str, Any], Record(Recipe, only=("name", "summary"))]]


EnvironmentDocument: TypeAlias = Annotated[
    dict[str, Any],
    Keys(
        {"schema": Version, "hfcount": str, "python": str, "platform": str}
        | dict.fromkeys(PACKAGES, str | None)
        | {"device": str, "bitsandbytes backend": str, "bundled cards": int}
    ),
]

DOCUMENTS: Mapping[str, Any] = {
    "count": CountDocument,
    "card": CardDocument,
    "explain": ExplanationDocument,
    "compare": ComparisonDocument,
    "formula": FormulaDocument,
    "solve": SolutionDocument,
    "memory": MemoryDocument,
    "audit": AuditDocument,
    "list gpus": GpusDocument,
    "list cards": CardsDocument,
    "list recipes": RecipesDocument,
    "env": EnvironmentDocument,
}
"""The document of each command that writes JSON."""
