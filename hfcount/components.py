"""Which part of a model a parameter belongs to, read from its place and its module's class.

Nothing here knows a model type. What decides is what the model says of itself (its input and output
embeddings, its base model, its towers), the classes of the modules on the way from the root to the parameter,
and whether the place is inside the stack of layers. The field names its classes with great regularity:
an attention module's class says Attention, a norm's says Norm. Rules are tried in order; the first that
holds names the component.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

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
        words: those of them that are names, neither the root's nor a layer's number.
        classes: the modules' class names, beside `path`.
        kinds: what the class names say beside their model's own name, "MLP" for "LlamaMLP", beside `path`.
        modules: the modules themselves, beside `path`.
        shape: the parameter's shape.
    """

    name: str
    leaf: str
    path: tuple[str, ...]
    words: tuple[str, ...]
    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    modules: tuple[nn.Module, ...]
    shape: tuple[int, ...]

    @property
    def owner(self) -> nn.Module:
        return self.modules[-1]

    @property
    def reads(self) -> frozenset[str]:
        """What the models around the parameter take first: "input_ids", "pixel_values", "input_features"."""
        names = (getattr(module, "main_input_name", None) for module in self.modules)
        return frozenset(name for name in names if isinstance(name, str))

    @property
    def layer(self) -> int | None:
        """The index in the outermost list of layers on the way; None outside the layers."""
        numbers = (part for part, kind in zip(self.path[1:], self.classes, strict=False) if kind == "ModuleList")
        return next((int(part) for part in numbers if part.isdigit()), None)

    def within(self, pattern: re.Pattern[str]) -> bool:
        """Whether any module below the root is of a kind that `pattern` finds."""
        return _any_found(pattern.search, self.kinds[1:])

    def named(self, pattern: re.Pattern[str]) -> bool:
        """Whether any attribute name on the way, the parameter's own included, fits `pattern`."""
        return _any_found(pattern.search, (*self.words, self.leaf))


