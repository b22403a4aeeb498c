"""Published models at full size, under the names that transformers itself would save: nothing differs but pieces."""

from __future__ import annotations

import math

import pytest
from transformers.core_model_loading import revert_weight_conversion

from hfcount.auditing.stored import join
from hfcount.configs import load_config
from hfcount.errors import UnknownModelType
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve
from hfcount.sources.cards import card_names
from hfcount.sources.headers import Checkpoint, Entry, Header, StoredTensor

QUICK = (
    "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b", "Qwen/Qwen3-30B-A3B", "mistralai/Mixtral-8x7B-v0.1",
    "openai/whisper-tiny", "facebook/opt-350m",
)  # fmt: skip


@pytest.mark.parametrize(
    "card", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in card_names()]
)
def test_as_transformers_would_save_it(card: str) -> None:
    """`revert_weight_conversion` is what `save_pretrained` calls; on the meta device it takes no memory."""
    try:
        model = build_skeleton(load_config(resolve(f"card:{card}"))).model
    except UnknownModelType as error:  # DeepSeek-V3.2 in transformers 5.10
        pytest.skip(str(error))
    tied = model.get_expanded_tied_weights_keys(all_submodels=True)
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    saved = {name: tuple(tensor.shape) for name, tensor in revert_weight_conversion(model, state).items()}
    entries = tuple(Entry(name, shape, math.prod(shape), math.prod(shape), 0, "BF16") for name, shape in saved.items())
    header = Header(
        format="safetensors", tensors=tuple(StoredTensor(name, "BF16", shape, 0) for name, shape in saved.items())
    )
    joined = join(Checkpoint(header=header, entries=entries), model)
    assert {row.status for row in joined.differences} <= {"stored in pieces", "buffer stored"}
    assert not joined.missing | joined.unexpected | joined.mismatched
    assert joined.total == model.num_parameters()
