"""A lake as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.errors import NotATime, NotYetMade
from warehouse.audit.lineage import down
from warehouse.audit.past import as_of
from warehouse.errors import ArtifactNotFound


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    """The n-th artifact was made on the n-th of May, at noon."""
    small = small_lake(tmp_path / "lake")
    for n, (name, artifact) in enumerate(small.named.items(), 1):
        path = artifact.folder / MANIFEST
        manifest = json.loads(path.read_bytes()) | {"created_at": f"2026-05-{n:02}T12:00:00.000+00:00"}
        manifest.pop("seal", None)
        path.unlink()
        path.write_text(json.dumps(manifest))
        small.named[name] = artifact
    small.lake = Warehouse(small.lake.root)
    return small


def test_what_was_made_later_is_not_there(small: SmallLake) -> None:
    names = {a.key: name for name, a in small.named.items()}
    order = list(small.named)
    past = as_of(small.lake, "2026-05-09")
    assert [names[a.key] for a in past.artifacts()] == order[:9]
    assert len(as_of(small.lake, "2026-05-09T11:59").artifacts()) == 8
    assert len(as_of(small.lake, "2026-05-09T12:00").artifacts()) == 9
    assert len(as_of(small.lake, "2026-05-09T14:30+02:30").artifacts()) == 9
    assert len(as_of(small.lake, "2026-05-09T14:29+02:30").artifacts()) == 8
    assert past.artifacts("checkpoint") == [] and past.by_digest("checkpoint") == {}
    later = small.named["metrics"]
    assert past.with_digest(later.digest) == [] and small.lake.with_digest(later.digest)
    root = past.resolve(small.named["raw main"].key)
    assert {names[node.artifact.key] for node in down(past, root).walk()} < set(order[:9])


def test_the_time_of_an_artifact(small: SmallLake) -> None:
    key = small.named["voice main"].key
    small.lake.set_ref("reports/small", {"artifact": key})
    expected = datetime(2026, 5, 1 + list(small.named).index("voice main"), 12, tzinfo=UTC)
    for when in (key, key[:12], "reports/small", f"reports/small@{key[:12]}"):
        assert as_of(small.lake, when).until == expected


def test_names_of_what_came_later_are_refused(small: SmallLake) -> None:
    metrics = small.named["metrics"]
    small.lake.set_ref("reports/small", {"artifact": metrics.key})
    past = as_of(small.lake, "2026-05-09")
    sentence = "'reports/small' is an artifact of 2026-05-.* now, which was not there at 2026-05-09.*give a key .* none"
    with pytest.raises(NotYetMade, match=sentence):
        past.resolve("reports/small")
    with pytest.raises(NotYetMade, match=f"'{small.named['voice other'].key[:12]}'"):
        as_of(small.lake, small.named["voice main"].key).resolve(small.named["voice other"].key[:12])
    with pytest.raises(ArtifactNotFound, match="name 'nothing'"):
        past.resolve("nothing")


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "", "reports/none"])
def test_what_is_no_time_is_refused(small: SmallLake, when: str) -> None:
    with pytest.raises(NotATime, match=f"'{when}' is no moment and no artifact: give a day"):
        as_of(small.lake, when)