@functools.lru_cache(maxsize=65536)
def _any_found(search: Callable[[str], Any], names: tuple[str, ...]) -> bool:
    """Whether `search` finds something in any of `names`: they are the same in every layer of a stack."""
    return any(map(search, names))


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What a model says of itself, looked up once for all its parameters (modules by their id).

    Attributes:
        tokens: the input embeddings of the model and of the models inside it.
        heads: their LM heads, each with what stands around it (BERT's transform before the decoder).
        vocabularies: the sizes of all vocabularies in the config.
        towers: the vision and audio encoders of a larger model, outermost first.
    """

    tokens: frozenset[int]
    heads: frozenset[int]
    vocabularies: frozenset[int]
    towers: tuple[tuple[int, str], ...]

    def tower(self, place: Place) -> str | None:
        """ "vision" or "audio" where the place is inside such an encoder of a larger model."""
        ids = {id(module) for module in place.modules}
        return next((kind for module, kind in self.towers if module in ids), None)


def examine(model: PreTrainedModel) -> Anatomy:
    """The anatomy of `model`: its embeddings, its heads, its vocabularies and its towers."""
    from torch import nn
    from transformers import PreTrainedModel

    vocabularies = _vocabularies(model.config)
    models = [each for each in model.modules() if isinstance(each, PreTrainedModel)]
    tables = [each for each in model.modules() if isinstance(each, nn.Embedding)]
    tokens = [] if (own := input_embeddings(model)) is None else list(own.modules())
    tokens += [each for each in map(input_embeddings, models) if isinstance(each, nn.Embedding)]
    words = [each for each in tables if each.num_embeddings in vocabularies or any(each is one for one in tokens)]
    known = {id(each) for each in tokens} if words else set()
    heads = {id(each): each for each in map(output_embeddings, models) if each is not None and id(each) not in known}
    return Anatomy(
        tokens=frozenset(known),
        heads=frozenset(id(_around(head, model)) for head in heads.values()),
        vocabularies=frozenset(vocabularies),
        towers=_towers(model, words),
    )


def _around(head: nn.Module, model: PreTrainedModel) -> nn.Module:
    """The outermost module around `head` that is a head too: no model of its own, without layers or embeddings."""
    from torch import nn

    modules = dict(model.named_modules(remove_duplicate=False))
    name = next((name for name, module in modules.items() if module is head), "")
    found = head
    while "." in name:
        name = name.rpartition(".")[0]
        inside = [each for each in modules[name].modules() if all(each is not part for part in head.modules())]
        if hasattr(modules[name], "base_model_prefix") or any(
            isinstance(each, (nn.Embedding, nn.ModuleList)) for each in inside
        ):
            break
        found = modules[name]
    return found


def _vocabularies(config: object, depth: int = 0) -> set[int]:
    """The sizes of all vocabularies in the config, nested configs included."""
    found: set[int] = set()
    for name, value in vars(config).items():
        if hasattr(value, "to_dict") and depth < 3:
            found |= _vocabularies(value, depth + 1)
        elif re.search(r"vocab_size(?!.*type)|n_vocab|vocabulary", name) and "type_vocab" not in name:
            found |= {value} if isinstance(value, int) and value > 1 else set()
    return found


_VISION = re.compile(r"(?i)vision|visual|(^|_)image|pixel|(^|_)vit($|_)|(^|_)vq_?(model|vae)$")
_AUDIO = re.compile(r"(?i)audio|speech|(^|_)sound|acoustic|(^|_)codec($|_)")


def _towers(model: PreTrainedModel, words: list[nn.Embedding]) -> tuple[tuple[int, str], ...]:
    """The modules that are vision or audio encoders inside a model that also reads text through `words`."""
    found: list[tuple[int, str]] = []
    for name, module in model.named_modules() if words else ():
        attribute, kind = name.rsplit(".", 1)[-1], type(module).__name__
        if (
            not any(module.children())
            or not name
            or "Projector" in kind
            or _PROJECTOR_NAME.search(attribute)
            or _contains_any(module, words)
        ):
            continue
        for tower, pattern in (("vision", _VISION), ("audio", _AUDIO)):
            if pattern.search(attribute) or pattern.search(own_part(kind, (type(model).__name__,))):
                found.append((id(module), tower))
    return tuple(found)


def _contains_any(module: nn.Module, others: list[nn.Embedding]) -> bool:
    return any(each is other for each in module.modules() for other in others)


_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@functools.lru_cache(maxsize=4096)
def own_part(kind: str, models: tuple[str, ...]) -> str:
    """A class name without the words that it begins with as one of `models`' class names does.

    A family's name says nothing of the part: ConvBERT's dense layers are no convolutions.

    >>> own_part("Phi4MultimodalVisionModel", ("Phi4MultimodalForCausalLM",))
    'VisionModel'
    >>> own_part("LlamaMLP", ("LlamaModel",))
    'MLP'
    """
    words = _WORDS.findall(kind)
    shared = max((_num_shared(words, _WORDS.findall(model)) for model in models), default=0)
    return "".join(words[shared:])


def _num_shared(words: list[str], others: Iterable[str]) -> int:
    """How many words both begin with."""
    shared = 0
    for word, other in zip(words, others, strict=False):
        if word != other:
            break
        shared += 1
    return shared


_ADAPTER = re.compile(r"Adapter(?!.*Model)")
_HEAD_NAME = re.compile(r"^lm_heads?$|^codebooks_head$")
_NORM = re.compile(r"Norm|GRN$")
_NORM_NAME = re.compile(r"(^|_)(layer_?|batch_?|rms_?)?norm(alization)?s?\d*($|_)|^ln(_|$)|_ln\d?$")
_POSITION_CLASS = re.compile(r"Position(?!.*(Attention|FeedForward))|RelativeLogits")
_POSITION_CONVOLUTION = re.compile(r"PositionalConv")
_POSITION_NAME = re.compile(
    r"position|relative_attention|relative_bias|(^|_)(wpe|pos)($|_)|token_type|segment|rel_pos|^r_(w|r|s)_bias|seg_embed"
)
_PATCH = re.compile(r"Patch(?!er)|VisionEmbedding|Stem")
_PATCH_NAME = re.compile(r"^patch_embed(ding)?s?$")
_FRONT_END = re.compile(r"FeatureEncoder|FeatureExtractor|Sub[Ss]ampl(er|ing)(?!.*(Layer|Block))")
_CLASS_TOKEN = re.compile(
    r"cls_token|class_embedding|class_token|mask_token|distillation_token|register_tokens|dist_token|detection_tokens"
)
_POOLER = re.compile(r"Pool(er|ing)")
_POOLER_NAME = re.compile(r"^pooler$|^attn_?pool")
_PROJECTOR = re.compile(
    r"Projector|MultiModalProj|Connector|Merger|Resampler|Abstractor|Perceiver|QFormer|VisionAdapter"
)
_PROJECTOR_NAME = re.compile(
    r"projector|projection$|(^|_)proj(ect)?_(in|out)$|embeddings?_proj|multi_modal|connector|hidden_mapping_in"
)
_PROJECTION = re.compile(r"Projection$")
_SSM = re.compile(r"Mamba(?!.*(Layer|Block|Model))|Rglru|RecurrentBlock|GatedDeltaNet|SSM|S4|^Mixer$|^(LSTM|GRU)$")
_SSM_NAME = re.compile(r"^mamba$|lstm")
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
_CONVOLUTION = re.compile(r"Conv(?!erter|.*(Model|Backbone)$)")
_CLASSIFIER_NAME = re.compile(
    r"classif|^score$|qa_outputs|^classifier|logits_proj|^cls$|answer|seq_relationship|^summary$|(?<!hc)_head$|^head$|^lm_loss$|^proj$"
)

_MATRIX = re.compile(r"Linear|Conv1D$")


def _is_matrix_class(place: Place) -> bool:
    return bool(_MATRIX.search(place.kinds[-1]))


def _inside_layers(place: Place) -> bool:
    return place.layer is not None


def _is_other_embedding(place: Place, anatomy: Anatomy) -> bool:
    return hasattr(place.owner, "num_embeddings") and place.leaf == "weight"


def _is_vocabulary(place: Place, anatomy: Anatomy) -> bool:
    """A table with a row for each token of a vocabulary: a decoder's own, or one that a layer keeps."""
    embedding = hasattr(place.owner, "num_embeddings") or "Embedding" in place.kinds[-1]
    matrix = len(place.shape) == 2 and place.shape[0] in anatomy.vocabularies
    return embedding and matrix and not _is_position(place, anatomy)


def _is_input_embedding(place: Place, anatomy: Anatomy) -> bool:
    """In what the model calls its input embeddings, positions aside."""
    inside = any(id(module) in anatomy.tokens for module in place.modules[1:])
    return inside and _is_other_embedding(place, anatomy) and not _is_position(place, anatomy)


def _is_head(place: Place, anatomy: Anatomy) -> bool:
    """In an LM head, or in what stands around it (BERT's transform before the decoder)."""
    return place.named(_HEAD_NAME) or any(id(module) in anatomy.heads for module in place.modules[1:])


def _is_norm(place: Place, anatomy: Anatomy) -> bool:
    """In a norm, or a vector whose module is named like one."""
    owner_is_norm = bool(_NORM.search(place.kinds[-1])) and "Embedding" not in place.kinds[-1]
    named = len(place.shape) == 1 and bool(_NORM_NAME.search(place.path[-1]))
    return (owner_is_norm or named) and not _is_matrix_class(place)


def _has_convolution(place: Place) -> bool:
    """Whether a convolution is on the way; GPT-2's Conv1D is none, but a matrix stored transposed."""
    return place.within(_CONVOLUTION) and place.classes[-1] != "Conv1D"


def _is_convolution(place: Place, anatomy: Anatomy) -> bool:
    return _has_convolution(place)


def _is_front_end(place: Place) -> bool:
    """What turns an image or a sound into vectors: a convolution outside the layers, or a part that is named so."""
    return place.within(_FRONT_END) or (not _inside_layers(place) and _has_convolution(place))


def _is_vision_front_end(place: Place, anatomy: Anatomy) -> bool:
    token = bool(_CLASS_TOKEN.search(place.leaf))
    patch = place.within(_PATCH) or place.named(_PATCH_NAME)
    patch = patch and not place.named(_POSITION_NAME) and not _inside_layers(place)
    return token or patch or ("pixel_values" in place.reads and _is_front_end(place))


def _is_audio_front_end(place: Place, anatomy: Anatomy) -> bool:
    return not place.reads.isdisjoint({"input_values", "input_features"}) and _is_front_end(place)


def _is_position(place: Place, anatomy: Anatomy) -> bool:
    by_class = any(_POSITION_CLASS.search(kind) for kind in place.kinds[-2:]) or place.within(_POSITION_CONVOLUTION)
    by_name = any(_POSITION_NAME.search(part) for part in (place.leaf, place.path[-1]))
    return (by_class or by_name) and not _is_matrix_class(place)


def _is_projector(place: Place, anatomy: Anatomy) -> bool:
    if place.within(_PROJECTOR):
        return True
    named = place.within(_PROJECTION) or _any_found(_PROJECTOR_NAME.search, place.words)
    return named and not _inside_layers(place)


def _is_beside_base(place: Place) -> bool:
    """Beside the base model at the root: what a task put there."""
    root = place.modules[0]
    base = getattr(root, getattr(root, "base_model_prefix", ""), None)
    return base is not None and len(place.path) > 1 and place.modules[1] is not base


def _is_before_head(place: Place, anatomy: Anatomy) -> bool:
    """Beside the base model of one with an LM head: ELECTRA's generator_predictions, ModernBERT's head."""
    return bool(anatomy.heads) and _is_beside_base(place) and not _is_classifier(place, anatomy)


def _is_task_head(place: Place, anatomy: Anatomy) -> bool:
    return _is_beside_base(place)


def _is_classifier(place: Place, anatomy: Anatomy) -> bool:
    return len(place.path) > 1 and not _inside_layers(place) and bool(_CLASSIFIER_NAME.search(place.path[1]))


def _is_scores(place: Place, anatomy: Anatomy) -> bool:
    """A matrix of the body outside the layers with a row for each token of a vocabulary."""
    return _is_embedding_projection(place, anatomy) and place.shape[0] in anatomy.vocabularies


def _is_embedding_projection(place: Place, anatomy: Anatomy) -> bool:
    """A matrix of the body outside the layers: it carries an embedding to the layers' width, or back."""
    return not _inside_layers(place) and _is_matrix_class(place)


def _by_class_or_name(kind: re.Pattern[str], name: re.Pattern[str]) -> Callable[[Place, Anatomy], bool]:
    def holds(place: Place, anatomy: Anatomy) -> bool:
        return place.within(kind) or place.named(name)

    return holds


def _by_class(pattern: re.Pattern[str]) -> Callable[[Place, Anatomy], bool]:
    return lambda place, anatomy: place.within(pattern)


def _is_shared_expert(place: Place, anatomy: Anatomy) -> bool:
    return place.within(_SHARED) or place.named(_SHARED_NAME)


def _is_matrix_in_layer(place: Place, anatomy: Anatomy) -> bool:
    """A Linear straight in a layer (fc1, fc2, dense): what is not attention there is the MLP."""
    return _inside_layers(place) and _is_matrix_class(place)


RULES: tuple[tuple[str, Callable[[Place, Anatomy], bool]], ...] = (
    ("vision", lambda place, anatomy: anatomy.tower(place) == "vision"),
    ("audio", lambda place, anatomy: anatomy.tower(place) == "audio"),
    ("adapter", _by_class(_ADAPTER)),
    ("token_embedding", _is_input_embedding),
    ("norm", _is_norm),
    ("lm_head", _is_head),
    ("token_embedding", _is_vocabulary),
    ("vision", _is_vision_front_end),
    ("audio", _is_audio_front_end),
    ("position_embedding", _is_position),
    ("position_embedding", _is_other_embedding),
    ("pooler", _by_class_or_name(_POOLER, _POOLER_NAME)),
    ("projector", _is_projector),
    ("lm_head", _is_before_head),
    ("classifier", _is_task_head),
    ("ssm", _by_class_or_name(_SSM, _SSM_NAME)),
    ("shared_experts", _is_shared_expert),
    ("experts", _by_class_or_name(_EXPERTS, _EXPERTS_NAME)),
    ("router", _by_class_or_name(_ROUTER, _ROUTER_NAME)),
    ("attention", _by_class_or_name(_ATTENTION, _ATTENTION_NAME)),
    ("mlp", _by_class(_MLP)),
    ("convolution", _is_convolution),
    ("mlp", _is_matrix_in_layer),
    ("classifier", _is_classifier),
    ("lm_head", _is_scores),
    ("projector", _is_embedding_projection),
)


def component_of(place: Place, anatomy: Anatomy) -> str:
    """The component of the parameter at `place`: the first rule that holds, else "other"."""
    return next((component for component, holds in RULES if holds(place, anatomy)), "other")
