"""No config, however absurd, takes memory or minutes; and no published one trips over the limits."""

from __future__ import annotations

import gc
import json
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_configs import assert_one_line, build, card_config
from transformers import CONFIG_MAPPING, LlamaConfig, LlamaForCausalLM

from hfcount.configs import load_config
from hfcount.errors import BadInput, HfcountError
from hfcount.limits import BUILD_BYTES, MAX_PARAMETERS, check_sizes, check_total, guarded_build
from hfcount.skeleton import build_empty
from hfcount.sources.source import Source

FACTS = Path(__file__).parents[1] / "scripts" / "facts" / "configs.json"
PUBLISHED = json.loads(FACTS.read_text(encoding="utf-8"))


def check(config: dict[str, Any]) -> None:
    load_config(Source(model="lab/model", kind="folder", location="", config=config))


def test_no_published_config_trips_over_a_check() -> None:
    refused = {}
    for entry in PUBLISHED:
        try:
            check(entry["config"])
        except HfcountError as error:
            refused[entry["id"]] = str(error)
    assert refused == {}
    assert len(PUBLISHED) >= 167


def test_no_default_config_of_transformers_trips_over_a_check() -> None:
    """Among them are the sentinels: vision_feature_layer = -2, max_relative_positions = -1, head_dim = 0."""
    refused, seen = {}, 0
    for model_type in CONFIG_MAPPING:
        try:
            config = json.loads(json.dumps(CONFIG_MAPPING[model_type]().to_dict(), default=str))
        except Exception:  # a few classes refuse their own defaults
            continue
        seen += 1
        try:
            check(config)
        except HfcountError as error:
            refused[model_type] = str(error)
    assert refused == {}
    assert seen >= 0.95 * len(list(CONFIG_MAPPING))


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1,000,000,000 is absurd"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "text_config.num_hidden_layers = "),
        ({"a": {"b": {"encoder_layers": 10**9}}}, "a.b.encoder_layers"),
        ({"depths": [2, 2, 10**9, 2]}, "depths[2]"),
        ({"stages": [{"num_layers": 10**9}]}, "stages[0].num_layers"),
        ({"num_experts": 10**9}, "num_experts"),
        ({"vocab_size": 10**12}, "vocab_size = 1,000,000,000,000 is absurd"),
        ({"hidden_size": 10**400}, "hidden_size = 10^400 is absurd"),
        ({"hidden_size": -(10**40)}, "hidden_size = -10^40 is negative"),
        ({"num_labels": 10**9}, "num_labels"),
        ({"n_layer": -1}, "n_layer = -1 is negative"),
        ({"decoder_layers": -1}, "decoder_layers = -1 is negative"),
        ({"num_local_experts": -8}, "num_local_experts = -8 is negative"),
        ({"vocab_size": 0}, "vocab_size = 0"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_sizes_that_are_refused(config: dict[str, Any], parts: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_sizes(config, where="lab/model")
    text = assert_one_line(caught.value)
    assert text.startswith("lab/model: ")
    assert parts in text


@pytest.mark.parametrize(
    "config",
    [
        {"vision_feature_layer": -2, "vision_feature_layers": [-2, -5]},
        {"max_relative_positions": -1, "chunk_size": -1, "pad_token_id": -1, "sliding_window": -1},
        {"head_dim": 0, "type_vocab_size": 0, "num_shared_experts": 0, "q_lora_rank": 0},
        {"attention_layers": [0, 1, 2], "mtp_layers": [0]},
        {"num_hidden_layers": 0, "n_layer": 0, "decoder_layers": 0, "intermediate_size": 0},
        {"created": 1_700_000_000_000, "rope_theta": 10**15},
        {"use_cache": True, "vocab_size": None, "hidden_size": "768"},
        {"max_position_embeddings": 10_485_760},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_is_no_size_or_means_something_else(config: dict[str, Any]) -> None:
    check_sizes(config, where="lab/model")


def test_each_size_may_be_meant_but_not_the_whole() -> None:
    """64-bit sums would wrap silently: 10^9 wide is 1.3·10^20 parameters."""
    with pytest.raises(BadInput, match=r"[0-9,]{20,} parameters are absurd") as caught:
        build({**card_config("llama-7b"), "hidden_size": 32 * 10**8 // 4, "head_dim": 128})
    assert_one_line(caught.value)
    with pytest.raises(BadInput, match="parameters are absurd"):
        check_total(MAX_PARAMETERS + 1, where="lab/model")
    check_total(MAX_PARAMETERS, where="lab/model")


def guarded(work: Callable[[], object], seconds: float) -> object:
    with guarded_build("lab/model", seconds=seconds):
        return work()


@pytest.mark.parametrize(
    "table",
    [
        lambda: np.arange(10**9, dtype=np.float64),
        lambda: np.array([[p / 10_000 ** (2 * (j // 2) / 512) for j in range(512)] for p in range(10**9)]),
        lambda: torch.zeros(10**9, dtype=torch.float64),
        lambda: bytearray(3 * 1024**3),
    ],
    ids=["numpy", "lists-of-floats", "torch", "bytes"],
)
def test_memory_ends_in_one_line(table: Callable[[], object]) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(BadInput, match=r"lab/model: .*(asks for more than 2 GiB|took more than)") as caught:
        guarded(table, seconds=3)
    assert_one_line(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_memory_is_capped_in_a_thread_too() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with guarded_build("lab/model"):
                np.ones(10**9)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert [type(error) for error in errors] == [BadInput]


def test_what_fits_is_let_through() -> None:
    with guarded_build("lab/model"):
        assert np.zeros(BUILD_BYTES // 4, dtype=np.uint8).size == BUILD_BYTES // 4


def forever() -> None:
    while True:
        pass


def swallow_once() -> None:
    try:
        forever()
    except BadInput:
        forever()


@pytest.mark.parametrize("work", [forever, swallow_once])
def test_a_loop_without_an_end(work: Callable[[], None]) -> None:
    with pytest.raises(BadInput, match=r"took more than 0\.2 s; check its sizes, or give more with --timeout"):
        guarded(work, seconds=0.2)


def test_the_timer_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with guarded_build("lab/model", seconds=60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


class ComputesATable(LlamaForCausalLM):
    """A class that computes its positions in numpy, for real, as those of the first years do."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        positions = np.arange(config.max_position_embeddings)[:, None] / 10_000 ** (np.arange(64) / 64)
        self.register_buffer("table", torch.from_numpy(np.sin(positions)), persistent=False)


def test_a_class_that_computes_a_table_for_real() -> None:
    size = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    fits = LlamaConfig(max_position_embeddings=1000, **size, **heads)
    assert build_empty(ComputesATable, fits, where="lab/model") is not None
    absurd = LlamaConfig(max_position_embeddings=10**9, **size, **heads)
    with pytest.raises(BadInput, match="asks for more than 2 GiB"):
        build_empty(ComputesATable, absurd, where="lab/model")
    gc.collect()
