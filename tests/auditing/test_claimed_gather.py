"""All claims of a model in their order, each once; what hostile texts do; what an adapter's files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcount.auditing.claimed import claims_in_text, claims_of, claims_of_adapter
from hfcount.auditing.claimed.markdown import MAX_CARD, MAX_LINE
from hfcount.auditing.claimed.text import MAX_CLAIMS
from hfcount.conventions import parse_figure
from hfcount.errors import BadInput
from hfcount.sources.described import Described
from hfcount.sources.headers import Checkpoint, Header, StoredTensor
from hfcount.sources.source import Claim


def checkpoint(index: dict[str, Any] | None = None, tensors: tuple[StoredTensor, ...] = ()) -> Checkpoint:
    return Checkpoint(header=Header(format="safetensors", tensors=tensors, index=index or {}))


def test_all_sources_in_their_order() -> None:
    described = Described(
        model="someone/Wren-7B",
        where="hub",
        card="# Wren\n- Parameters: 7.25B\n\nWren-7B has 7.25B parameters, or 7,248,023,552 parameters.\n",
        claims=(Claim(claim="7.2B", approx=7.2e9, source="a paper"),),
        hub_total=7_248_023_552,
        checkpoint=checkpoint({"total_size": 14496047104.0, "total_parameters": 7_248_023_552}),
    )
    assert [(claim.claim, claim.kind, claim.source) for claim in claims_of(described)] == [
        ("7.2B", "total", "a paper"),
        ("7.25B", "total", "README.md line 2"),
        ("7B", "total (nominal, from the name)", "the repository's name"),
        ("7,248,023,552", "total (Hub safetensors)", "safetensors.total"),
        ("7,248,023,552", "total (index file)", "the index file: total_parameters"),
        ("14,496,047,104", "bytes (index file)", "the index file: total_size"),
    ]


def test_what_a_card_repeats_is_one_claim() -> None:
    card = "- Parameters: 7.25B\n- Total parameters: 7.25B\n- Parameters: 7.2B\n- Parameters: 7.20B\n"
    claims = claims_of(Described(model="someone/wren", where="card", card=card))
    assert [(claim.claim, claim.details) for claim in claims] == [
        ("7.25B", {"also": ("README.md line 2",)}),
        ("7.2B", {}),
        ("7.20B", {}),  # printed to another precision
    ]


def test_lines_of_peft_with_different_totals_stay_apart() -> None:
    card = "".join(f"trainable params: 8 || all params: {total} || trainable%: 1.0\n\n" for total in (100, 200, 100))
    claims = claims_of(Described(model="someone/wren", where="hub", card=card))
    assert [claim.details["all_params"] for claim in claims] == [100, 200]


@pytest.mark.parametrize("where", ["card", "folder", "hub", "row"])
def test_names_count_where_somebody_gave_them(where: Any) -> None:
    assert len(claims_of(Described(model="someone/Wren-7B", where=where))) == 1


def test_the_name_of_a_file_claims_nothing() -> None:
    assert claims_of(Described(model="wren-7b.safetensors", where="file")) == ()


def test_the_name_of_an_adapter_is_about_its_base() -> None:
    (claim,) = claims_of(Described(model="someone/alpaca-lora-7b", where="hub", adapter_config={"peft_type": "LORA"}))
    assert claim.details == {"of": "base model"}


@pytest.mark.parametrize("value", [None, True, "7", [7], -1, 1.5, float("nan"), float("inf"), {}])
def test_an_index_that_says_nonsense_claims_nothing(value: Any) -> None:
    described = Described(model="wren", where="hub", checkpoint=checkpoint({"total_parameters": value}))
    assert claims_of(described) == ()


# --- Texts that nobody meant well ---

_WORDS = st.sampled_from(
    [
        *("7B", "1.3 billion", "124,439,808", "parameters", "params:", "Parameters: 7B", "This model has", "Wren-7B"),
        *(
            "Llama 2",
            "and",
            "with",
            "total",
            "activated",
            "of which",
            "12-layer,",
            "参数量：",
            "1-1-1",
            "é",
            "…",
            "：",
        ),
        *("|", "|---|", "\n", "\n\n", "```", "~~~", "<!--", "-->", "<table>", "</table>", "[x](", ")", "![", "**"),
        *("---", "(", "~", "> ", "# ", "- ", "\\(", "\t", "\x00", "<a ", "&amp;", "\r"),
        "trainable params: 1 || all params: 2 || trainable%: 50.0",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(_WORDS, max_size=80).map(" ".join)))
def test_any_text_is_read(card: str) -> None:
    lines = card.split("\n")
    claims = claims_in_text(card, "someone/Wren-7B")
    assert len(claims) <= MAX_CLAIMS
    numbers = [int(claim.source.removeprefix("README.md line ")) for claim in claims]
    assert numbers == sorted(numbers)
    for claim, number in zip(claims, numbers, strict=True):
        digits = claim.claim.split()[0].lstrip("~≈").rstrip("BbMmKkTt")
        assert digits in lines[number - 1], f"{claim.claim!r} is not in line {number}: {lines[number - 1]!r}"
        if claim.kind != "trainable (PEFT printed)":
            assert parse_figure(claim.claim).value == (claim.value or claim.approx)


@given(st.integers(0, 30), st.integers(0, 5))
def test_front_matter_is_not_read_but_counted(yaml_lines: int, blank: int) -> None:
    front = "---\n" + "Parameters: 9B\n" * yaml_lines + "---\n" + "\n" * blank
    (claim,) = claims_in_text(f"{front}- Parameters: 7B", "someone/Wren-7B")
    assert (claim.claim, claim.source) == ("7B", f"README.md line {yaml_lines + blank + 3}")


def test_windows_line_ends() -> None:
    (claim,) = claims_in_text("---\r\nx: 1\r\n---\r\n\r\n- Parameters: 7B\r\n", "someone/Wren-7B")
    assert claim.source == "README.md line 5"


def test_limits() -> None:
    assert len(claims_in_text("- Parameters: 7B\n" * 1000, "x")) == MAX_CLAIMS
    assert claims_in_text(f"{'x' * MAX_LINE}\n\nThis model has 7B parameters.", "x") != ()
    assert claims_in_text(f"{' ' * MAX_LINE}This model has 7B parameters.", "x") == ()
    assert claims_in_text("\n" + " " * MAX_CARD + "\n- Parameters: 7B", "x") == ()


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "1-",
            "1,",
            "7B ",
            "7B parameters, ",
            "a A1 ",
            "the x ",
            "(",
            "[",
            "![",
            "<a ",
            "<!--",
            "|",
            "*",
            "- ",
            "x: ",
        ),
        *(
            "7B total total ",
            "1-1 1-1",
            "a, an ",
            "not ",
            "trainable params: 1 || ",
            "Parameters: 7B, ",
            "~ ",
            "0.",
            ":",
        ),
    ],
)
def test_repetition_comes_to_an_end(unit: str) -> None:
    """A pattern that backtracks over any of these would not return within anybody's patience."""
    assert len(claims_in_text(unit * (100_000 // len(unit)), "someone/Wren-7B")) <= MAX_CLAIMS


# --- Adapters ---

CONFIG = {
    "alpha_pattern": {},
    "base_model_name_or_path": "openai-community/gpt2",
    "bias": "none",
    "fan_in_fan_out": True,
    "inference_mode": True,
    "init_lora_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 8,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["c_attn"],
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
}


def test_a_plain_adapter() -> None:
    adapter = claims_of_adapter(CONFIG)
    assert (adapter.base_model, adapter.base_revision, adapter.peft_type) == ("openai-community/gpt2", None, "LORA")
    assert adapter.not_understood == ()
    options = adapter.options()
    assert (options.r, options.targets, options.modules_to_save) == (8, ("c_attn",), ())
    assert adapter.claim.claim == "LORA: r=8, bias=none, targets=c_attn"


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"layers_to_transform": [0, 1]}, ("layers_to_transform",)),
        ({"exclude_modules": ["lm_head"], "lora_bias": True}, ("exclude_modules", "lora_bias")),
        ({"target_modules": r".*\.c_attn"}, ("target_modules",)),
        ({"target_modules": "all-linear"}, ()),
        ({"trainable_token_indices": [1]}, ("trainable_token_indices",)),
        ({"layer_replication": [[0, 4], [2, 5]]}, ("layer_replication",)),
        ({"a_field_of_tomorrow": 1}, ("a_field_of_tomorrow",)),
        ({"a_field_of_tomorrow": None}, ()),
    ],
)
def test_what_lora_options_do_not_have(changes: dict[str, Any], fields: tuple[str, ...]) -> None:
    assert claims_of_adapter({**CONFIG, **changes}).not_understood == fields


