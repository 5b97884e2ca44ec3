from __future__ import annotations

import json

from features.check import Anomaly, Count, Findings, counted


def test_what_nobody_published_can_not_differ() -> None:
    assert Count("speakers", None, 3).difference == 0
    assert Count("wav", 10, 7).difference == -3


def test_counts_cover_what_is_expected_and_what_is_found() -> None:
    counts = counted({"b": 2, "c": 1}, {"a": 1, "b": 2})
    assert counts == [Count("a", 1, 0), Count("b", 2, 2), Count("c", None, 1)]


def test_known_anomalies_are_told_and_do_not_fail() -> None:
    known = Anomaly("missing_alignment", "Ses03M_impro03_M001", "is not aligned in any published copy", known=True)
    assert Findings([Count("wav", 1, 1)], [known]).is_clean
    assert not Findings([Count("wav", 1, 1)], [known, Anomaly("bad_wav", "x.wav", "has 2 channels")]).is_clean
    assert not Findings([Count("wav", 2, 1)], []).is_clean


def test_findings_as_json() -> None:
    value = json.loads(json.dumps(Findings([Count("wav", 2, 1)], []).as_json()))
    assert value == {
        "clean": False, "anomalies": [],
        "counts": [{"what": "wav", "expected": 2, "found": 1, "difference": -1}],
    }  # fmt: skip
    assert Count("cues, Odd", None, 3, "Odd").as_json()["group"] == "Odd"
