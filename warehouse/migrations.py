"""How a lake of FORMAT n becomes one of n + 1: append-only, one function per step, never edited afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MIGRATIONS: dict[int, Callable[[Path], None]] = {}
"""From-format -> the function that changes the lake in place, safe to run twice. Format 1 is the first."""


def migrate(root: Path, found: int) -> None:
    """Runs every step from format `found` up to the newest, in order."""
    while found in MIGRATIONS:
        MIGRATIONS[found](root)
        found += 1
