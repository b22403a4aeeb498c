"""Published figures and the model as built, reconciled to the unit: each with the sources of both."""

from __future__ import annotations

import functools
import random

import pytest

from hfcount.api import Count, count, explain
from hfcount.conventions import Convention
from hfcount.conventions.known import vocabularies_of_the_gpt2_paper


@functools.cache
def counted(model: str) -> Count:
    return count(model)


def given(model: str, name: str) -> Convention:
    found = [each for each in counted(model).conventions if each.name == name]
    assert found, f"{model} has no convention {name!r}: {[each.name for each in counted(model).conventions]}"
    return found[0]


# (model, convention, its count, basis, where the figure is from)
RECONCILED = [
    ("gpt2", "as built", 124_439_808, "arithmetic", "openai/gpt-2 model_card.md: 124 million"),
    ("gpt2", "LM head counted again", 163_037_184, "arithmetic", "accelerate's default empty initialisation"),
    ("gpt2", "non-embedding", 85_056_000, "arithmetic", "Pythia-160m's non-embedding: 85,056,000"),
    ("gpt2", "without position embeddings", 123_653_376, "arithmetic", "nanoGPT: number of parameters: 123.65M"),
    ("gpt2", "without biases", 124_337_664, "arithmetic", "nanoGPT transformer_sizing.ipynb: 124337664"),
    ("gpt2", "with stored causal masks", 137_022_720, "documented", "the Hub's sidebar: 137M"),
    ("gpt2", "with GPT-1's vocabulary", 116_929_536, "inference", "Radford et al. 2019, table 2: 117M"),
    ("gpt2-medium", "with GPT-1's vocabulary", 344_809_472, "inference", "Radford et al. 2019, table 2: 345M"),
    ("gpt2-large", "with GPT-1's vocabulary", 761_512_960, "inference", "Radford et al. 2019, table 2: 762M"),
    ("gpt2-xl", "with GPT-1's vocabulary", 1_541_964_800, "inference", "Radford et al. 2019, table 2: 1542M"),
    ("openai-gpt", "as built", 116_534_784, "arithmetic", "karpathy/minGPT: ~117M"),
    ("gpt-j-6b", "with norms and biases replicated on 8 shards", 6_053_381_344, "documented", "GPT-J model card"),
    ("stablelm-base-alpha-3b", "with norms and biases replicated on 4 shards", 3_638_525_952, "inference",
     "Stability-AI/StableLM README"),
    ("stablelm-2-zephyr-1_6b", "without the biases of the layers' norms", 1_644_417_024, "inference",
     "StableLM 2 1.6B model card"),
    ("qwen2-7b", "one embedding matrix less", 7_070_619_136, "arithmetic", "Qwen2 table: 7.07B"),
    ("qwen2-7b", "three embedding matrices less", 5_980_624_384, "inference", "Qwen2 table: 5.98B non-embedding"),
    ("gemma-2b", "token embedding of 256,128 rows", 524_550_144, "documented", "arXiv:2403.08295, table 2"),
    ("gemma-7b", "token embedding of 256,128 rows", 786_825_216, "documented", "arXiv:2403.08295, table 2"),
    ("gemma-2-27b", "token embedding of 256,128 rows", 1_180_237_824, "documented", "arXiv:2408.00118, table 2"),
    ("phi-1_5", "one embedding matrix less", 1_313_413_120, "inference", "Phi-1.5: 1.3B"),
    ("gpt-oss-20b", "active, without the input embedding", 3_608_307_264, "arithmetic", "arXiv:2508.10925: 3.61B"),
    ("mixtral-8x7b", "active", 12_879_925_248, "arithmetic", "arXiv:2401.04088: 12.9B"),
    ("falcon-7b", "LM head counted again", 7_217_189_760, "arithmetic", "Falcon-7B's file, head stored separately"),
    ("opt-350m", "as built", 331_196_416, "arithmetic", "512-wide embeddings with projections: 331M"),
    ("flan-t5-base", "LM head counted again", 247_577_856, "arithmetic", "its published separate head"),
    ("olmo-2-0425-1b", "non-embedding", 1_073_874_944, "arithmetic", "OLMo 2 1B: 1.07B non-embedding"),
    ("llama-3.1-405b", "with 16 key-value heads stored", 410_081_247_232, "documented", "the first checkpoint"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "name", "parameters", "basis", "source"), RECONCILED)
def test_reconciled(model: str, name: str, parameters: int, basis: str, source: str) -> None:
    found = given(model, name)
    assert found.parameters == parameters, f"{found.parameters - parameters:+,} against {source}"
    assert found.basis == basis


@pytest.mark.parametrize(
    ("model", "difference", "derived"),
    [
        # Each of 28 layers has one norm (2d) and one output bias (d), and there is a final norm: 7 more copies; 8
        # embedding biases. d = 4,096.
        ("gpt-j-6b", 2_498_560, 7 * (28 * (2 * 4096 + 4096) + 2 * 4096) + 8 * 4096),
        # Each of 16 layers has two norms (4d) and two output biases (2d), and there is a final norm: 3 more copies.
        ("stablelm-base-alpha-3b", 1_204_224, 3 * (16 * (4 * 4096 + 2 * 4096) + 2 * 4096)),
    ],
)
def test_replication_is_derived(model: str, difference: int, derived: int) -> None:
    replicated = next(each for each in counted(model).conventions if "replicated" in each.name)
    assert derived == difference
    assert replicated.parameters - counted(model).sizes.total == difference


