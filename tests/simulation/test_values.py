"""What is known of tensors that have no memory, and what is not."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from hfcount.simulation.faking import without_memory


def weights(*shape: int) -> torch.Tensor:
    """Numbers that nobody knows."""
    return torch.empty(shape).normal_()


def test_what_is_made_of_constants_is_known():
    with without_memory():
        ids = torch.arange(12).reshape(3, 4)
        mask = ids % 2 == 0
        assert mask.any()
        assert not mask.all()
        assert ids.sum().item() == 66
        assert ids.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        assert 7 in ids
        assert int(ids.max()) == 11
        assert mask.nonzero().shape == (6, 2)
        assert ids[mask].tolist() == [0, 2, 4, 6, 8, 10]
        assert torch.tensor([ids[0, 1], ids[2, 3]]).tolist() == [1, 11]
        assert torch.repeat_interleave(torch.arange(3), torch.tensor([1, 0, 2])).tolist() == [0, 2, 2]


def test_unknown_numbers_are_chosen_by_known_ones():
    with without_memory():
        mask = torch.arange(12).reshape(3, 4) > 8
        hidden = weights(3, 4, 5)
        assert hidden[mask].shape == (3, 5)
        assert hidden.masked_select(mask.unsqueeze(-1)).shape == (15,)
        hidden[mask] = 0.0
        lengths = torch.tensor([4]), torch.tensor([2])
        loss = torch.nn.functional.ctc_loss(weights(4, 1, 6).log_softmax(-1), torch.tensor([[1, 2]]), *lengths)
        assert loss.shape == ()


@pytest.mark.parametrize(
    ("ask", "operator"),
    [
        (lambda hidden: hidden.sum().item(), "aten._local_scalar_dense.default"),
        (lambda hidden: bool((hidden > 0).all()), "aten._local_scalar_dense.default"),
        (lambda hidden: hidden.nonzero(), "aten.nonzero.default"),
        (lambda hidden: hidden[hidden > 0], "aten.nonzero.default"),
    ],
    ids=["item", "bool", "nonzero", "mask"],
)
def test_what_weights_decide_is_not_known(ask, operator):
    with without_memory(), pytest.raises((DataDependentOutputException, DynamicOutputShapeException)) as error:
        ask(weights(2, 3))
    assert str(error.value.func) == operator


def test_what_is_written_over_is_known_only_by_what_was_written():
    with without_memory():
        known = torch.zeros(4, dtype=torch.long)
        part = known[:2]
        part += 3
        assert known.tolist() == [3, 3, 0, 0]
        known.copy_(weights(4))
        with pytest.raises(DataDependentOutputException):
            part[0].item()
        drawn = torch.zeros(4).uniform_()
        with pytest.raises(DataDependentOutputException):
            drawn[0].item()


def test_a_step_that_goes_well():
    with without_memory():
        hidden = weights(6, 8)
        assert not torch.isinf(hidden).any()
        assert not hidden.isnan().any()
        assert torch.rand([]) >= 0.9  # no layer is dropped
        _, chosen = weights(6, 4).topk(2, dim=-1)
        assert hidden.new_ones(6, 2).masked_fill(chosen > 2, 0).bool().any()
        filled = torch.zeros_like(hidden)
        filled += 1  # many elements, one number: not followed further, and no error
        assert filled.shape == (6, 8)
        assert torch.bincount(chosen.flatten(), minlength=4).tolist() == [3, 3, 3, 3]


def test_a_place_that_no_table_has():
    with without_memory():
        table = torch.nn.Embedding(4, 3)
        assert table(torch.tensor([0, 3])).shape == (2, 3)
        with pytest.raises(IndexError, match="index 4 is out of a table of 4"):
            table(torch.tensor([1, 4]))
        with pytest.raises(IndexError, match="index 9 is out of a table of 6"):
            weights(6, 2)[torch.tensor([9])]


def test_large_values_are_not_kept():
    with without_memory():
        large = torch.zeros(2**25, dtype=torch.bool)  # 32 MiB
        with pytest.raises(DataDependentOutputException):
            large.any().item()
        assert not torch.zeros(1, dtype=torch.bool).expand(2**25).any()  # one byte
        many = [torch.zeros(2**21, dtype=torch.long) for _ in range(40)]  # 16 MiB each
        with pytest.raises(DataDependentOutputException):
            many[-1].any().item()
        del many, large
        assert not torch.zeros(8).any()


def test_the_generators_are_left_as_they_were():
    def draw() -> tuple[float, float, float]:
        return torch.rand(1).item(), np.random.rand(), random.random()

    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    first = draw()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    with without_memory():
        torch.rand(3)
        inside = np.random.rand()
    assert draw() == first
    with without_memory():
        assert np.random.rand() == inside
