"""Which part of a model a parameter belongs to, read from its place and its module's class.

Nothing here knows a model type. What decides is what the model says of itself (its input and output
embeddings, its base model, its towers), the classes of the modules on the way from the root to the parameter,
and whether the place is inside the stack of layers. The field names its classes with great regularity:
an attention module's class says Attention, a norm's says Norm. Rules are tried in order; the first that
holds names the component.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from hfcount.skeleton import input_embeddings, output_embeddings

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

COMPONENTS = (
    "token_embedding", "position_embedding", "attention", "mlp", "norm", "lm_head", "router", "experts",
    "shared_experts", "ssm", "convolution", "vision", "audio", "projector", "pooler", "classifier", "adapter",
    "other",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a parameter sits: the modules from the root down to its owner, with their attribute names.

    Attributes:
        name: the parameter's full name, "model.layers.0.mlp.up_proj.weight".
        leaf: the parameter's own name in its module, "weight".
        path: the modules' attribute names, root ("") first.
        classes: the modules' class names, beside `path`.
        modules: the modules themselves, beside `path`.
        shape: the parameter's shape.
    """

    name: str
    leaf: str
    path: tuple[str, ...]
    classes: tuple[str, ...]
    modules: tuple[nn.Module, ...]
    shape: tuple[int, ...]

    @property
    def owner(self) -> nn.Module:
        return self.modules[-1]

    @property
    def layer(self) -> int | None:
        """The index in the outermost list of layers on the way; None outside the layers."""
        numbers = (part for part, kind in zip(self.path[1:], self.classes, strict=False) if kind == "ModuleList")
        return next((int(part) for part in numbers if part.isdigit()), None)

    def within(self, pattern: re.Pattern[str]) -> bool:
        """Whether any module below the root has a class name that `pattern` finds."""
        return any(pattern.search(kind) for kind in self.classes[1:])

    def named(self, pattern: re.Pattern[str]) -> bool:
        """Whether any attribute name on the way, the parameter's own included, fits `pattern`."""
        return any(pattern.search(part) for part in (*self.path[1:], self.leaf))


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What a model says of itself, looked up once for all its parameters."""

    tokens: frozenset[int]
    head: frozenset[int]
    head_roots: frozenset[int]
    vocabularies: frozenset[int]
    towers: tuple[tuple[int, str], ...]

    def tower(self, place: Place) -> str | None:
        """ "vision" or "audio" where the place is inside such an encoder of a larger model."""
        ids = {id(module) for module in place.modules}
        return next((kind for module, kind in self.towers if module in ids), None)


def examine(model: PreTrainedModel) -> Anatomy:
    """The anatomy of `model`: its embeddings, its head, its vocabularies and its towers."""
    from torch import nn

    tokens, head = input_embeddings(model), output_embeddings(model)
    vocabularies = _vocabularies(model.config)
    words = [
        each for each in model.modules() if isinstance(each, nn.Embedding) and each.num_embeddings in vocabularies
    ]
    if tokens is not None:
        words += [each for each in tokens.modules() if isinstance(each, nn.Embedding)]
    base = getattr(model, model.base_model_prefix, None)
    head_roots = {
        id(child)
        for child in model.children()
        if head is not None and child is not base and any(each is head for each in child.modules())
    }
    return Anatomy(
        tokens=frozenset(id(each) for each in tokens.modules()) if words and tokens is not None else frozenset(),
        head=frozenset(id(each) for each in head.modules())
        if head is not None and head is not tokens
        else frozenset(),
        head_roots=frozenset(head_roots),
        vocabularies=frozenset(vocabularies),
        towers=_towers(model, words),
    )


def _vocabularies(config: object, depth: int = 0) -> set[int]:
    """The sizes of all vocabularies in the config, nested configs included."""
    found: set[int] = set()
    for name, value in vars(config).items():
        if hasattr(value, "to_dict") and depth < 3:
            found |= _vocabularies(value, depth + 1)
        elif re.search(r"vocab_size(?!.*type)|n_vocab|vocabulary", name) and "type_vocab" not in name:
            found |= {value} if isinstance(value, int) else set()
    return found


_VISION = re.compile(r"(?i)vision|visual|(^|_)image|pixel|(^|_)vit($|_)")
_AUDIO = re.compile(r"(?i)audio|speech|(^|_)sound")


def _towers(model: PreTrainedModel, words: list[nn.Embedding]) -> tuple[tuple[int, str], ...]:
    """The modules that are vision or audio encoders inside a model that also reads text through `words`."""
    found: list[tuple[int, str]] = []
    for name, module in model.named_modules() if words else ():
        attribute, kind = name.rsplit(".", 1)[-1], type(module).__name__
        if not name or "Projector" in kind or _PROJECTOR_NAME.search(attribute) or _contains_any(module, words):
            continue
        for tower, pattern in (("vision", _VISION), ("audio", _AUDIO)):
            if pattern.search(attribute) or pattern.search(own_part(kind, type(model).__name__)):
                found.append((id(module), tower))
    return tuple(found)


def _contains_any(module: nn.Module, others: list[nn.Embedding]) -> bool:
    return any(each is other for each in module.modules() for other in others)


def own_part(kind: str, root: str) -> str:
    """A class name without the family's name, which it shares with the root's class.

    >>> own_part("Phi4MultimodalVisionModel", "Phi4MultimodalForCausalLM")
    'VisionModel'
    """
    shared = 0
    while shared < min(len(kind), len(root)) and kind[shared] == root[shared]:
        shared += 1
    return kind[shared:]


_ADAPTER = re.compile(r"Adapter(?!.*Model)")
_NORM = re.compile(r"Norm")
_NORM_NAME = re.compile(r"(^|_)(layer_?|batch_?|rms_?)?norm(alization)?s?\d*($|_)|^ln(_|$)|_ln\d?$")
_POSITION_CLASS = re.compile(r"Position|RelativeLogits")
_POSITION_NAME = re.compile(
    r"position|relative_attention|relative_bias|(^|_)(wpe|pos)($|_)|token_type|segment|rel_pos|^r_(w|r|s)_bias|seg_embed"
)
_PATCH = re.compile(r"Patch|PatchEmbed|VisionEmbedding|ViT.*Embeddings|Stem")
_CLASS_TOKEN = re.compile(
    r"cls_token|class_embedding|class_token|mask_token|distillation_token|register_tokens|dist_token"
)
_POOLER = re.compile(r"Pool(er|ing)")
_POOLER_NAME = re.compile(r"^pooler$|^attn_?pool")
_PROJECTOR = re.compile(
    r"Projector|MultiModalProj|Connector|Merger|Resampler|Abstractor|Perceiver|QFormer|Projection$"
)
_PROJECTOR_NAME = re.compile(
    r"projector|projection$|(^|_)proj(ect)?_(in|out)$|embeddings?_proj|multi_modal|connector|hidden_mapping_in"
)
_SSM = re.compile(
    r"Mamba(?!.*(Layer|Block|Model))|Rglru|RecurrentBlock|GatedDeltaNet|SSM|S4|xLSTM(?!.*(Block|Model|Feed))|Mixer$"
)
_SHARED = re.compile(r"SharedExpert")
_SHARED_NAME = re.compile(r"^shared_(expert|mlp)|shared_experts?(_gate)?$|^shared_expert")
_ROUTER = re.compile(r"Router|TopK|Gating(?!MLP)|MoeStatics")
_ROUTER_NAME = re.compile(r"^router|^gate$|e_score_correction_bias|expert_bias|^wg$")
_EXPERTS = re.compile(r"Experts?$|ExpertMLP|ParallelExperts")
_EXPERTS_NAME = re.compile(r"^experts$")
_ATTENTION = re.compile(
    r"(Attention|Attn|MLA|MultiheadAttn|Retention)(?!.*(Layer|Model|Encoder|Decoder|Residual)$)|Indexer|Compressor"
)
_ATTENTION_NAME = re.compile(r"^(self_)?att(entio)?n$")
_MLP = re.compile(r"(?i)MLP|FeedForward|FFN|Intermediate$|GatedACT|GatingMLP")
_CONVOLUTION = re.compile(r"Conv(?!erter)")
_CLASSIFIER_NAME = re.compile(
    r"classif|^score$|qa_outputs|^classifier|logits_proj|^cls$|answer|seq_relationship|^summary$|_head$|^head$|^lm_loss$|^proj$"
)

_MATRIX_CLASSES = re.compile(r"Linear|Conv1D$")


def _inside_layers(place: Place) -> bool:
    return place.layer is not None


def _is_other_embedding(place: Place, anatomy: Anatomy) -> bool:
    return hasattr(place.owner, "num_embeddings") and place.leaf == "weight"


def _is_vocabulary(place: Place, anatomy: Anatomy) -> bool:
    """A table with a row for each token of a vocabulary: a decoder's own, or one that a layer keeps."""
    embedding = hasattr(place.owner, "num_embeddings") or "Embedding" in place.classes[-1]
    positions = _POSITION_CLASS.search(place.classes[-1]) or place.named(_POSITION_NAME)
    return embedding and len(place.shape) == 2 and place.shape[0] in anatomy.vocabularies and not positions


