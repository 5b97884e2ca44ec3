"""An empty lake for each test of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from warehouse import Warehouse

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)
