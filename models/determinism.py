"""The same request, the same bits: what has to be fixed while anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Chance from one seed, one thread and deterministic algorithms inside; as it was before, after.

    One thread, because the order of a sum, and with it the last bits of a weight, depends on their number.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    fill = deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        deterministic.fill_uninitialized_memory = False  # a search aid that costs a tenth of the time
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            deterministic.fill_uninitialized_memory = fill
