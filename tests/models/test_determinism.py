"""The same seed, the same bits, whatever ran before and however many threads there are."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from models.determinism import chance, reproducible, set_chance


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Two threads and lenient algorithms before each test, and afterwards what there was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def fitted(seed: int) -> Tensor:
    """The weights of a small network after a few steps, dropout and all."""
    with reproducible(seed):
        network = torch.nn.Sequential(torch.nn.Linear(40, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 3))
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            network(torch.randn(200, 40)).square().mean().backward()
            optimizer.step()
        return torch.cat([parameter.detach().ravel() for parameter in network.parameters()])


def test_one_seed_gives_one_result_whatever_was_drawn_before() -> None:
    first = fitted(3)
    torch.manual_seed(99)
    torch.randn(7)
    torch.set_num_threads(1)
    assert torch.equal(fitted(3), first)
    assert not torch.equal(fitted(4), first)


def test_inside_there_is_one_thread_and_nothing_that_varies() -> None:
    with reproducible(0):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()


def test_afterwards_everything_is_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    with reproducible(0):
        torch.randn(100)
    assert torch.equal(torch.randn(3), expected), "chance outside goes on where it was"
    assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()


def test_afterwards_everything_is_as_it_was_when_something_failed() -> None:
    with pytest.raises(KeyError), reproducible(0):
        raise KeyError
    assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()


def _drawn() -> list[float]:
    return [*torch.randn(2).tolist(), float(np.random.normal()), random.gauss(0, 1), random.random()]


def test_libraries_that_draw_elsewhere_draw_from_the_seed_too() -> None:
    random.seed(8), np.random.seed(8), torch.manual_seed(8)
    expected = _drawn()
    random.seed(8), np.random.seed(8), torch.manual_seed(8)
    inside = []
    for seed in (3, 3, 4, 2**40):
        with reproducible(seed):
            inside.append(_drawn())
    assert inside[0] == inside[1] and len({tuple(draws) for draws in inside}) == 3
    assert _drawn() == expected


def test_chance_goes_on_where_it_was() -> None:
    """Gaussians come in pairs, of which one is kept: before and after one was drawn."""
    for _ in range(3):
        state = chance()
        expected = _drawn()
        torch.randn(5), np.random.normal(size=700), random.gauss(0, 1)
        set_chance(state)
        assert torch.equal(chance(), state) or torch.isnan(state).any()
        assert _drawn() == expected


def test_one_inside_another() -> None:
    with reproducible(1):
        with reproducible(2):
            inner = torch.randn(3)
        outer = torch.randn(3)
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
    with reproducible(1):
        assert torch.equal(torch.randn(3), outer)
    with reproducible(2):
        assert torch.equal(torch.randn(3), inner)