def test_deepseek_v3_on_the_hub() -> None:
    """685B is the file: the model, the prediction module with its copies, the FP8 block scales, the routers' biases.

    The module alone: attention (MLA) and norms, 257 experts of 3·7168·2048, a router of 256·7168, 2d² to join two
    streams and three norms of d; 11.5B in README_WEIGHTS.
    """
    d, experts, width = 7168, 257, 2048
    mla = d * 1536 + 1536 * 128 * 192 + d * (512 + 64) + 512 * 128 * 256 + 128 * 128 * d
    layer = mla + 1536 + 512 + 2 * d + experts * 3 * d * width + 256 * d
    module = layer + 2 * d * d + 3 * d
    assert given("deepseek-v3", "multi-token-prediction module alone").parameters == module
    stored = given("deepseek-v3", "with the multi-token-prediction module, as stored")
    fp32 = 41_555_600  # the Hub's safetensors metadata: block scales and the routers' biases, the file's fp32 tensors
    assert stored.parameters == 671_026_404_352 + module + 2 * 129_280 * d + fp32
    assert stored.parameters == 684_531_386_000, "the Hub's safetensors total"
    assert "685B" in stored.published


def test_the_vocabularies_that_fit_all_four_sizes_of_the_gpt2_paper() -> None:
    assert vocabularies_of_the_gpt2_paper() == (40_468, 40_812)


EXPLAINED = [
    ("gpt2", "124M", "as built"),
    ("gpt2", "117M", "with GPT-1's vocabulary"),
    ("gpt2", "137M", "with stored causal masks"),
    ("gpt2", "163M", "LM head counted again"),
    ("gpt2", "85M", "non-embedding"),
    ("gpt2-medium", "345M", "with GPT-1's vocabulary"),
    ("gpt2-large", "762M", "with GPT-1's vocabulary"),
    ("gpt2-xl", "1542M", "with GPT-1's vocabulary"),
    ("gpt2-xl", "1558M", "as built"),
    ("deepseek-v3", "685B", "with the multi-token-prediction module, as stored"),
    ("deepseek-v3", "671B", "as built"),
    ("gpt-oss-120b", "5.13B", "active, without the input embedding"),
    ("phi-1_5", "1.3B", "one embedding matrix less"),
    ("gemma-3-4b-pt", "417M", "vision encoder alone"),
]


@pytest.mark.parametrize(("model", "figure", "name"), EXPLAINED)
def test_explained(model: str, figure: str, name: str) -> None:
    _, explanation = explain(model, figure)
    assert explanation.explained
    assert name in [each.convention.name for each in explanation.matches]
    gives = next(each for each in explanation.matches if each.convention.name == name)
    assert gives.difference == gives.convention.parameters - explanation.figure.value


def test_117m_is_told_as_an_inference_and_not_as_the_tied_head() -> None:
    _, explanation = explain("gpt2", "117M")
    assert [each.convention.basis for each in explanation.matches] == ["inference"]
    head = next(each for each in explanation.misses if each.convention.name == "LM head counted again")
    assert head.difference == 163_037_184 - 117_000_000
    assert "no evidence" in explanation.inferences[0]


def test_a_vocabulary_that_would_fit_explains_nothing() -> None:
    _, explanation = explain("gpt2", "119M")
    assert not explanation.explained
    assert any("any vocabulary from" in each for each in explanation.inferences)


def test_digits_that_were_cut_off_are_told() -> None:
    """Qwen2.5-7B's card prints 7,615,616,512 as 7.61B."""
    _, explanation = explain("qwen2.5-7b", "7.61B")
    assert not explanation.explained
    assert any("7,615,616,512" in each and "cut off" in each for each in explanation.inferences)


@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_figures_stay_unexplained(seed: int) -> None:
    """1,000 figures drawn within a factor of two of the total, printed with 3 digits: 98 % find nothing."""
    from hfcount.conventions import parse_figure

    draw = random.Random(seed)
    models = ["gpt2", "llama-7b", "mixtral-8x7b", "bert-base", "t5-base"]
    explained = 0
    for _ in range(1_000):
        result = counted(draw.choice(models))
        drawn = result.sizes.total * 2 ** draw.uniform(-1, 1)
        unit, letter = (10**9, "B") if drawn >= 10**9 else (10**6, "M")
        decimals = max(0, 3 - len(str(int(drawn / unit))))
        figure = parse_figure(f"{drawn / unit:.{decimals}f}{letter}")
        explained += any(figure.holds(each.parameters) for each in result.conventions)
    assert explained <= 20, f"{explained} of 1,000 wrong figures were explained"


@pytest.mark.parametrize(
    "model", ["gpt2", "llama-7b", "mixtral-8x7b", "bert-base", "t5-base", "clip-vit-base-patch32"]
)
def test_every_derivation_and_note_is_there(model: str) -> None:
    conventions = counted(model).conventions
    assert conventions[0].name == "as built"
    assert len({each.name for each in conventions}) == len(conventions)
    for each in conventions:
        assert each.derivation
        assert each.note
        assert each.parameters > 0
