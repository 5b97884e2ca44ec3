"""The same request, the same bits: what has to be fixed while anything is computed."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Chance from one seed, one thread and deterministic algorithms inside; as it was before, after.

    One thread, because the order of a sum, and with it the last bits of a weight, depends on their number.
    """
    threads, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    deterministic: Any = torch.utils.deterministic
    fill = deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    outside = chance()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        # `use_deterministic_algorithms` sets this, and a switch of a compiler that nobody asks: two seconds of imports.
        torch.set_deterministic_debug_mode("error")
        deterministic.fill_uninitialized_memory = False  # a search aid that costs a tenth of the time
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # libraries draw from these two
        random.seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(strict)
            deterministic.fill_uninitialized_memory = fill
            set_chance(outside)


def chance() -> Tensor:
    """The states of the generators of torch (on the CPU), numpy and Python, one after the other as float64, which
    holds each of their numbers exactly."""
    state: Any = np.random.get_state(legacy=True)
    _, keys, *rest = state
    _, words, gauss = random.getstate()
    numbers = [*keys.tolist(), *rest, *words, math.nan if gauss is None else gauss]
    return torch.cat([torch.tensor(numbers, dtype=torch.float64), torch.get_rng_state().double()])


def set_chance(state: Tensor) -> None:
    """Puts the generators where `chance` found them."""
    keys = state[:624].numpy().astype(np.uint32)
    position, has_gauss, cached = state[624:627].tolist()
    words, gauss = tuple(map(int, state[627:1252].tolist())), state[1252].item()
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))
    random.setstate((3, words, None if math.isnan(gauss) else gauss))
    torch.set_rng_state(state[1253:].to(torch.uint8))