def _is_head(place: Place, anatomy: Anatomy) -> bool:
    """In the LM head, or in the child of the root that holds it (BERT's transform before the decoder)."""
    return any(id(module) in anatomy.head or id(module) in anatomy.head_roots for module in place.modules[1:])


def _is_norm(place: Place, anatomy: Anatomy) -> bool:
    """In a norm, or directly below one, or a vector whose module is named like one."""
    owner_is_norm = bool(_NORM.search(place.classes[-1])) or (
        len(place.classes) > 1 and bool(_NORM.search(place.classes[-2]))
    )
    named = len(place.shape) == 1 and bool(_NORM_NAME.search(place.path[-1]))
    matrix = bool(_MATRIX_CLASSES.search(place.classes[-1]))
    return (owner_is_norm or named) and not matrix and "Embedding" not in place.classes[-1]


def _has_convolution(place: Place) -> bool:
    """Whether a convolution is on the way; GPT-2's Conv1D is none, but a matrix stored transposed."""
    return place.within(_CONVOLUTION) and place.classes[-1] != "Conv1D"


def _is_convolution(place: Place, anatomy: Anatomy) -> bool:
    return _has_convolution(place)


def _is_front_end(place: Place) -> bool:
    """A convolution outside the layers that turns an image or a sound into vectors."""
    return not _inside_layers(place) and _has_convolution(place)


