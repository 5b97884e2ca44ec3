"""What a lake holds of features, counted against the small lake's own tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.feature_list import failure_list, feature_list
from tests.flows.partly import lake_copy
from tests.flows.small import Small
from warehouse import Request, Warehouse
from warehouse.schema import FAILURES, INTERVALS
from warehouse.tables import write_rows


def test_each_extractor_of_the_recipe_with_its_rows_hours_and_bytes(small: Small) -> None:
    found = {row["name"]: row for row in feature_list(small.warehouse)}
    assert set(found) == {"lld", "egemaps", "waveform", "teacher"}
    for name, row in found.items():
        (n,) = small.warehouse.sql(f"SELECT count(DISTINCT input_id) FROM features_{name}").fetchall()[0]
        assert (row["rows"], row["failures"]) == (n, 0)
        own = [a for a in small.warehouse.artifacts("features") if a.request.params["plugin"]["step"] == row["step"]]
        assert 0 < row["bytes"] <= sum(a.n_bytes for a in own)
    (all_s,) = small.warehouse.sql("SELECT sum(end_s - start_s) FROM utterances").fetchall()[0]
    assert found["egemaps"]["hours"] == pytest.approx(all_s / 3600), "every utterance was heard"
    assert found["teacher"]["hours"] is None, "it reads only"
    assert json.loads(found["lld"]["fields"])["feature_set"] == "ComParE_2016"
    assert {(row["canary"], row["licence"]) for row in found.values()} == {("ok", "")}
    assert found["waveform"]["speed"] > found["lld"]["speed"] > 1 and found["teacher"]["speed"] is None


def test_a_namespace_that_no_recipe_names_any_more_has_no_name(small: Small, tmp_path: Path) -> None:
    lake = lake_copy(small, tmp_path)
    (lake.root / "refs" / "features" / "lld.json").unlink()
    assert [row["name"] for row in feature_list(lake)] == ["egemaps", "teacher", "waveform", ""]
    assert feature_list(lake)[-1]["rows"] == len(feature_rows(lake, "ComParE_2016"))


def feature_rows(lake: Warehouse, feature_set: str) -> set[str]:
    asked = {a.key: a.request.params["plugin"]["fields"] for a in lake.artifacts("features")}
    own = {key for key, fields in asked.items() if fields.get("feature_set") == feature_set}
    return {i for i, key in lake.sql("SELECT input_id, artifact FROM features").fetchall() if key in own}


def test_speed_is_sound_by_work_and_licences_and_forks_are_told(small: Small, tmp_path: Path) -> None:
    lake = lake_copy(small, tmp_path)
    own = [a for a in lake.artifacts("features") if a.request.step == "extractors.waveform"]
    rows = {row["name"]: row for row in feature_list(lake)}
    work_s = sum(a.environment["work_s"] for a in own)
    assert rows["waveform"]["speed"] == pytest.approx(rows["waveform"]["hours"] * 3600 / work_s, rel=0.01)
    (teacher,) = {a.request.params["plugin"]["fields"]["weights"] for a in lake.artifacts("features")
                  if a.request.step == "extractors.encoder"}  # fmt: skip
    said = {"folder": "x", "revision": "1", "trained_on": ["it"]}
    for name, licence in (("a", "MIT"), ("b", "CC0-1.0"), ("c", "")):
        lake.set_ref(f"weights/{name}", said | {"digest": teacher, "licence": licence})
    for canary in lake.artifacts("canary"):
        if canary.request.step == "extractors.waveform":
            shutil.rmtree(canary.folder)
    plugin = own[0].request.params["plugin"] | {"canary": "0" * 32}
    ids = pa.schema([("input_id", pa.string())])
    lake.materialize(Request("features", "extractors.waveform", 1, {"plugin": plugin}), lambda folder: [
        write_rows(folder / "features.parquet", [], ids), write_rows(folder / "failures.parquet", [], FAILURES),
    ])  # fmt: skip
    found = {row["name"]: row for row in feature_list(Warehouse(lake.root))}
    assert found["teacher"]["licence"] == "CC0-1.0, MIT" and found["lld"]["licence"] == ""
    assert [found[name]["canary"] for name in ("lld", "waveform", "")] == ["ok", "never run", "forked"]
    assert (found[""]["rows"], found[""]["hours"], found[""]["speed"]) == (0, None, None)


def writing(failures: list[dict[str, Any]]) -> Callable[[Path], None]:
    """An aligner's batch of which every clip failed."""

    def write(folder: Path) -> None:
        write_rows(folder / "intervals.parquet", [], INTERVALS)
        write_rows(folder / "failures.parquet", failures, FAILURES)

    return write


def test_an_empty_lake_and_an_alignment_have_no_features(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    assert feature_list(lake) == []
    plugin = {"step": "extractors.made", "version": 1, "fields": {}}
    refused = [{"input_id": "i", "utterance_id": "u", "step": "extractors.made", "reason": "odd"}]

    lake.materialize(Request("intervals", "extractors.made", 1, {"plugin": plugin}), writing(refused))
    assert feature_list(lake) == [], "an alignment is no feature"


def test_reasons_that_differ_in_their_numbers_are_one(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    reasons = {
        "b": "the clip lasts 0.020 s", "a": "the clip lasts 0.5 s", "c": "the transcript is empty",
    }  # fmt: skip
    rows = [
        {"input_id": f"i{name}", "utterance_id": name, "step": "aligners.one", "reason": reason}
        for name, reason in reasons.items()
    ]
    lake.materialize(Request("intervals", "aligners.one", 1, {"plugin": {}}), writing(rows))
    assert failure_list(lake) == [
        {"step": "aligners.one", "reason": "the clip lasts 0.5 s", "utterances": 2, "first": "a"},
        {"step": "aligners.one", "reason": "the transcript is empty", "utterances": 1, "first": "c"},
    ]
