"""Shared paths and settings of the tests; nothing here reaches the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores: their threads would only wait for each other

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real files to try things on; tests that use them skip where they are absent."""


@pytest.fixture(scope="session")
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip("the real files are not beside this checkout")
    return REAL
