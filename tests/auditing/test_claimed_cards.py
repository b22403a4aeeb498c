"""What model cards claim in their text, on cards of the kinds that there are, with the claims found by reading them.

The cards are made up, in the manner of the real ones; the expected claims were written down before the program read
them.
"""

from __future__ import annotations

import pytest

from hfcount.auditing.claimed import claims_in_text

# model, card, the claims: (line, figure, kind)
CARDS: dict[str, tuple[str, str, list[tuple[int, str, str]]]] = {
    "a Qwen2.5 card": (
        "Qwen/Qwen2.5-7B-Instruct",
        """---
license: apache-2.0
base_model: Qwen/Qwen2.5-7B
---

# Qwen2.5-7B-Instruct

Qwen2.5 is our newest series. We release models with 0.5 to 72 billion parameters and long contexts up to 128K tokens.

**This repo contains the instruction-tuned 7B model**, which has:
- Type: Causal Language Models
- Number of Parameters: 7.61B
- Number of Paramaters (Non-Embedding): 6.53B
- Number of Layers: 28
- Number of Attention Heads (GQA): 28 for Q and 4 for KV
- Context Length: Full 131,072 tokens and generation 8192 tokens
""",
        [(12, "7.61B", "total"), (13, "6.53B", "non-embedding")],
    ),
    "a mixture of experts in Qwen's manner": (
        "Qwen/Qwen3-235B-A22B",
        """# Qwen3-235B-A22B
- Number of Parameters: 235B in total and 22B activated
- Number of Paramaters (Non-Embedding): 234B
- Number of Experts: 128
- Number of Activated Experts: 8
""",
        [(2, "235B", "total"), (2, "22B", "active"), (3, "234B", "non-embedding")],
    ),
    "a Llama-3 card in two sizes": (
        "meta-llama/Meta-Llama-3-8B",
        """Meta built the Llama 3 family of large language models in 8B and 70B sizes.

**Variations** Llama 3 comes in two sizes, 8B and 70B parameters, pre-trained and instruction tuned.

<table>
<tr><td></td><td>Training data</td><td>Params</td></tr>
<tr><td>Llama 3</td><td>public data</td><td>8B</td></tr>
<tr><td></td><td></td><td>70B</td></tr>
</table>

Token counts refer to pretraining data only. It was trained on 15 trillion tokens and 7.7M GPU hours.
""",
        [],
    ),
    "a Mixtral card": (
        "mistralai/Mixtral-8x7B-v0.1",
        """Mixtral is a sparse mixture of experts. It outperforms Llama 2 70B on most benchmarks.

Mixtral has 46.7B total parameters but only uses 12.9B parameters per token, so it runs at the cost of a 12.9B model.
""",
        [(3, "46.7B", "total"), (3, "12.9B", "active")],
    ),
    "a DeepSeek card with two tables": (
        "deepseek-ai/DeepSeek-V3",
        """We present DeepSeek-V3, a strong MoE model with 671B total parameters with 37B activated for each token.
It is trained on 14.8 trillion tokens.

| **Model** | **#Total Params** | **#Activated Params** | **Context Length** |
| :---: | :---: | :---: | :---: |
| DeepSeek-V3-Base | 671B | 37B | 128K |
| DeepSeek-V3 | 671B | 37B | 128K |

The total size on the Hub is 685B, with the 14B of the MTP module.

| | Benchmark | # Shots | DeepSeek-V2 | Qwen2.5 72B | LLaMA3.1 405B | DeepSeek-V3 |
|---|---|---|---|---|---|---|
| | Architecture | - | MoE | Dense | Dense | MoE |
| | # Activated Params | - | 21B | 72B | 405B | 37B |
| | # Total Params | - | 236B | 72B | 405B | 671B |
""",
        [
            (1, "671B", "total"),
            (1, "37B", "active"),
            (7, "671B", "total"),
            (7, "37B", "active"),
            (14, "37B", "active"),
            (15, "671B", "total"),
        ],
    ),
    "a GPT-2 card": (
        "openai-community/gpt2",
        """# GPT-2

This is the **smallest** version of GPT-2, with 124M parameters.

**Related Models:** [GPT-2 Large](https://huggingface.co/openai-community/gpt2-large) has 774M parameters and
[GPT-2 XL](https://huggingface.co/openai-community/gpt2-xl) 1.5B parameters.

The texts come from 40GB of pages; the vocabulary has 50,257 entries and inputs are 1024 tokens.
""",
        [(3, "124M", "total")],
    ),
    "its distilled student": (
        "distilbert/distilgpt2",
        """DistilGPT2 is a model that was trained under the supervision of the 124 million parameter version of GPT-2.
DistilGPT2, which has 82 million parameters, is smaller. For comparison, GPT-2 has 124 million parameters.
""",
        [(2, "82 million", "total")],
    ),
    "an OPT card that quotes its paper": (
        "facebook/opt-1.3b",
        """To quote the paper:

> We present OPT, a suite of decoder-only transformers ranging from 125M to 175B parameters. OPT-175B is comparable to
> GPT-3 with 175B parameters.

The 175B model was trained on 992 GPUs; the data has 180B tokens.
""",
        [],
    ),
    "a Pythia card with two tables of the family": (
        "EleutherAI/pythia-1.4b-deduped",
        """The suite has models of sizes 70M, 1B, 1.4B and 12B.

| Pythia model | Non-Embedding Params | Layers | Batch Size | Equivalent Models |
| -----------: | -------------------: | :----: | :--------: | :---------------: |
| 70M | 18,915,328 | 6 | 2M | - |
| 1.0B | 805,736,448 | 16 | 2M | - |
| 1.4B | 1,208,602,624 | 24 | 2M | GPT-Neo 1.3B, OPT-1.3B |

Previously, the models of size 160M, 410M, and 1.4B parameters had batches of 4M tokens, and
all models of size 2.8B parameters or smaller another schedule.

| current suffix | old suffix | total params | non-embedding params |
| -------------: | ---------: | -----------: | -------------------: |
| 1B | 800M | 1,011,781,632 | 805,736,448 |
| 1.4B | 1.3B | 1,414,647,808 | 1,208,602,624 |
""",
        [
            (7, "1,208,602,624", "non-embedding"),
            (15, "1,414,647,808", "total"),
            (15, "1,208,602,624", "non-embedding"),
        ],
    ),
    "a Falcon card": (
        "tiiuae/falcon-7b",
        """**Falcon-7B is a 7B parameters causal decoder-only model built by [TII](https://x), trained on 1,500B
tokens.** Looking for something larger? [Falcon-40B](https://x) is its big brother with 40B parameters!
""",
        [(1, "7B", "total")],
    ),
    "a Gemma card that compares": (
        "google/gemma-2-9b-it",
        """Gemma is a family of lightweight open models.

## Evaluation
Gemma 2 9B has fewer parameters than Llama 2 70B, a model with 70B parameters, and beats it.

| Benchmark | Gemma PT 9B | Gemma PT 27B |
|---|---|---|
| MMLU | 71.3 | 75.2 |
""",
        [],
    ),
    "a Phi card": (
        "microsoft/Phi-3-mini-4k-instruct",
        """The Phi-3-Mini-4K-Instruct is a 3.8B parameters, lightweight, state-of-the-art open model. Among models with
less than 13 billion parameters it does well. It was trained on 3.3T tokens in a context of 4k.
* Architecture: Phi-3 Mini has 3.8B parameters and is a dense decoder-only Transformer model.
""",
        [(1, "3.8B", "total"), (3, "3.8B", "total")],
    ),
    "a BLOOM card": (
        "bigscience/bloom",
        """* Modified from Megatron-LM GPT2
* 176,247,271,424 parameters:

    * 3,596,615,680 embedding parameters

    * 70 layers, 112 attention heads
    * Sequence length of 2048 tokens used
""",
        [(2, "176,247,271,424", "total"), (4, "3,596,615,680", "embedding")],
    ),
    "an OLMo card without a figure of its own": (
        "allenai/OLMo-1B-hf",
        """| Size | Training Tokens | Layers | Hidden Size |
|------|--------|---------|-------------|
| OLMo 1B | 3 Trillion | 16 | 2048 |
| OLMo 7B | 2.5 Trillion | 32 | 4096 |

AdamW optimizer parameters are shown below; the batch size is ~4M tokens.
""",
        [],
    ),
    "a SmolLM card": (
        "HuggingFaceTB/SmolLM2-135M",
        """SmolLM2 is a family of compact models in three sizes: 135M, 360M, and 1.7B parameters.

- **Parameters:** 135M
- **Training tokens:** 2T
- **Precision:** bfloat16
""",
        [(3, "135M", "total")],
    ),
    "an adapter from Trainer and PEFT": (
        "someone/gpt2-lora-poems",
        """---
base_model: openai-community/gpt2
library_name: peft
---
# gpt2-lora-poems

This model is a fine-tuned version of [openai-community/gpt2](https://x), a 124M parameters model, on a dataset.

```
>>> model.print_trainable_parameters()
trainable params: 294,912 || all params: 124,734,720 || trainable%: 0.2364
```

The following hyperparameters were used: learning_rate: 0.0002, train_batch_size: 8
""",
        [
            (
                11,
                "trainable params: 294,912 || all params: 124,734,720 || trainable%: 0.2364",
                "trainable (PEFT printed)",
            )
        ],
    ),
    "a GGUF requant with sizes of files": (
        "someone/Llama-2-7B-GGUF",
        """| Name | Quant method | Bits | Size | Max RAM required |
| ---- | ---- | ---- | ---- | ---- |
| llama-2-7b.Q2_K.gguf | Q2_K | 2 | 2.83 GB | 5.33 GB |
| llama-2-7b.Q4_K_M.gguf | Q4_K_M | 4 | 4.08 GB | 6.58 GB |

Llama 2 is a collection of generative text models ranging in scale from 7 billion to 70 billion parameters. This is the
repository for the 7B model. Model size: 500M
""",
        [],
    ),
    "a GPTQ requant that repeats the original": (
        "someone/Mistral-7B-Instruct-v0.2-GPTQ",
        """- Original model: [Mistral 7B Instruct](https://x) (7.24B parameters)
- Bits: 4, group size 128
- Model size: 7B params
- Base model parameters: 7.24B
""",
        [(3, "7B", "total")],
    ),
    "a vision-language model": (
        "someone/SeeWell-8B",
        """SeeWell-8B has 8.3B parameters. It joins a 400M-parameter SigLIP vision encoder to a language model
with 7.6B parameters through a projector with 25M parameters.

| Component | Parameters |
|---|---|
| Vision encoder | 412M |
| Projector | 25M |

- Vision encoder parameters: 412,442,352
- It has seen 400M image-text pairs.
""",
        [(1, "8.3B", "total"), (9, "412,442,352", "vision encoder")],
    ),
    "a Whisper card with the family's sizes": (
        "openai/whisper-large-v3",
        """Whisper was trained on 5M hours of audio. Checkpoints come in five sizes:

| Size | Parameters | English-only | Multilingual |
|---|---|---|---|
| tiny | 39 M | yes | yes |
| large | 1550 M | x | yes |
| large-v3 | 1550 M | x | yes |
""",
        [(7, "1550 M", "total")],
    ),
    "a fine-tune of Whisper, whose table has no row for it": (
        "someone/whisper-large-v3-turbo",
        """| Size | Parameters |
|---|---|
| large | 1550 M |
| large-v3 | 1550 M |
""",
        [],
    ),
    "a merge": (
        "someone/Wonder-13B-slerp",
        """Wonder-13B-slerp is a merge of two 7B parameter models, in the manner of a 13B parameter LLaMA.

```yaml
models:
  - model: a/b
    parameters:
      weight: 0.5
parameters: 13B
```
Number of parameters: see the originals.
""",
        [],
    ),
    "a card in Chinese": (
        "某人/模型-7B",
        """# 模型介绍
- 参数量：7B
- 激活参数量：1.3B
- 非嵌入参数量：6.5B
- 上下文长度：32K
- 训练数据：2T tokens
""",
        [(2, "7B", "total"), (3, "1.3B", "active"), (4, "6.5B", "non-embedding")],
    ),
    "a card of badges": (
        "someone/badge-1.3B",
        """<p align="center"><img src="https://img.shields.io/badge/Params-1.3B-green"></p>

[![Model size](https://img.shields.io/badge/Params-1.3B-green)](#arch)|[![Language](https://x/en-US)](#data)
<!-- This model has 9B parameters. -->
""",
        [],
    ),
    "a table of hyperparameters": (
        "EleutherAI/gpt-j-6b",
        """| Hyperparameter | Value |
|---|---|
| \\\\(n_{parameters}\\\\) | 6053381344 |
| \\\\(n_{layers}\\\\) | 28&ast; |
| \\\\(n_{vocab}\\\\) | 50257/50400&dagger; |
""",
        [(3, "6053381344", "total")],
    ),
    "a table of one model that has no name": (
        "stabilityai/stablelm-2-1_6b",
        """| Parameters | Hidden Size | Layers | Heads | Sequence Length |
|----------------|-------------|--------|-------|-----------------|
| 1,644,417,024 | 2048 | 24 | 32 | 4096 |
""",
        [(3, "1,644,417,024", "total")],
    ),
    "a table in millions": (
        "someone/tinynet-s",
        """| Model | Params (M) | FLOPs (G) | Top-1 |
|---|---|---|---|
| tinynet-xs | 1.9 | 0.2 | 61.0 |
| **tinynet-s (ours)** | 5.3 | 0.6 | 71.2 |
""",
        [(4, "5.3M", "total")],
    ),
    "an adapter described in words": (
        "someone/poet-lora",
        """- Base model: Llama 2 7B (7B parameters)
- Method: LoRA, r=8
- Trainable parameters: 4,194,304 (LoRA)
- The adapter was distilled from a 70B parameter teacher.
""",
        [(3, "4,194,304", "trainable (LoRA)")],
    ),
}


