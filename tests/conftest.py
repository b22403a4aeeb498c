"""What all tests share: no network, no user's cache, one thread a worker."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Set before anything imports huggingface_hub, which reads them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HFCOUNT_CACHE"] = tempfile.mkdtemp(prefix="hfcount-tests-")  # no form of a test is left to the user

import hypothesis
import pytest
from outside import noted

hypothesis.settings.register_profile("hfcount", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("hfcount")
gc.set_threshold(50_000, 20, 20)  # as `hfcount` itself: a worker holds millions of objects that stay

# Tests whose expectation is a fact about the versions in constraints.txt, with the reason; not in `make lowest`.
PINNED = {
    "test_registry.py::test_none_where_layers_differ": "transformers 5.10 has no config with layers of their own",
    "test_overrides.py::test_what_is_refused[gpt2-architectures=Trainer": "5.10 takes no bare name as architectures",
    "test_architectures_that_are_left_open_or_one_name['GPT2LMHeadModel']": "the same",
    "test_bad_input.py::test_other_fields[gpt2-changes10-items]": "5.10 checks the type of id2label itself",
    "test_no_published_config_trips_over_a_check": "5.10 has no deepseek_v32",
    "test_transformers_reads_the_config[deepseek-ai/DeepSeek-V3.2]": "the same",
    "test_no_default_config_of_transformers_trips_over_a_check": "5.10 cannot read back its own dbrx default",
    "test_a_static_cache_fits": "5.10's static cache wants positions of another kind",
    "test_mixtures_whose_experts_all_linear_does_not_reach[GraniteMoeForCausalLM]": "5.10 has the router as a Linear",
    "test_what_matches_nothing_in_gpt2[fields0-": "PEFT 0.20 says it in other words",
    "test_no_figures_but_a_reason_where_peft_has_no_targets": "PEFT 0.20 says it in other words",
    "tests/fast/": "the packaged forms are of the transformers and PEFT in constraints.txt",
    "test_families_against_traces.py": "the same",
    "test_formula_command.py": "the same",
    "test_frames.py": "the same",
    "test_solve": "the same",
    "test_the_cache_of_a_real_forward_pass[deepseek": "5.10 caches the keys and values of all heads",
    "test_equals_what_autograd_keeps[mixtral-": "PEFT 0.20 adds adapters to fused experts in another way",
    "test_equals_what_autograd_keeps_of_checkpointed_layers[mixtral-": "the same",
    "test_families[minimax-m2-": "the same",
    "test_families[olmoe-": "the same",
    "test_families[qwen3-moe": "the same",
    "test_published_memory.py": "published figures are held with the versions of constraints.txt",
    "test_every_suffix_of_an_output[card": "the packaged forms are of the versions in constraints.txt",
    "test_build_records.py": "the packaged records are of the versions in constraints.txt",
    "test_every_bucket_to_the_byte": "what layers keep is of the versions in constraints.txt, else an estimate",
    "test_an_adapter_on_fused_experts_makes_a_copy_of_them": "PEFT 0.20 adds adapters to fused experts in another way",
    "test_llama_7b_is_what_the_prototype_traced": "5.10's Llama keeps rotary tables in another way",
    "test_the_same_as_the_real_step[speech-canary": "5.10 has no Canary of these sizes",
    "test_simulate_command.py::test_the_document": "5.10's Llama keeps rotary tables in another way",
    "test_simulate_command.py::test_on_the_cpu": "5.10's Llama keeps rotary tables in another way",
    "test_simulate_command.py::test_checkpointing_says": "what layers keep is an estimate there",
    "test_only_versions_differ_and_nothing_is_written": "the packaged forms are of the versions in constraints.txt",
    "test_what_cannot_be_attached_is_said": "PEFT 0.20 has no SHADOW",
    "test_app_answers.py": "the packaged forms are of the transformers and PEFT in constraints.txt",
    "test_the_form_of_activations_is_set_equal": "what layers keep is an estimate there",
    "no module has such a name]": "PEFT 0.20 says it in other words",
    "test_published_names_of_vision_attention_are_gone": "PEFT 0.20 says it in other words",
}


@pytest.fixture(autouse=True)
def no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are of the steps themselves: neither the package nor an earlier test has anything on record.

    A test that names a cache of its own has its records there.
    """
    shared = os.environ["HFCOUNT_CACHE"]
    own = Path(shared) / f"test-{next(_NUMBERS)}"

    def root() -> Path:
        named = os.environ["HFCOUNT_CACHE"]
        return own if named == shared else Path(named)

    monkeypatch.setattr("hfcount.records.PACKAGED", own / "none")
    monkeypatch.setattr("hfcount.records.cache_root", root)


_NUMBERS = itertools.count()


@pytest.fixture
def nothing_outside() -> Iterator[None]:
    """Fails the test if its thread opens a file, a connection or a pickle that is none of the program's own."""
    with noted() as events:
        yield
    assert events == []


def load_script(name: str) -> ModuleType:
    """The module scripts/NAME.py, which is no package."""
    path = Path(__file__).resolve().parent.parent / "scripts" / f"{name}.py"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # scripts import each other
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests above as pinned."""
    for item in items:
        if any(name in item.nodeid for name in PINNED):
            item.add_marker(pytest.mark.pinned)
