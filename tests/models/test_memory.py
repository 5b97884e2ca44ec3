"""Memory is used again, and never while somebody holds what is in it."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch

from models.memory import Shelf, fresh, pinned

FLOAT, SHORT = np.dtype("float32"), np.dtype("int16")


def _lent(shelf: Shelf, n: int, dtype: np.dtype) -> torch.Tensor:
    return shelf.lend(n, dtype)[0]


def test_what_nobody_holds_is_used_again() -> None:
    shelf = Shelf()
    one, other = _lent(shelf, 6, FLOAT), _lent(shelf, 6, FLOAT)
    places = {one.data_ptr(), other.data_ptr()}
    assert len(places) == 2
    del one, other
    assert {t.data_ptr() for t in (_lent(shelf, 6, FLOAT), _lent(shelf, 12, SHORT))} == places


@pytest.mark.parametrize("part", [
    lambda tensor: tensor[2:].view(2, 2), lambda tensor: tensor.numpy(), lambda tensor: tensor.detach(),
    lambda tensor: tensor.untyped_storage(),
])  # fmt: skip
def test_a_part_of_a_tensor_holds_all_of_it(part: Any) -> None:
    shelf = Shelf()
    tensor = _lent(shelf, 6, FLOAT)
    place, held = tensor.data_ptr(), part(tensor)
    del tensor
    gc.collect()
    assert _lent(shelf, 6, FLOAT).data_ptr() != place
    del held
    assert place in {t.data_ptr() for t in [_lent(shelf, 6, FLOAT) for _ in range(2)]}


def test_what_a_gradient_needs_is_not_written_over() -> None:
    shelf = Shelf()
    weight = torch.ones(4, requires_grad=True)
    numbers = _lent(shelf, 4, FLOAT)
    numbers[:] = torch.arange(4.0)
    loss = (weight * numbers).sum()
    del numbers
    _lent(shelf, 4, FLOAT).fill_(9)
    loss.backward()
    assert weight.grad is not None and weight.grad.tolist() == [0, 1, 2, 3]


def test_too_small_is_thrown_away() -> None:
    shelf = Shelf()
    del_me = _lent(shelf, 2, FLOAT)
    del del_me
    assert len(_lent(shelf, 100, FLOAT)) == 100
    assert len(_lent(shelf, 3, SHORT)) == 3, "and what is larger than is wanted serves"


def test_fresh_is_nobody_elses() -> None:
    (one, _), (other, _) = fresh(3, FLOAT), fresh(3, SHORT)
    assert (one.dtype, other.dtype, len(one)) == (torch.float32, torch.int16, 3)
    assert one.data_ptr() != other.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_pinned_is_what_a_gpu_reads_by_itself() -> None:
    numbers, there = pinned(4, SHORT)
    there[:] = 7
    assert numbers.is_pinned() and numbers.to("cuda", non_blocking=True).tolist() == [7] * 4