def found(model: str, card: str) -> list[tuple[int, str, str]]:
    claims = claims_in_text(card, model)
    return [(int(claim.source.removeprefix("README.md line ")), claim.claim, claim.kind) for claim in claims]


@pytest.mark.parametrize("name", CARDS)
def test_what_a_card_claims(name: str) -> None:
    model, card, claims = CARDS[name]
    assert found(model, card) == claims


# A sentence about something else must give nothing, for a model called someone/Wren-7B.
@pytest.mark.parametrize(
    "sentence",
    [
        "Wren-7B outperforms Llama 2 13B, which has 13B parameters.",
        "Compared with the 175B parameters of GPT-3, Wren-7B is small.",
        "Wren-7B was distilled from a teacher with 70B parameters.",
        "This model is competitive with 34B parameter models.",
        "Wren-7B was trained on 2 trillion tokens.",
        "It was trained on 400M image-text pairs with a batch size of 4M tokens.",
        "This model has a vocabulary of 50k entries and a context of 8k.",
        "The model comes in different sizes: 7B, 13B, 33B and 65B parameters.",
        "This model belongs to a family that ranges from 1B to 70B parameters.",
        "This model has over 6 billion parameters.",
        "This model has less than 8B parameters.",
        "This model needs as much memory as 14B parameters in 4 bit.",
        "This model has 7 parameters to set.",
        "The answer model has 2B parameters.",
        "This model also comes in a 34B parameter version: [Wren-34B](https://x).",
        "Our songbird10 model has 35.7 million parameters, and our owl20 models have 114 million parameters.",
        "We show how to fine-tune a pre-trained Wren-7B (7.3B parameters) on a private text.",
        "The base model has 8B parameters.",
        "Our reward model has 13B parameters.",
        "GPT-3 (175B parameters) wrote the data.",
        "An instruct-tuned Llama 3.2 (1B parameters) sorts them.",
        "- [Wren-13B](https://x): 13B parameters",
        "- Falcon-40B: 40B parameters",
        "- A 10M-parameter model will babble.",
        "- Sampling parameters: 1,000,000",
        "- Optimizer: 8-bit Adam with 7B parameters offloaded",
        "- Downloads: 124,439,808",
        "- Model size: 374 MB",
        "- Model size: 500M",
        "- Parameters: 1B to 7B",
        "- Parameters: 7B / 13B / 70B",
        "- Parameters: 350 MB",
        "- Parameters: `temperature`, `top_p`",
        "> This model has 7B parameters.",
        "`pip install x`\n\n    ```\n    # this model has 7B parameters\n    ```",
        "## Citation\nThis model has 7B parameters.",
    ],
)
def test_a_sentence_about_something_else(sentence: str) -> None:
    assert found("someone/Wren-7B", sentence) == []


