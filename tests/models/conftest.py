"""One tiny lake for every test that only adds to it: what is in a lake never changes."""

from __future__ import annotations

import pytest

from tests.models.tiny_lake import TinyLake, tiny_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("tiny") / "lake")
