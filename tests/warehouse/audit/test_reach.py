"""What names reach, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.warehouse.small_lake import MAIN, SmallLake, small_lake
from warehouse import Artifact
from warehouse.audit.reach import reached
from warehouse.errors import UnreadableRef
from warehouse.hashing import short_digest
from warehouse.schema import FAILURES, UTTERANCES, pair_id
from warehouse.tables import vector_columns, write_rows


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def left(small: SmallLake, *also: str) -> set[str]:
    """The names of the artifacts that are not reached."""
    artifacts = small.lake.artifacts()
    assert {a.key for a in artifacts} == {a.key for a in small.named.values()}
    kept = reached(small.lake, artifacts, also)
    return {name for name, artifact in small.named.items() if artifact.key not in kept}


INPUT_ID = pa.field("input_id", pa.string(), nullable=False)
LINE = {"voice shard main", "voice shard other", "words shard", "pairs shard", "text shard", "split", "truth",
        "selection", "checkpoint", "predictions", "metrics"}  # fmt: skip


def test_corpora_and_the_rows_of_named_extractors_about_them_are_reached(small: SmallLake) -> None:
    assert left(small) == LINE | {"intervals"}


def test_without_names_nothing_is(small: SmallLake) -> None:
    for path in (small.lake.root / "refs").rglob("*.json"):
        path.unlink()
    assert left(small) == set(small.named)


def test_a_report_keeps_all_that_it_was_made_from(small: SmallLake) -> None:
    metrics = small.named["metrics"].key
    small.lake.set_ref("reports/demo", {"artifact": metrics, "metrics": metrics})
    assert left(small) == {"selection", "intervals"}


def test_so_do_bundles_weights_and_whatever_else_a_name_holds(small: SmallLake) -> None:
    small.lake.set_ref("bundles/given", {"digest": "0" * 64, "keys": [small.named["text shard"].key]})
    assert left(small) == LINE - {"text shard"} | {"intervals"}
    small.lake.set_ref("weights/placed", {"digest": small.named["selection"].digest, "folder": "x"})
    small.lake.set_ref("anything/else", {"deep": [{"in": small.named["split"].digest}]})
    assert left(small) == LINE - {"text shard", "selection", "split"} | {"intervals"}


def test_what_tells_of_artifacts_holds_none(small: SmallLake) -> None:
    """Purges list what they took and what learned from it."""
    digest = small.named["selection"].digest
    small.lake.set_ref("purged/one", {"digests": {"0" * 64: digest}})
    small.lake.set_ref("tainted/" + small.named["checkpoint"].key, {"why": digest})
    assert "selection" in left(small)


def test_what_is_tainted_stays_with_all_that_was_made_from_it_for_as_long_as_its_taint(small: SmallLake) -> None:
    """A purge took its report, whose name held it."""
    ref = small.lake.root / "refs" / "tainted" / f"{small.named['checkpoint'].key}.json"
    small.lake.set_ref(f"tainted/{ref.stem}", {"purges": ["one"], "why": "it learned", "retrain": "run"})
    small.lake.set_ref(f"tainted/{'f' * 32}", {"purges": ["one"], "why": "it learned", "retrain": "run"})
    assert left(small) == {"selection", "intervals"}
    assert "f" * 32 not in reached(small.lake, small.lake.artifacts())
    ref.unlink()
    assert left(small) == LINE | {"intervals"}


def test_failures_that_are_tried_again_are_reached(small: SmallLake) -> None:
    old = variant(small, "old voice", 2, rows=[])
    assert left(small) == LINE | {"intervals", "old voice"}
    small.lake.set_ref(f"retries/{old.key}", {"input_ids": ["x"]})
    assert left(small) == LINE | {"intervals"}


def test_more_that_is_kept_keeps_what_it_rests_on(small: SmallLake) -> None:
    assert left(small, small.named["split"].key) == LINE - {"split"} | {"intervals"}
    assert left(small, small.named["checkpoint"].key) == {"truth", "selection", "predictions", "metrics", "intervals"}


def test_canaries_stay(small: SmallLake) -> None:
    for kind in ("canary", "first_canary"):
        small.make(kind, kind, "extractors.gone", lambda folder: (folder / "x").write_text("1"), {}, plugin={})
    assert left(small) == LINE | {"intervals"}


def variant(small: SmallLake, name: str, version: int, rows: list[dict[str, Any]], **inputs: Any) -> Artifact:
    """Rows of the extractor 'voice', of a version of it."""
    plugin = {"step": "extractors.voice", "version": version, "fields": {}}
    failed = [{"input_id": MAIN["audio_id"], "utterance_id": "u1", "step": "extractors.voice", "reason": "too short"}]
    tables = {
        "features": (rows, pa.schema([INPUT_ID, *vector_columns(["F0"])])),
        "failures": ([] if rows else failed, FAILURES),
    }
    return small.rows(name, "features", "extractors.voice", tables, inputs, plugin=plugin, version_of=name)


def test_rows_of_an_extractor_that_no_name_stands_for_any_more_are_left(small: SmallLake) -> None:
    variant(small, "other", 2, [{"input_id": MAIN["audio_id"], "F0": 1.0}], utterances=[small.utterances])
    assert left(small) == LINE | {"intervals", "other"}
    key = short_digest({"step": "extractors.voice", "version": 2, "fields": {}})
    kept = reached(small.lake, small.lake.artifacts(), (), [key])
    assert small.named["other"].key in kept
    small.lake.set_ref("features/voice", {"plugin_key": key})
    assert left(small) == LINE | {"intervals", "voice main", "voice other"}


def test_rows_made_for_an_earlier_reading_stay_while_they_are_about_a_current_utterance(small: SmallLake) -> None:
    def write(folder: Path) -> None:
        write_rows(folder / "utterances.parquet", [MAIN | {"speaker_id": "s2"}], UTTERANCES)

    earlier = small.make("earlier", "utterances", "corpora.main", write, {}, unit="one")
    variant(small, "shared", 1, [{"input_id": MAIN["audio_id"], "F0": 1.0}], utterances=[earlier])
    pair = pair_id(MAIN["audio_id"], MAIN["text_id"])
    for name, own in (("said", MAIN["text_id"]), ("both", pair)):
        variant(small, name, 1, [{"input_id": own, "F0": 1.0}], utterances=[earlier])
    variant(small, "failed", 1, [], utterances=[earlier])
    variant(small, "gone", 1, [{"input_id": "0" * 32, "F0": 1.0}], utterances=[earlier])
    assert left(small) == LINE | {"intervals", "gone"}  # the earlier reading stays with the rows made for it


def test_a_damaged_name_stops_it(small: SmallLake) -> None:
    (small.lake.root / "refs" / "corpora" / "main.json").write_text("{")
    with pytest.raises(UnreadableRef, match=r"main\.json cannot be read"):
        left(small)
