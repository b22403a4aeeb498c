"""Which family's closed form a model has, and the form itself.

To add a family: write its function in `families/` from its paper, its reader in `readers.py`, one `Family` here,
and its configs in the tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hfcount.formulas import families, readers
from hfcount.formulas.closed_form import ClosedForm, ComponentForm
from hfcount.formulas.polynomial import Polynomial, as_polynomial
from hfcount.formulas.sizes import NotModelled, Sizes
from hfcount.formulas.text import to_text


@dataclasses.dataclass(frozen=True)
class Family:
    """One closed form and where it applies.

    Attributes:
        heads: model class name -> what stands on the body ("lm", "body", ...), as the reader knows it.
        form: the pure function of sizes, symbol by symbol.
        read: config and head -> the arguments of `form`.
        source: the papers and upstream files of the derivation.
    """

    heads: Mapping[str, str]
    form: Callable[..., dict[str, Any]]
    read: Callable[[Sizes, str], dict[str, Any]]
    source: str


def _decoder(prefix: str, lm: str = "ForCausalLM", body: str = "Model") -> dict[str, str]:
    return {f"{prefix}{lm}": "lm", f"{prefix}{body}": "body"}


_LLAMA = "Touvron et al. 2023, arXiv:2302.13971, section 2.2"

FAMILIES: dict[str, Family] = {
    "openai-gpt": Family(
        _decoder("OpenAIGPT", lm="LMHeadModel"),
        families.openai_gpt,
        readers.gpt1,
        "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, sections 3.1 and 4.1",
    ),
    "gpt2": Family(
        _decoder("GPT2", lm="LMHeadModel"),
        families.gpt2,
        readers.gpt2,
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3",
    ),
    "gpt_neox": Family(
        _decoder("GPTNeoX"), families.gpt_neox, readers.gpt_neox, "Black et al. 2022, arXiv:2204.06745, section 2.1"
    ),
    "opt": Family(
        _decoder("OPT"), families.opt, readers.opt, "Zhang et al. 2022, arXiv:2205.01068, section 2.1; metaseq"
    ),
    "bloom": Family(
        _decoder("Bloom"), families.bloom, readers.bloom, "Le Scao et al. 2022, arXiv:2211.05100, section 3.2"
    ),
    "llama": Family(_decoder("Llama"), families.llama, readers.llama, _LLAMA),
    "mistral": Family(
        _decoder("Mistral"), families.llama, readers.mistral, f"{_LLAMA}; Mistral 7B, arXiv:2310.06825, section 2"
    ),
    "qwen2": Family(
        _decoder("Qwen2"), families.llama, readers.qwen2, f"{_LLAMA}; Qwen2, arXiv:2407.10671, section 2.2.1"
    ),
    "qwen3": Family(_decoder("Qwen3"), families.llama, readers.qwen3, f"{_LLAMA}; Qwen3, arXiv:2505.09388, section 2"),
    "gemma": Family(_decoder("Gemma"), families.llama, readers.gemma, f"{_LLAMA}; Gemma, arXiv:2403.08295, section 2"),
    "gemma2": Family(
        _decoder("Gemma2"), families.llama, readers.gemma2, f"{_LLAMA}; Gemma 2, arXiv:2408.00118, section 2"
    ),
    "olmo": Family(_decoder("Olmo"), families.llama, readers.olmo, f"{_LLAMA}; OLMo, arXiv:2402.00838, section 2.1"),
    "olmo2": Family(
        _decoder("Olmo2"), families.llama, readers.olmo2, f"{_LLAMA}; OLMo 2, arXiv:2501.00656, section 2.1"
    ),
    "mixtral": Family(
        _decoder("Mixtral"), families.mixtral, readers.mixtral, "Jiang et al. 2024, arXiv:2401.04088, section 2"
    ),
    "deepseek_v3": Family(
        _decoder("DeepseekV3"),
        families.deepseek_v3,
        readers.deepseek_v3,
        "DeepSeek-V3, arXiv:2412.19437, sections 2.1 and 4.2; DeepSeek-V2, arXiv:2405.04434, section 2.1",
    ),
    "bert": Family(
        {
            "BertModel": "body",
            "BertForMaskedLM": "lm",
            "BertLMHeadModel": "lm",
            "BertForPreTraining": "pretraining",
            "BertForSequenceClassification": "sequence",
            "BertForTokenClassification": "token",
        },
        families.bert,
        readers.bert,
        "Devlin et al. 2019, arXiv:1810.04805, section 3; google-research/bert, modeling.py",
    ),
    "t5": Family(
        {"T5Model": "decoder", "T5ForConditionalGeneration": "decoder", "T5EncoderModel": "encoder"},
        families.t5,
        readers.t5,
        "Raffel et al. 2020, arXiv:1910.10683, section 2.1; Shazeer 2020, arXiv:2002.05202",
    ),
    "vit": Family(
        {"ViTModel": "body", "ViTForImageClassification": "image"},
        families.vit,
        readers.vit,
        "Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1",
    ),
    "nanochat": Family(
        _decoder("NanoChat"), families.nanochat, readers.nanochat, "karpathy/nanochat, nanochat/gpt.py"
    ),
    "minigpt": Family(
        _decoder("MiniGPT"), families.minigpt, readers.minigpt, "Vaswani et al. 2017, arXiv:1706.03762, section 3"
    ),
}
"""model_type -> its family."""


def closed_form(config: Any, model_class: str) -> ClosedForm | None:
    """The closed form derived by hand for the class `model_class` with this config; None where there is none.

    `config` is a transformers PreTrainedConfig, or any object with the same attributes (`model_type` among them).
    None also means: the config asks for something that the family's form does not describe, such as sizes that
    differ from layer to layer (transformers' `per_layer_config`).

    >>> from types import SimpleNamespace
    >>> gpt2 = SimpleNamespace(model_type="gpt2", vocab_size=50257, n_embd=768, n_layer=12, n_head=12,
    ...                        n_positions=1024, n_inner=None, tie_word_embeddings=True)
    >>> form = closed_form(gpt2, "GPT2LMHeadModel")
    >>> form.text, form.value
    ('V*d + T*d + L*(12*d**2 + 13*d) + 2*d', 124439808)
    """
    family = FAMILIES.get(getattr(config, "model_type", ""))
    head = family.heads.get(model_class) if family else None
    if family is None or head is None or getattr(config, "is_heterogeneous", False):
        return None
    numbers, symbols = Sizes(config, symbolic=False), Sizes(config, symbolic=True)
    try:
        values = family.form(**family.read(numbers, head))
        forms = {name: as_polynomial(form) for name, form in family.form(**family.read(symbols, head)).items()}
    except NotModelled:
        return None
    return _assembled(values, forms, symbols, family.source)


def _assembled(values: dict[str, int], forms: dict[str, Polynomial], symbols: Sizes, source: str) -> ClosedForm:
    """The result, after a check that each text says what its number says."""
    for name, value in values.items():
        if forms[name].evaluate(symbols.values) != value:
            raise AssertionError(f"{name}: {to_text(forms[name])} is not {value:,}")
    whole = sum(forms.values(), Polynomial.constant(0))
    fields = {symbol: field for symbol, field in symbols.fields.items() if symbol in whole.symbols}
    components = tuple(ComponentForm(name, to_text(form), values[name]) for name, form in forms.items() if form != 0)
    return ClosedForm(to_text(whole), sum(values.values()), components, fields, "family", source)
