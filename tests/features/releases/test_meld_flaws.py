from __future__ import annotations

import csv
from pathlib import Path

import pytest

from features.releases import meld_flaws
from features.releases.meld_flaws import flaws


@pytest.mark.parametrize(
    ("stated_s", "clip_s", "expected"),
    [
        (2.0, 2.1, []),
        (2.0, 2.5, []),
        (2.0, 2.51, ["duration_mismatch"]),
        (2.6, 2.0, ["duration_mismatch"]),
        (0.0, 1.6, ["empty_interval"]),
        (-1.0, 1.6, ["empty_interval"]),
        (30.0, 30.2, ["long_clip"]),
        (0.3, 0.2, ["short_clip"]),
    ],
)
def test_what_is_measured(stated_s: float, clip_s: float, expected: list[str]) -> None:
    assert list(flaws("dev", (0, 0), stated_s, clip_s)) == expected


def test_what_is_known_by_name() -> None:
    assert list(flaws("train", (793, 0), 1.0, 1.0)) == ["bad_sound"]
    assert list(flaws("train", (757, 7), 1.0, 1.0)) == ["out_of_step"]
    assert list(flaws("train", (241, 99), 1.0, 1.0)) == ["out_of_step"]
    assert list(flaws("test", (241, 99), 1.0, 1.0)) == []


def test_the_audit_of_the_published_clips(real: Path) -> None:
    """Clip lengths that others published, against the CSV: every flag is told, and every list is complete."""
    with (real / "meld" / "clip_audit.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    by_flag: dict[str, set[tuple[str, int, int]]] = {}
    names = {"under_0.25s": "short_clip", "over_30s": "long_clip", "duration_mismatch": "duration_mismatch"}
    for row in rows:
        key = int(row["dialogue_id"]), int(row["utterance_id"])
        by_flag.setdefault(row["flag"], set()).add((row["split"], *key))
        if row["clip_s"]:
            told = set(flaws(row["split"], key, float(row["csv_s"]), float(row["clip_s"])))
            empty = (row["split"], *key) in meld_flaws.EMPTY_INTERVAL
            assert ("empty_interval" if empty else names[row["flag"]]) in told
    assert by_flag["missing_or_corrupt"] == meld_flaws.ABSENT
    assert by_flag["over_30s"] == meld_flaws.LONG
    assert by_flag["duration_mismatch"] == meld_flaws.MISMATCHED
    assert len(by_flag["under_0.25s"]) == 130 + 17 + 39
