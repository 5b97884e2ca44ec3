"""The columns that are said to come from columns are there, on either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.audit.columns_made import MADE, columns_made
from flows.audit.openlineage_events import columns_of
from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse.audit.lineage import edges


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def test_what_is_said_is_there(small: SmallLake) -> None:
    artifacts = small.lake.artifacts()
    said = set()
    for a in artifacts:
        sources = [(role, source) for user, role, source in edges(artifacts) if user.key == a.key]
        for column, source, field in columns_made(a, sources):
            assert column in columns_of(a) and field in columns_of(source), (a.request.kind, column, field)
            said.add((a.request.kind, column, field))
    assert ("metrics", "metrics.value", "truth.label") in said
    assert ("shards", "index.input_id", "features.input_id") in said
    assert {kind for kind, _, _ in said} == MADE.keys() - {"votes", "selection"}, (
        "which the small lake makes of nothing"
    )


def test_a_selection_names_its_logits(small: SmallLake) -> None:
    source = small.named["voice main"]
    made = small.make(
        "chosen", "selection", "flows.select", lambda f: (f / "selection.parquet").touch(), {"features": [source]},
        logits=["F0"],
    )  # fmt: skip
    assert [(column, field) for column, _, field in columns_made(made, [("features", source)])] == [
        ("selection.label", "features.F0"), ("selection.probability", "features.F0"),
    ]  # fmt: skip
