"""What a closed form is: its text, its value, and the same of each component."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ComponentForm:
    """The closed form of one component of a model.

    Attributes:
        component: its name, one of hfcount's component names ("attention", "mlp", ...).
        text: Python arithmetic over the symbols, "L*(4*d**2 + 4*d)".
        value: parameters, the text evaluated on the config's sizes.
    """

    component: str
    text: str
    value: int


@dataclasses.dataclass(frozen=True)
class ClosedForm:
    """The closed form of a model's parameter count.

    Attributes:
        text: Python arithmetic over the symbols, layers collected as one product.
        value: parameters, the text evaluated on the config's sizes.
        components: the same by component, disjoint; their values add up to `value`.
        symbols: each symbol of the text with the config field it stands for, or with an expression of
            config fields in Python ("hidden_size // num_attention_heads").
        origin: "family" for a form derived by hand, "traced" for one read off the class's own constructor.
        source: where its derivation comes from: papers with their sections, upstream files; how it was verified.
    """

    text: str
    value: int
    components: tuple[ComponentForm, ...]
    symbols: dict[str, str]
    origin: str
    source: str

    def __post_init__(self) -> None:
        total = sum(component.value for component in self.components)
        if total != self.value:
            raise AssertionError(
                f"components add up to {total:,}, the form gives {self.value:,}: {self.value - total:+,}"
            )
