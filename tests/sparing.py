"""Which cases of a law `make test` takes; the others come in `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first(n_quick: int, cases: Iterable[Any]) -> list[Any]:
    """The cases for `pytest.mark.parametrize`, of which only the first so many are not slow."""
    quick, others = [*cases][:n_quick], [*cases][n_quick:]
    slow = pytest.mark.slow
    return quick + [pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=slow) for one in others]
