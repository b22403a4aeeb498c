"""What of anybody's config.json reaches a class: the fields that say what the model is, at every depth.

A config class passes on what it does not know: to the configs inside it, to Auto classes, to timm and to quantizers.
There a field can name code to run, weights to load, files to open and repositories to ask. None of that changes a
count: such fields are left out here, and a name that would have to be looked up elsewhere is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hfcount.errors import BadInput, shown

MAX_DEPTH = 64

# How a model is run: transformers would look for kernels and quantizers that counting does not need.
_RUN_TIME = frozenset(
    {
        "_attn_implementation", "_attn_implementation_internal", "_attn_implementation_autoset", "attn_implementation",
        "_experts_implementation", "_experts_implementation_internal", "experts_implementation", "kernel_config",
        "quantization_config", "compression_config", "sparsity_config",
    }
)  # fmt: skip
# Code and classes beside the model, where the model came from, and its weights.
_FOREIGN = frozenset(
    {
        "auto_map", "custom_pipelines", "trust_remote_code", "generation_config", "tokenizer_class", "processor_class",
        "feature_extractor_class", "image_processor_class", "video_processor_class", "quantizer_class",
        "_name_or_path", "name_or_path", "base_model_name_or_path", "pretrained_model_name_or_path", "_commit_hash",
        "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_backbone", "use_pretrained_backbone",
    }
)  # fmt: skip

_PLACE = re.compile(
    r"(^|[._])(path|url|uri|file|filename|dir|directory|folder|checkpoint|ckpt|weight|repo|repo_id|hub_id)s?$", re.I
)
"""Names of fields that say where something lies; one that holds no text is something else (`class_weight`)."""

TEXT_PARTS = ("decoder", "generator", "text_config", "text_encoder")
"""Where transformers looks for the language model's part of any config, an encoder's last (get_text_config)."""

_LOOKED_UP = {
    "architecture": "name one of timm's own models, like resnet50",
    "backbone": "put the fields of its config.json into {}_config",
}
_PLAIN_NAME = re.compile(r"\w+([.-]\w+)*", re.A)
"""As timm names its models, with a tag: `vit_base_patch16_224.augreg_in21k`. With a colon or a slash it is a place."""

_ARGUMENTS = "model_args"
# What timm.create_model may get of a config: the sizes of a model and the names of its parts, as the constructors in
# timm/models/ call them. `checkpoint_path`, `pretrained_cfg` and `cache_dir` come to it by the same way.
_TIMM = frozenset(
    {
        "aa_layer", "act_layer", "always_partition", "attn_drop_rate", "attn_layer", "attn_pool_num_heads",
        "attn_ratio", "attn_type", "avg_down", "base_width", "cardinality", "channel_multiplier", "channels",
        "class_token", "conv_bias", "conv_mlp", "depth", "depths", "dims", "distillation", "distilled",
        "downsample_block", "downsamples", "drop_block_rate", "drop_path_rate", "drop_rate", "dynamic_img_pad",
        "dynamic_img_size", "embed_dim", "embed_dims", "embed_layer", "embed_norm_layer", "encoder_pool",
        "expand_ratio", "fc_norm", "features_only", "final_norm", "fix_init", "fix_stem", "global_pool", "groups",
        "growth_rate", "head_dim", "head_hidden_size", "head_init_scale", "head_norm_first", "head_widths", "heads",
        "img_size", "in_chans", "inference_mode", "init_values", "kernel_size", "kernel_sizes", "layer_scale",
        "layer_scale_init_value", "layers", "ls_init_value", "mlp_layer", "mlp_ratio", "mlp_ratios", "msfa_indices",
        "msfa_output_resolution", "no_embed_class", "norm_eps", "norm_layer", "num_classes", "num_features",
        "num_heads", "num_kv_heads", "num_reg_tokens", "out_indices", "output_stride", "pad_type", "patch_drop_rate",
        "patch_norm", "patch_size", "pool_include_prefix", "pos_drop_rate", "pos_embed", "pre_norm",
        "pretrained_window_sizes", "proj_bias", "proj_drop_rate", "qk_norm", "qkv_bias", "ref_feat_shape",
        "reg_tokens", "replace_stem_pool", "rope_grid_indexing", "rope_grid_offset", "rope_temperature", "rope_type",
        "scale_mlp", "se_layer", "sr_ratios", "stem_bias", "stem_size", "stem_type", "stem_width", "strict_img_size",
        "strides", "swiglu_mlp", "token_mixers", "use_abs_pos_emb", "use_fc_norm", "use_grn", "use_layer_scale",
        "use_msfa", "use_pos_embed", "use_post_transformer_norm", "use_pre_transformer_norm", "use_rel_pos",
        "use_rel_pos_bias", "use_rope", "use_rot_pos_emb", "use_shared_rel_pos_bias", "weight_init", "width",
        "widths", "window_size", "window_sizes", "zero_init_last",
    }
)  # fmt: skip


def model_fields(config: Mapping[str, Any], *, where: str, own_code: bool = False) -> dict[str, Any]:
    """Return a copy of a raw config with the fields that describe the model alone, at every depth.

    `own_code` is for a repository whose classes the user lets run: they get all that is said to them.
    Raises BadInput naming `where` for a field that would have to be looked up elsewhere, a part that is no config, and
    a config that is nested too deep to be one.
    """
    _check_parts(config, where)
    return (_Walk(where) if own_code else _ForeignWalk(where)).fields(config, "", 0)


class _Walk:
    """One way through a config, which leaves out what a run alone needs."""

    def __init__(self, where: str) -> None:
        self.where = where

    def fields(self, given: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        """Return the fields of a mapping at a dotted `path` that are taken along."""
        return {
            name: self._copied(value, f"{path}{name}", depth + 1)
            for name, value in given.items()
            if self.takes(str(name), f"{path}{name}", value)
        }

    def _copied(self, value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadInput(f"{self.where}: config.json is nested more than {MAX_DEPTH} deep; no config is")
        if isinstance(value, Mapping):
            return self.fields(value, f"{path}.", depth)
        if isinstance(value, (list, tuple)):
            return [self._copied(each, f"{path}[{place}]", depth + 1) for place, each in enumerate(value)]
        return value

    def takes(self, name: str, path: str, value: Any) -> bool:
        """Return whether a field is taken along; BadInput where it cannot be left out and may not stay."""
        return name not in _RUN_TIME


class _ForeignWalk(_Walk):
    """The way through anybody's config."""

    def takes(self, name: str, path: str, value: Any) -> bool:
        if _is_left_out(name, value):
            return False
        if name in _LOOKED_UP and isinstance(value, str) and value and not _PLAIN_NAME.fullmatch(value):
            raise BadInput(
                f"{self.where}: {path} = {shown(value)} is a model elsewhere, and hfcount opens only the one that was "
                f"asked for; {_LOOKED_UP[name].format(path)}"
            )
        if name == _ARGUMENTS and isinstance(value, Mapping):
            for argument, each in value.items():
                self._check_argument(f"{path}.{argument}", argument, each)
        return True

    def _check_argument(self, path: str, name: str, value: Any) -> None:
        """Raise BadInput for an argument with which timm might do more than build."""
        if _is_left_out(name, value):
            return
        if name not in _TIMM:
            raise BadInput(
                f"{self.where}: {path} is no argument that hfcount passes to timm; drop it from config.json"
            )
        if not _is_plain(value):
            raise BadInput(f"{self.where}: {path} = {shown(value)}; a number, a name or a list of them was expected")


def _is_left_out(name: str, value: Any) -> bool:
    return name in _RUN_TIME or name in _FOREIGN or (_is_text(value) and _PLACE.search(name) is not None)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, (list, tuple)) and any(isinstance(each, str) for each in value)
    )


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, a plain name or nothing, or a list of these."""
    if isinstance(value, (list, tuple)):
        return all(not isinstance(each, (list, tuple)) and _is_plain(each) for each in value)
    if isinstance(value, str):
        return not value or _PLAIN_NAME.fullmatch(value) is not None
    return value is None or isinstance(value, (bool, int, float))


def _check_parts(config: Mapping[str, Any], where: str) -> None:
    """Raise BadInput where the part about the language model is no config."""
    for name in TEXT_PARTS:
        value = config.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise BadInput(f"{where}: {name} must be a config (a mapping of fields), not {shown(value)}")