@pytest.mark.parametrize("r", [None, 0, "8", [], {"x": 1}, True])
def test_a_rank_that_is_none_is_refused_when_it_is_used(r: Any) -> None:
    adapter = claims_of_adapter({**CONFIG, "r": r})
    with pytest.raises(BadInput, match="LoRA r"):
        adapter.options()


def test_another_method_has_no_lora_settings() -> None:
    adapter = claims_of_adapter({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 30})
    assert (adapter.peft_type, adapter.settings, adapter.claim.claim) == ("PREFIX_TUNING", {}, "PREFIX_TUNING")


_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=2)


@given(st.dictionaries(st.sampled_from([*CONFIG, "layers_to_transform", "x"]), _VALUES, max_size=6))
def test_any_config_is_read(config: dict[str, Any]) -> None:
    adapter = claims_of_adapter({**config, "peft_type": "LORA"})
    assert adapter.claim.kind == "trainable (adapter_config.json)"


@pytest.mark.parametrize("use_dora", [False, True])
def test_against_what_peft_saves(tmp_path: Path, use_dora: bool) -> None:
    """PEFT's own adapter of a small GPT-2: its config gives its options back, its file the rank of each module."""
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    from safetensors import safe_open

    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=64, n_positions=16)
    lora = peft.LoraConfig(
        r=4,
        target_modules=["c_attn", "c_proj"],
        rank_pattern={"c_proj": 2},
        modules_to_save=["wpe"],
        use_dora=use_dora,
        task_type="CAUSAL_LM",
        fan_in_fan_out=True,
    )
    model = peft.get_peft_model(transformers.GPT2LMHeadModel(config), lora)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    with safe_open(tmp_path / "adapter_model.safetensors", "np") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    tensors = tuple(StoredTensor(name, "F32", shape, 4) for name, shape in shapes.items())
    adapter = claims_of_adapter(
        json.loads((tmp_path / "adapter_config.json").read_text()), checkpoint(tensors=tensors)
    )

    options = adapter.options()
    assert adapter.not_understood == ()
    assert (options.r, set(options.targets), options.use_dora) == (4, {"c_attn", "c_proj"}, use_dora)
    assert (options.modules_to_save, options.rank_pattern) == (("wpe",), {"c_proj": 2})
    trainable, _ = model.get_nb_trainable_parameters()
    assert adapter.stored == adapter.claim.value == trainable
    ranks = {f"transformer.h.{layer}.{name}": rank for layer in (0, 1)
             for name, rank in (("attn.c_attn", 4), ("attn.c_proj", 2), ("mlp.c_proj", 2))}  # fmt: skip
    assert adapter.ranks == ranks
    assert sum(adapter.saved.values()) == 16 * 32