@pytest.mark.parametrize(
    ("text", "figure", "kind"),
    [
        ("This model has 7.3 billion parameters.", "7.3 billion", "total"),
        ("Wren-7B is a 7.3B parameter model.", "7.3B", "total"),
        ("Wren 7B has 7,248,023,552 parameters.", "7,248,023,552", "total"),
        ("This is a 7-billion-parameter model.", "7 billion", "total"),
        ("It has about 7B parameters.", "7B", "total"),
        ("The model has a parameter count of 7.3B.", "7.3B", "total"),
        ("In Wren-7B the number of parameters is 7.3B.", "7.3B", "total"),
        ("Wren-7B models are 7.3B parameter models.", "7.3B", "total"),
        ("This model has 6.5B non-embedding parameters.", "6.5B", "non-embedding"),
        ("This model has 4.2M trainable parameters.", "4.2M", "trainable"),
        ("- 7.3B parameters, 32 layers", "7.3B", "total"),
        ("- **Model type**: A 7.3B parameter GPT-like model", "7.3B", "total"),
        ("- n_params: 7248023552", "7248023552", "total"),
        ("Parameters = 7.3B", "7.3B", "total"),
        ("**Total Parameters**: ~7.3B", "~7.3B", "total"),
        ("- Model Size: 7.3B", "7.3B", "total"),
        ("- Nombre de paramètres : 7.3B", "7.3B", "total"),
    ],
)
def test_the_ways_to_say_it(text: str, figure: str, kind: str) -> None:
    assert [(claim, said) for _, claim, said in found("someone/Wren-7B", text)] == [(figure, kind)]


