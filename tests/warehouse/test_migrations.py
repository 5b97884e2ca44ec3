"""Older lakes are brought to today's format, one step after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warehouse import Warehouse, migrations, store
from warehouse.errors import NewerFormat, NotALake
from warehouse.schema import FORMAT


def test_every_older_format_has_its_step() -> None:
    assert set(migrations.MIGRATIONS) == set(range(1, FORMAT))


def test_steps_run_in_order_from_the_lakes_own_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[int, Path]] = []
    steps = {n: (lambda root, n=n: ran.append((n, root))) for n in range(1, FORMAT + 3)}
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    monkeypatch.setattr(store, "FORMAT", FORMAT + 3)
    root = tmp_path / "lake"
    root.mkdir()
    (root / "lake.json").write_text(json.dumps({"format": FORMAT + 1}))
    Warehouse(root)
    assert ran == [(FORMAT + 1, root), (FORMAT + 2, root)]
    assert json.loads((root / "lake.json").read_bytes()) == {"format": FORMAT + 3}
    Warehouse(root)
    assert len(ran) == 2


def test_a_step_that_stops_leaves_the_old_format_so_that_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "MIGRATIONS", {FORMAT: stop})
    monkeypatch.setattr(store, "FORMAT", FORMAT + 1)
    root = tmp_path / "lake"
    root.mkdir()
    (root / "lake.json").write_text(json.dumps({"format": FORMAT}))
    with pytest.raises(KeyboardInterrupt):
        Warehouse(root)
    assert json.loads((root / "lake.json").read_bytes()) == {"format": FORMAT}


def test_a_newer_lake_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(NewerFormat, match=rf"has format {FORMAT + 1}, but .* up to {FORMAT}: install a newer Emolake"):
        Warehouse(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lake.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 0}', '{"format": true}'])
def test_a_marker_that_cannot_be_read_is_said_to_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "lake.json").write_text(text)
    with pytest.raises(NotALake, match=r"is no lake \(its lake\.json does not state a format\)"):
        Warehouse(tmp_path, create=True)