def _main_input(place: Place) -> str:
    return str(getattr(place.modules[0], "main_input_name", ""))


def _is_vision_front_end(place: Place, anatomy: Anatomy) -> bool:
    token = bool(_CLASS_TOKEN.search(place.leaf))
    patch = place.within(_PATCH) and not place.named(_POSITION_NAME) and not _inside_layers(place)
    reads_pixels = "pixel" in _main_input(place)
    return token or (patch and not _is_norm(place, anatomy)) or (reads_pixels and _is_front_end(place))


def _is_audio_front_end(place: Place, anatomy: Anatomy) -> bool:
    return _main_input(place).startswith("input_") and _main_input(place) != "input_ids" and _is_front_end(place)


def _is_position(place: Place, anatomy: Anatomy) -> bool:
    by_class = bool(_POSITION_CLASS.search(place.classes[-1]))
    by_name = any(_POSITION_NAME.search(part) for part in (place.leaf, place.path[-1]))
    return (by_class or by_name) and not _MATRIX_CLASSES.search(place.classes[-1])


def _is_projector(place: Place, anatomy: Anatomy) -> bool:
    if _inside_layers(place) and not place.within(_PROJECTOR):
        return False
    return place.within(_PROJECTOR) or any(_PROJECTOR_NAME.search(part) for part in place.path[1:])


def _is_classifier(place: Place, anatomy: Anatomy) -> bool:
    """Beside the base model at the root, and no LM head: what a task put there."""
    if len(place.path) < 2 or _inside_layers(place):
        return False
    base = getattr(place.modules[0], getattr(place.modules[0], "base_model_prefix", ""), None)
    outside_base = base is not None and place.modules[1] is not base
    return outside_base or bool(_CLASSIFIER_NAME.search(place.path[1]))


def _is_embedding_projection(place: Place, anatomy: Anatomy) -> bool:
    """A matrix of the body outside the layers: it carries an embedding to the layers' width, or back."""
    return not _inside_layers(place) and bool(_MATRIX_CLASSES.search(place.classes[-1]))


def _by_class_or_name(kind: re.Pattern[str], name: re.Pattern[str]) -> Callable[[Place, Anatomy], bool]:
    def holds(place: Place, anatomy: Anatomy) -> bool:
        return place.within(kind) or any(name.search(part) for part in (*place.path[1:], place.leaf))

    return holds


def _by_class(pattern: re.Pattern[str]) -> Callable[[Place, Anatomy], bool]:
    return lambda place, anatomy: place.within(pattern)


def _is_shared_expert(place: Place, anatomy: Anatomy) -> bool:
    by_class = any(_SHARED.search(own_part(kind, place.classes[0])) for kind in place.classes[1:])
    return by_class or any(_SHARED_NAME.search(part) for part in (*place.path[1:], place.leaf))


def _is_matrix_in_layer(place: Place, anatomy: Anatomy) -> bool:
    """A Linear straight in a layer (fc1, fc2, dense): what is not attention there is the MLP."""
    return _inside_layers(place) and bool(_MATRIX_CLASSES.search(place.classes[-1]))


RULES: tuple[tuple[str, Callable[[Place, Anatomy], bool]], ...] = (
    ("vision", lambda place, anatomy: anatomy.tower(place) == "vision"),
    ("audio", lambda place, anatomy: anatomy.tower(place) == "audio"),
    ("adapter", _by_class(_ADAPTER)),
    (
        "token_embedding",
        lambda place, anatomy: (
            any(id(m) in anatomy.tokens for m in place.modules[1:]) and _is_other_embedding(place, anatomy)
        ),
    ),
    ("norm", _is_norm),
    ("lm_head", _is_head),
    ("token_embedding", _is_vocabulary),
    ("vision", _is_vision_front_end),
    ("audio", _is_audio_front_end),
    ("position_embedding", _is_position),
    ("position_embedding", _is_other_embedding),
    ("pooler", _by_class_or_name(_POOLER, _POOLER_NAME)),
    ("projector", _is_projector),
    ("ssm", _by_class(_SSM)),
    ("shared_experts", _is_shared_expert),
    ("experts", _by_class_or_name(_EXPERTS, _EXPERTS_NAME)),
    ("router", _by_class_or_name(_ROUTER, _ROUTER_NAME)),
    ("attention", _by_class_or_name(_ATTENTION, _ATTENTION_NAME)),
    ("mlp", _by_class(_MLP)),
    ("convolution", _is_convolution),
    ("mlp", _is_matrix_in_layer),
    ("classifier", _is_classifier),
    ("projector", _is_embedding_projection),
)


def component_of(place: Place, anatomy: Anatomy) -> str:
    """The component of the parameter at `place`: the first rule that holds, else "other"."""
    return next((component for component, holds in RULES if holds(place, anatomy)), "other")
