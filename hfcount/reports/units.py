"""How quantities are written: counts with separators, short forms beside them, shares, component names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcount.conventions import Figure

_SHORT = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def exact(parameters: int) -> str:
    """An exact count with thousands separators: "124,439,808"."""
    return f"{parameters:,}"


def short(parameters: int) -> str:
    """A rounded count to stand beside the exact one: "124.4M", "6.74B"; below 1,000 as it is."""
    for unit, letter in _SHORT:
        if abs(parameters) >= unit:
            value = parameters / unit
            return f"{value:.1f}{letter}" if value >= 100 or unit < 10**9 else f"{value:.2f}{letter}"
    return str(parameters)


def tick(parameters: float) -> str:
    """A count at an axis: as `short`, without the zeros of a round one ("20M", "2.5B")."""
    return re.sub(r"\.?0+(?=[A-Z]$)", "", short(int(parameters)))


MIB, GIB = 2**20, 2**30


def memory_unit(largest: int) -> tuple[str, int]:
    """The unit that a column of byte counts is printed in: "GiB" if its largest is one or more, else "MiB"."""
    return ("GiB", GIB) if largest >= GIB else ("MiB", MIB)


def memory(bytes_: int | None, unit: tuple[str, int]) -> str:
    """A byte count in `unit`, without its name: "1.25", "<0.01"; an en dash for None."""
    if bytes_ is None:
        return "–"
    value = bytes_ / unit[1]
    if 0 < value < 0.005:
        return "<0.01"
    return f"{value:,.2f}"


def memory_with_unit(bytes_: int) -> str:
    """A byte count with a unit of its own: "1.25 GiB", "3.50 MiB", "640 B"."""
    if abs(bytes_) < MIB // 100:
        return f"{bytes_:,} B"
    name, size = memory_unit(abs(bytes_))
    return f"{bytes_ / size:,.2f} {name}"


def regime_title(name: str) -> str:
    """A regime's name as people write it: "QLoRA r=8"."""
    return name.replace("lora", "LoRA").replace("qLoRA", "QLoRA")


def share(fraction: float) -> str:
    """A share of a whole in percent; a share that is there but rounds to nothing is shown as such."""
    if 0 < fraction < 0.00005:
        return "<0.01%"
    return f"{fraction:.2%}"


def percent(value: float) -> str:
    """PEFT's own way to print the trainable share: "0.2364%"."""
    return f"{value:.4f}%"


def label(component: str) -> str:
    """A component's name as people read it: "token embedding"; proper initials kept."""
    return {"mlp": "MLP", "lm_head": "LM head", "ssm": "SSM"}.get(component, component.replace("_", " "))


def convention_name(name: str, basis: str) -> str:
    """A convention's name, and the word where it is an inference: "with a padded vocabulary (inference)"."""
    return f"{name} (inference)" if basis == "inference" else name


def difference(value: int) -> str:
    """A signed exact difference: "+38,597,376", "-98,304", "0"."""
    return f"{value:+,}" if value else "0"


def stands_for(figure: Figure) -> str:
    """The counts that are printed as a figure."""
    return f"as printed, it stands for {exact(figure.low)} to {exact(figure.high)}"


def without_form(model_class: str) -> str:
    """What stands where a closed form would: that the count is exact all the same, and how to get a form."""
    return (
        f"no closed form of {model_class} is known for this config; the count is exact without one "
        "(`hfcount formula` finds one)"
    )
