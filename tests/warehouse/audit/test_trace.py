"""The way of one number to its bytes, and of an utterance to all that holds a row about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.warehouse.small_lake import MAIN, SmallLake, small_lake
from warehouse import Warehouse
from warehouse.audit.subject import places_of, subject_of
from warehouse.audit.trace import trace
from warehouse.errors import ArtifactNotFound
from warehouse.schema import pair_id


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def hops_of(small: SmallLake, utterance_id: str | None, role: str) -> list[tuple[str, str]]:
    """The hops of one role's shard: what, and the name of the artifact in the small lake."""
    names = {a.key: name for name, a in small.named.items()}
    hops = trace(small.lake, small.predictions, utterance_id)
    starts = [i for i, hop in enumerate(hops) if hop.what == "shard" and hop.note.startswith(f"{role}, bytes")]
    rest = hops[starts[0] + 1 :]
    end = next((i for i, hop in enumerate(rest) if hop.what == "shard"), len(rest))
    return [(hop.what, names[hop.key]) for hop in [hops[starts[0]], *rest[:end]]]


def test_a_trace_begins_with_the_number_and_its_checkpoint(small: SmallLake) -> None:
    first, *judging, checkpoint = trace(small.lake, small.predictions)[:4]
    assert (first.what, first.key) == ("prediction", small.predictions.key)
    assert first.note == "u1: labelled happy, predicted happy"
    assert [(hop.what, hop.key, hop.note) for hop in judging] == [
        ("truth", small.named["truth"].key, "u1: happy"),
        ("labels", small.named["labels main"].key, "summary: emotion happy"),
    ]
    assert (checkpoint.what, checkpoint.note) == ("checkpoint", "students.tiny, seed 7")


def test_what_has_no_truth_is_traced_without_a_label(small: SmallLake) -> None:
    first, second, *_ = trace(small.lake, small.predictions, "v1")
    assert (first.note, second.what) == ("v1: labelled None, predicted happy", "checkpoint")
    shutil.rmtree(small.named["truth"].folder)
    first, second, *_ = trace(Warehouse(small.lake.root), small.predictions, "u1")
    assert (first.note, second.what) == ("u1: labelled None, predicted happy", "checkpoint")


@pytest.mark.parametrize(
    ("utterance_id", "role", "expected"),
    [
        ("u1", "voice", ["voice shard main", "voice main", "utterances main", "raw main"]),
        ("v1", "voice", ["voice shard other", "voice other", "utterances other", "raw other"]),
        ("u1", "words", ["words shard", "words main", "utterances main", "raw main"]),
        ("v1", "words", ["words shard", "words main", "utterances main", "raw main"]),  # u1's words, the same
        ("u1", "pairs", ["pairs shard", "pairs main", "utterances main", "raw main"]),
    ],
)
def test_every_shard_is_followed_to_the_bytes(
    small: SmallLake, utterance_id: str, role: str, expected: list[str]
) -> None:
    whats = ["shard", "feature row", "utterance", "raw file"]
    assert hops_of(small, utterance_id, role) == list(zip(whats, expected, strict=True))


def test_texts_are_followed_without_features(small: SmallLake) -> None:
    expected = [("shard", "text shard"), ("utterance", "utterances main"), ("raw file", "raw main")]
    assert hops_of(small, "u1", "text") == expected


def test_segments_are_followed_to_their_intervals_too(small: SmallLake) -> None:
    voice, words = small.named["voice main"], small.named["intervals"]
    pair, members = pair_id(MAIN["audio_id"], MAIN["text_id"]), np.ones((2, 1), np.float32)
    means = small.shards("means", "m", [("u1", MAIN["audio_id"], members)], {"features": [voice], "intervals": [words]})
    times = small.shards("times", "t", [("u1", pair, members)], {"intervals": [words]})
    table = pq.read_table(small.predictions.path("predictions.parquet"))
    small.predictions = small.make(
        "predictions", "predictions", "models.predict", lambda f: pq.write_table(table, f / "predictions.parquet"),
        {"checkpoint": [small.named["checkpoint"]], "shards:means": [means], "shards:times": [times]}, version=2,
    )  # fmt: skip
    last = [("intervals", "intervals"), ("utterance", "utterances main"), ("raw file", "raw main")]
    assert hops_of(small, "u1", "means") == [("shard", "means"), ("feature row", "voice main"), *last]
    assert hops_of(small, "u1", "times") == [("shard", "times"), *last]


def test_a_trace_ends_at_file_and_seconds_and_its_bytes_are_the_members(small: SmallLake) -> None:
    hops = trace(small.lake, small.predictions, "u1", {"main": "/corpora/main"})
    last = [hop for hop in hops if hop.what == "raw file"][-1]
    assert last.note == f"/corpora/main/wav/u1.wav, seconds 1.000–3.000, sha256 {MAIN['recording_id']}"
    shard = next(hop for hop in hops if hop.note.startswith("text, bytes "))
    start, end = map(int, shard.note.removeprefix("text, bytes ").split("–"))
    assert small.lake.resolve(shard.key).path("shard.tar").read_bytes()[start:end] == b"so it is"


def test_a_trace_of_nothing_says_what_is_missing(small: SmallLake) -> None:
    with pytest.raises(ArtifactNotFound, match="name 'u77'"):
        trace(small.lake, small.predictions, "u77")
    shutil.rmtree(small.named["checkpoint"].folder)
    with pytest.raises(ArtifactNotFound, match=f"name '{small.named['checkpoint'].digest}'"):
        trace(Warehouse(small.lake.root), small.predictions, "u1")


def test_words_without_sound_are_traced_to_file_and_line(tmp_path: Path) -> None:
    small = SmallLake(tmp_path / "lake")
    silent = {"start_s": 0.0, "end_s": 0.0, "channel": "", "audio_id": "", "path": "lines.txt"}
    rows = [
        MAIN | silent | {"utterance_id": "t1", "attributes": {"line": "12"}},
        MAIN | silent | {"utterance_id": "t2", "attributes": {"sentence": "3.1"}},
        MAIN | silent | {"utterance_id": "t3", "attributes": {}},
    ]
    small.ingested("main", small.reading("main", rows))
    for name, place in (("t1", "line 12"), ("t2", "sentence 3.1"), ("t3", "text only")):
        [found] = places_of(small.lake, subject_of(small.lake, name))
        assert (found["utterance"], found["file"]) == (name, f"{tmp_path}/main/lines.txt")
        assert found["where"] == f"{place}, sha256 {MAIN['recording_id']}"