@pytest.mark.parametrize(
    ("model", "sentence", "own"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen has 7.6B parameters.", False),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "DeepSeek-R1 has 671B parameters.", False),
        ("meta-llama/Meta-Llama-3-8B", "Llama 3 has 8.03B parameters.", True),
        ("meta-llama/Llama-2-7b-hf", "Llama 2 13B has 13B parameters.", False),
        ("mistralai/Mistral-Large-Instruct-2407", "Mistral Small has 22B parameters.", False),
        ("mistralai/Mistral-Nemo-Base-2407", "Mistral Nemo is a model of 12B parameters.", True),
        ("google/gemma-2-9b-it", "Gemma 2 9B has 9.24B parameters.", True),
        ("openai-community/gpt2", "GPT-2 Large has 774M parameters.", False),
        ("microsoft/phi-1_5", "Phi-1.5 has 1.3 billion parameters.", True),
    ],
)
def test_whose_name_it_is(model: str, sentence: str, own: bool) -> None:
    assert bool(found(model, sentence)) == own


def test_what_a_claim_holds() -> None:
    exact, rounded, rough = claims_in_text(
        "- Parameters: 124,439,808\n- Parameters: 124M\n- Parameters: about 124M\n", "openai-community/gpt2"
    )
    assert (exact.value, exact.approx, exact.details) == (124_439_808, None, {})
    assert (rounded.value, rounded.approx, rounded.details) == (None, 124e6, {})
    assert rough.details == {"approximate": True}


def test_what_peft_printed() -> None:
    line = "trainable params: 1,474,560 || all params: 560,689,152 || trainable%: 0.26299064191632515"
    (claim,) = claims_in_text(line, "someone/adapter")
    assert (claim.claim, claim.value) == (line, 1_474_560)
    assert claim.details == {"all_params": 560_689_152, "trainable_pct": 0.26299064191632515}


def test_words_that_wrap_keep_the_line_of_their_figure() -> None:
    card = "---\ntitle: x\n---\n\nWren-7B is a model\nwith a total of\n7.3B\nparameters."
    assert found("someone/Wren-7B", card) == [(7, "7.3B", "total")]
