"""A config to its real class, built empty: every parameter on the meta device, tied as published."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.classes import fitting_config, model_class_for
from hfcount.configs import LoadedConfig, one_line
from hfcount.deadline import uncounted
from hfcount.errors import BadInput
from hfcount.limits import check_total, guarded_build, null_sizes
from hfcount.sealed import is_own_code

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A model without weights.

    Attributes:
        model: the real class; its parameters and buffers have shapes and dtypes but no storage.
        config: the config that the class was built from.
        published_untied: config.json says that the LM head is a matrix of its own, but the class tied it.
        notes: what a reader of the count must know, a line each.
    """

    model: PreTrainedModel
    config: PreTrainedConfig
    published_untied: bool
    notes: tuple[str, ...] = ()


def build_skeleton(loaded: LoadedConfig, *, class_name: str | None = None, seconds: float | None = None) -> Skeleton:
    """The class that the config names (or `class_name`), empty and tied.

    Built under `accelerate.init_empty_weights(include_buffers=True)`: its default flag would allocate
    every parameter first and leave ties broken. `seconds` bounds the building.
    Raises BadInput where the config cannot be built, a weight that is declared tied is not, or memory for
    real would be needed.
    """
    with uncounted():  # as in load_config
        model_class, notes = model_class_for(
            loaded.config, loaded.raw, where=loaded.where, class_name=class_name, own_code=loaded.own_code
        )
    config = fitting_config(loaded.config, model_class)
    if config is None:
        raise BadInput(
            f"{loaded.where}: architecture {model_class.__name__} does not take a {type(loaded.config).__name__}; "
            "mend model_type or architectures in config.json"
        )
    model = build_empty(model_class, config, where=loaded.where, seconds=seconds)
    published_untied = loaded.raw.get("tie_word_embeddings") is False and head_is_tied(model)
    if published_untied:
        notes += (PUBLISHED_UNTIED,)
    if loaded.quantization is not None:
        notes += (packed(loaded.quantization),)
    return Skeleton(model=model, config=config, published_untied=published_untied, notes=loaded.notes + notes)


PUBLISHED_UNTIED = (
    "config.json says tie_word_embeddings = false, but this class ties the LM head all the same; "
    "`untied` is the count with the separate head"
)


def packed(quantization: Mapping[str, Any]) -> str:
    """The note for a published file whose weights are packed."""
    method = quantization.get("quant_method", "a packed format")
    return f"the published file is packed ({method}); the counts are of the unpacked weights"


def build_empty(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    *,
    where: str,
    seconds: float | None = None,
) -> PreTrainedModel:
    """`model_class` built from `config` on the meta device, tied, in evaluation mode.

    Raises BadInput naming `where` for whatever the constructor makes of a config that cannot be built.
    """
    with uncounted():
        from accelerate import init_empty_weights

    # transformers warns of missing kernels and of generation settings, which counting does not need.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logger.info("building %s empty: %s", model_class.__name__, where)
    try:
        bounds = guarded_build(where, seconds=seconds, own_code=is_own_code(model_class))
        with bounds, init_empty_weights(include_buffers=True), _nothing_drawn():
            model = model_class._from_config(config, attn_implementation="eager")
            _empty_the_rest(model)
            model.tie_weights()
    except BadInput:
        raise
    except Exception as error:  # whatever a constructor raises, it is the config that cannot be built
        reason = f"{one_line(error)}{null_sizes(config) if 'NoneType' in str(error) else ''}"
        if isinstance(error, (TypeError, AttributeError)):  # Python's words, which name no field
            reason += "; a field of config.json has a value of the wrong kind"
        raise BadInput(f"{where}: cannot be built as {model_class.__name__}: {reason}") from error
    _assert_empty_and_tied(model, where)
    check_total(sum(parameter.numel() for parameter in model.parameters()), where=where)
    return model.eval()


@contextlib.contextmanager
def _nothing_drawn() -> Iterator[None]:
    """A context in which a Linear without storage draws no numbers for it, which is a quarter of the building."""
    from torch import nn

    before = nn.Linear.reset_parameters

    def reset_parameters(self: nn.Linear) -> None:
        if self.weight.device.type != "meta":
            before(self)

    nn.Linear.reset_parameters = reset_parameters  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Linear.reset_parameters = before  # type: ignore[method-assign]


def _empty_the_rest(model: PreTrainedModel) -> None:
    """Put on the meta device what a legacy constructor (`torch.FloatTensor(...)`) allocated all the same."""
    from torch import nn

    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None and parameter.device.type != "meta":
                module._parameters[leaf] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)


def _assert_empty_and_tied(model: PreTrainedModel, where: str) -> None:
    """Raise BadInput if a parameter has storage, or if a weight that the class declares tied is not."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    real = [name for name, parameter in parameters.items() if parameter.device.type != "meta"]
    if real:
        raise BadInput(f"{where}: {real[0]} was allocated for real, so the model is not built empty")
    for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if target in parameters and source in parameters and parameters[target] is not parameters[source]:
            raise BadInput(f"{where}: {target} is declared tied to {source}, but the class built two parameters")


def head_is_tied(model: PreTrainedModel) -> bool:
    """Whether the LM head's matrix is the parameter of an embedding (an encoder's, a decoder's or both's)."""
    from torch import nn

    head = output_embeddings(model)
    weight = None if isinstance(head, nn.Embedding) else getattr(head, "weight", None)
    embeddings = (each for each in model.modules() if isinstance(each, nn.Embedding))
    return weight is not None and any(each.weight is weight for each in embeddings)


def input_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """The module that turns token ids into vectors, as the class itself says; None if it has none."""
    return _asked(model, "get_input_embeddings")


def output_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """The LM head's last module, as the class itself says; None if it has none."""
    return _asked(model, "get_output_embeddings")


def _asked(model: PreTrainedModel, getter: str) -> nn.Module | None:
    from torch import nn

    try:
        found = getattr(model, getter)()
    except (NotImplementedError, AttributeError):
        return None
    return found if isinstance(found, nn.Module) else None
