"""Where a live model's parameters sit: what PEFT added to it, and the component of everything else.

PEFT wraps a layer in place: `q_proj` becomes a layer of PEFT's with the old one below it as `base_layer`, a module
that is trained in full becomes a wrapper around `original_module` and its copies. Whatever is reached through a module
of PEFT's in another way than these was added by it. What remains, under the names that it had before, is placed by
the same rules as in every count (see components.py).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfcount.components import Anatomy, component_of, examine
from hfcount.inventory import place_of

if TYPE_CHECKING:
    from torch import nn

CARRIERS = ("base_model", "model", "base_layer", "original_module")
"""The names under which PEFT's wrappers keep what they wrap (peft/peft_model.py, tuners/tuners_utils.py,
utils/other.py; `model` also in tuners/adaption_prompt/layer.py)."""
WRAPPED = ("base_layer", "original_module")
"""Those of them where the wrapper has taken the name of what it wraps."""
ADDED, FOREIGN = "adapter", "other"


@dataclasses.dataclass(frozen=True)
class Host:
    """A transformers model inside the live module: its path, its anatomy, its modules by their names without PEFT."""

    path: str
    anatomy: Anatomy
    modules: dict[str, nn.Module]


class Map:
    """The places of a live module's parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self.hosts = [self._host(path, module) for path, module in self._outermost()]

    def component(self, names: Sequence[str], parameter: nn.Parameter, shape: tuple[int, ...]) -> str:
        """The component of the parameter of the logical `shape` that goes by all of `names`.

        Where one of them is an embedding's, that decides.
        """
        own = [name for name in names if not self.added(name)]
        if not own:
            return ADDED
        found = [self._component(name, parameter, shape) for name in own]
        return "token_embedding" if "token_embedding" in found else found[0]

    def owner(self, name: str) -> nn.Module:
        """The module that has the parameter or buffer called `name`."""
        return self.modules[name.rpartition(".")[0]]

    def added(self, name: str) -> bool:
        """Whether PEFT put the parameter called `name` there."""
        path = name.split(".")
        return any(
            _of_peft(self.modules[".".join(path[:depth])]) and step not in CARRIERS for depth, step in enumerate(path)
        )

    def _outermost(self) -> list[tuple[str, nn.Module]]:
        loaded = sys.modules.get("transformers.modeling_utils")
        if loaded is None:  # then nothing in here can be a transformers model
            return []
        found: list[tuple[str, nn.Module]] = []
        for path, module in self.modules.items():
            inside = any(path.startswith(f"{host}.") or not host for host, _ in found)
            if isinstance(module, loaded.PreTrainedModel) and not inside:
                found.append((path, module))
        return found

    def _host(self, path: str, module: nn.Module) -> Host:
        inside = {name: each for name, each in self.modules.items() if not path or f"{name}.".startswith(f"{path}.")}
        # Wrappers come before what they wrap, which then takes their name.
        named = {self._without_wrappers(name, path): each for name, each in inside.items()}
        return Host(path=path, anatomy=examine(module), modules=named)  # type: ignore[arg-type]

    def _without_wrappers(self, name: str, host: str) -> str:
        """`name` as it is called inside the model at `host`, without the steps that PEFT's wrappers added."""
        path = name.split(".") if name else []
        start = len(host.split(".")) if host else 0
        kept = (
            step
            for depth, step in enumerate(path)
            if depth >= start and not (step in WRAPPED and _of_peft(self.modules[".".join(path[:depth])]))
        )
        return ".".join(kept)

    def _component(self, name: str, parameter: nn.Parameter, shape: tuple[int, ...]) -> str:
        host = next((each for each in self.hosts if not each.path or name.startswith(f"{each.path}.")), None)
        if host is None:
            return FOREIGN
        path, _, leaf = name.rpartition(".")
        own = self._without_wrappers(path, host.path)
        place = place_of(f"{own}.{leaf}" if own else leaf, parameter, host.modules)
        return component_of(dataclasses.replace(place, shape=shape), host.anatomy)


def _of_peft(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "peft"
