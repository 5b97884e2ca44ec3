"""The ready views, on rows whose answers can be counted by hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.warehouse.small_lake import SmallLake, small_lake, utterance
from warehouse import Warehouse
from warehouse.schema import FAILURES, FILES, LABELS, SPLIT, TRUTH, UTTERANCES
from warehouse.summaries import VIEWS

TABLES = [
    "utterances AS SELECT 'main' AS corpus, '' AS speaker_id, '' AS dialogue_id, '' AS recording_id, 0.0 AS start_s, "
    "s AS end_s FROM given",
    "artifacts AS SELECT row_number() OVER ()::VARCHAR AS key, key AS digest, 'fit' AS kind, 'x' AS step, 1 AS n_bytes "
    "FROM given",
    "works AS SELECT row_number() OVER ()::VARCHAR AS key, s AS work_s FROM given",
    "inputs AS SELECT '1' AS key, key AS digest FROM artifacts WHERE key <> '1'",
    "reports AS SELECT 'demo' AS recipe, '1' AS report",
    "plugins AS SELECT '' AS artifact, '' AS step",
    "merged AS SELECT '' AS piece, '' AS digest, '' AS artifact, 0.0 AS work_s, 0 AS n_bytes, [''] AS inputs LIMIT 0",
]
"""What the views of sums read, over `given` seconds."""


def label(utterance_id: str, scheme: str, rater: str, value: str, number: float | None = None) -> dict[str, Any]:
    return {"utterance_id": utterance_id, "scheme": scheme, "rater": rater, "value": value, "number": number}


JUDGED = [
    label("a", "emotion", "summary", "sad"),
    label("a", "emotion", "E1", "sad"), label("a", "emotion", "E2", "sad"), label("a", "emotion", "E3", "angry"),
    label("a", "valence", "E1", "2", 2.0), label("a", "valence", "E2", "4", 4.0),
    label("a", "valence", "summary", "3", 3.0),
    label("b", "emotion", "E1", "happy"), label("b", "emotion", "E2", "angry"), label("b", "emotion", "E2", "happy"),
    label("b", "emotion", "E3", "angry"),
    label("b", "valence", "E1", "5", 5.0), label("b", "valence", "E2", "5", 5.0),
    label("c", "emotion", "summary", "neutral"),
    label("d", "emotion/sad", "votes", "3", 3.0), label("d", "emotion/happy", "votes", "1", 1.0),
    label("d", "emotion/angry", "votes", "0", 0.0),
]  # fmt: skip


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """One corpus of four utterances: raters agree, tie, are not there, and are only counted."""
    small = SmallLake(tmp_path_factory.mktemp("judged") / "lake")
    rows = [utterance("main", name, f"words {name}") for name in "abcd"]
    files = [{"path": r["path"], "n_bytes": 9, "sha256": r["recording_id"]} for r in rows]
    raw = small.rows("raw main", "raw", "features.raw", {"files": (files, FILES)}, {})
    labels = small.rows("labels main", "labels", "corpora.made", {"labels": (JUDGED, LABELS)}, {"raw": [raw]})
    tables = {"utterances": (rows, UTTERANCES), "failures": ([], FAILURES)}
    utterances = small.rows("utterances main", "utterances", "corpora.made", tables, {"raw": [raw]})
    small.ingested("main", utterances)
    parts = [{"utterance_id": n, "part": p, "label": k} for n, p, k in (("a", "train", "sad"), ("b", "train", "happy"))]
    parts += [{"utterance_id": n, "part": "test", "label": None} for n in ("c", "d")]
    split = small.rows(
        "split", "split", "flows.protocol", {"split": (parts, SPLIT)}, {"utterances": [utterances]},
        protocol="made", fold="1",
    )  # fmt: skip
    for version, known in ((1, "happy"), (2, "sad")):
        truth = [{"utterance_id": "c", "part": "test", "label": "neutral"},
                 {"utterance_id": "d", "part": "test", "label": known}]  # fmt: skip
        inputs = {"split": [split], "labels": [labels]}
        small.rows(f"truth {version}", "truth", "flows.truth", {"truth": (truth, TRUTH)}, inputs, version)
    return small.lake


def rows(lake: Warehouse, query: str) -> list[dict[str, Any]]:
    return lake.table(query).to_pylist()


def test_soft_labels_have_the_majority_and_every_share(judged: Warehouse) -> None:
    query = "SELECT utterance_id, summary, majority, n_raters, n_votes, soft FROM soft_labels WHERE scheme = 'emotion'"
    assert rows(judged, f"{query} ORDER BY ALL") == [
        {"utterance_id": "a", "summary": "sad", "majority": "sad", "n_raters": 3, "n_votes": 3,
         "soft": [("angry", pytest.approx(1 / 3)), ("sad", pytest.approx(2 / 3))]},
        {"utterance_id": "b", "summary": None, "majority": None, "n_raters": 3, "n_votes": 4,
         "soft": [("angry", 0.5), ("happy", 0.5)]},
        {"utterance_id": "c", "summary": "neutral", "majority": None, "n_raters": 0, "n_votes": None, "soft": None},
        {"utterance_id": "d", "summary": None, "majority": "sad", "n_raters": None, "n_votes": 4,
         "soft": [("happy", 0.25), ("sad", 0.75)]},
    ]  # fmt: skip


def test_soft_labels_of_numbers_have_mean_and_spread(judged: Warehouse) -> None:
    query = "SELECT utterance_id, summary, majority, soft, mean, sd FROM soft_labels WHERE scheme = 'valence'"
    nothing = {"majority": None, "soft": None}
    assert rows(judged, f"{query} ORDER BY ALL") == [
        {"utterance_id": "a", "summary": "3", "mean": 3.0, "sd": pytest.approx(2**0.5)} | nothing,
        {"utterance_id": "b", "summary": None, "mean": 5.0, "sd": 0.0} | nothing,
    ]


def test_agreement_is_of_raters_that_have_names_or_counts(judged: Warehouse) -> None:
    found = rows(judged, "FROM agreement ORDER BY scheme")
    assert [(row["scheme"], row["level"], row["n_raters"], row["n_utterances"], row["n_ratings"]) for row in found] == [
        ("emotion", "nominal", 3, 3, 11), ("valence", "interval", 2, 2, 4)
    ]  # fmt: skip
    # By hand: pairs that differ, each unit's over its ratings less one, against all pairs.
    apart = (2 * 2 * 1 / 2 + 2 * 2 * 2 / 3 + 2 * 3 * 1 / 3) / 11
    chance = (11 * 11 - (5 * 5 + 3 * 3 + 3 * 3)) / (11 * 10)
    assert found[0]["alpha"] == pytest.approx(1 - apart / chance)
    numbers = [2.0, 4.0, 5.0, 5.0]
    apart = 2 * 2**2 / 4
    chance = sum((x - y) ** 2 for x in numbers for y in numbers) / (4 * 3)
    assert found[1]["alpha"] == pytest.approx(1 - apart / chance)


def test_class_balance_takes_the_newest_truth(judged: Warehouse) -> None:
    found = rows(judged, "SELECT protocol, fold, part, class, n_utterances, share FROM class_balance ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [
        ("made", "1", "test", "neutral", 1, 0.5), ("made", "1", "test", "sad", 1, 0.5),
        ("made", "1", "train", "happy", 1, 0.5), ("made", "1", "train", "sad", 1, 0.5),
    ]  # fmt: skip


def test_hours(judged: Warehouse) -> None:
    assert rows(judged, "FROM hours") == [
        {"corpus": "main", "n_utterances": 4, "n_speakers": 1, "n_dialogues": 1, "n_recordings": 4,
         "hours": pytest.approx(8 / 3600), "median_s": 2.0}
    ]  # fmt: skip


@pytest.mark.parametrize(("view", "column"), [("hours", "hours"), ("costs", "seconds")])
def test_what_is_summed_is_the_same_to_the_last_digit_in_whatever_order_rows_come(view: str, column: str) -> None:
    """As threads bring them: of numbers of many sizes a plain sum has other last digits each time."""
    seconds = [(0.1 + n % 7) * 10.0 ** (n % 9 - 4) for n in range(300)]
    found = set()
    for n in range(3):
        with duckdb.connect() as connection:
            random.Random(n).shuffle(seconds)
            connection.execute("CREATE TABLE given AS SELECT unnest($seconds) AS s", {"seconds": seconds})
            for table in TABLES:
                connection.execute(f"CREATE TABLE {table}")
            ((answer,),) = connection.execute(f"SELECT {column} FROM ({VIEWS[view]})").fetchall()
            found.add(answer)
    assert len(found) == 1


def test_coverage_counts_inputs_not_utterances(tmp_path: Path) -> None:
    small = small_lake(tmp_path / "lake")
    for name, needs in (("voice", "audio"), ("words", "text"), ("pairs", "pair")):
        small.lake.set_ref(f"features/{name}", (small.lake.ref(f"features/{name}") or {}) | {"needs": needs})
    found = rows(small.lake, "SELECT name, corpus, wanted, present, failed, missing FROM coverage ORDER BY ALL")
    assert [tuple(row.values()) for row in found] == [
        ("pairs", "main", 1, 1, 0, 0), ("pairs", "other", 1, 0, 0, 1),
        ("voice", "main", 1, 1, 0, 0), ("voice", "other", 1, 1, 0, 0),
        ("words", "main", 1, 1, 0, 0), ("words", "other", 1, 1, 0, 0),
    ]  # fmt: skip


def test_costs_are_of_all_that_a_report_was_made_from(tmp_path: Path) -> None:
    small = small_lake(tmp_path / "lake")
    small.lake.set_ref("reports/small", {"artifact": small.named["metrics"].key})
    found = rows(small.lake, "FROM costs ORDER BY kind, step")
    counted = {(row["kind"], row["step"]): row["n_artifacts"] for row in found}
    assert counted[("metrics", "flows.report")] == counted[("checkpoint", "students.tiny")] == 1
    assert counted[("raw", "features.raw")] == 2 and ("selection", "flows.select") not in counted
    assert all(row["recipe"] == "small" and row["seconds"] >= 0 and row["n_bytes"] > 0 for row in found)
    used = {a.key for a in small.lake.artifacts()} - {small.named[name].key for name in ("selection", "intervals")}
    assert sum(counted.values()) == len(used)


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_lake_has_nothing_to_say(lake: Warehouse, view: str) -> None:
    assert rows(lake, f"FROM {view}") == []
