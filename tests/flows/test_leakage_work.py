"""Leakage as an artifact: what is in its identity, that it is read back as it was, and what a report takes from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.leakage_work import differing_counts, leakage_work, read_leakage, teachers_of, told, warned
from flows.leaks import Leakage
from tests.flows.fits import checkpoint, corpus, split, text_shards, truth
from warehouse import Artifact, Request, Warehouse, Work

SAME_WORDS = ("text", "test", "train")
SAID = "nobody told me that this would happen today"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def fit(
    lake: Warehouse, name: str, init: Artifact | None = None, **columns: str
) -> tuple[Artifact, Artifact, Artifact]:
    """A reading, its split, and a checkpoint fitted on its texts."""
    reading = corpus(lake, name, 2, **columns)
    parts = split(lake, reading)
    return reading, parts, checkpoint(lake, parts, {"text": text_shards(lake, reading)}, init)


def leakage_of(lake: Warehouse, reading: Artifact, parts: Artifact, made: Artifact) -> Leakage:
    return read_leakage(lake.perform(work_of(lake, reading, parts, made)))


def work_of(lake: Warehouse, reading: Artifact, parts: Artifact, made: Artifact) -> Work:
    return leakage_work(lake, "p", "all", parts, truth(lake, reading), made, [reading])


def test_the_teacher_of_a_student_is_looked_at_and_the_student_is_not_its_own_teacher(lake: Warehouse) -> None:
    _, _, teacher = fit(lake, "lines", text=SAID, speaker_id="")
    reading, parts, student = fit(lake, "acted", teacher, text=SAID, speaker_id="")
    assert teachers_of(lake, student) == [teacher] and teachers_of(lake, teacher) == []
    found = leakage_of(lake, reading, parts, student)
    against = {leak.against for leak in found.leaks}
    assert against == {"train", "dev", f"teacher {teacher.key}"}
    (leak,) = [k for k in found.found if (k.kind, k.part, k.against[:7]) == ("text", "test", "teacher")]
    assert (leak.n_utterances, leak.n_compared) == (2, 2)


def test_what_was_compared_is_in_the_file_and_in_the_key(lake: Warehouse) -> None:
    reading, parts, alone = fit(lake, "acted")
    work = work_of(lake, reading, parts, alone)
    assert work.request.inputs == {
        "split": (parts.digest,), "truth": (truth(lake, reading).digest,), "utterances": (reading.digest,),
        "teachers": (),
    }  # fmt: skip
    artifact = lake.perform(work)
    content = json.loads(artifact.path("leakage.json").read_text(encoding="utf-8"))
    assert read_leakage(artifact).as_json() == content
    assert content["compared"] == read_leakage(artifact).digest and content["rules"] == work.request.params["rules"]
    _, _, teacher = fit(lake, "lines")
    taught = checkpoint(lake, parts, {"text": text_shards(lake, reading)}, teacher)
    assert work_of(lake, reading, parts, taught).request.key != work.request.key


def test_whether_what_is_shared_has_the_same_label_is_told_by_the_truth(lake: Warehouse) -> None:
    reading, parts, made = fit(lake, "acted", text=SAID)
    (leak,) = [k for k in leakage_of(lake, reading, parts, made).found if (k.kind, k.part, k.against) == SAME_WORDS]
    assert (leak.n_agree, leak.n_labelled) == (2, 2)


def test_a_report_tells_all_and_warns_of_what_touches_a_test_number(lake: Warehouse) -> None:
    reading, parts, made = fit(lake, "acted", text=SAID)
    found = leakage_of(lake, reading, parts, made)
    leakages = {"one": [found], "other": [found]}
    sentences = told(leakages)
    assert len(sentences) == len(set(sentences)), "two models of one split say it once"
    kinds = {(leak.part, leak.against) for leak in found.found}
    assert kinds == {("test", "train"), ("dev", "train"), ("test", "dev")}
    assert set(warned(leakages)) < set(sentences)
    assert all(" test " in sentence and "dev" not in sentence for sentence in warned(leakages))
    assert warned({}) == told({}) == []


def test_counts_that_are_not_the_published_ones_are_told_once_per_protocol(lake: Warehouse) -> None:
    rows = [
        {"what": "happy", "expected": 3, "found": 4, "difference": 1},
        {"what": "sad", "expected": 2, "found": 2, "difference": 0},
    ]

    def write(folder: Path) -> None:
        (folder / "counts.json").write_text(json.dumps(rows))

    counted = lake.materialize(Request("truth", "made", 1, {}), write)
    plain = truth(lake, fit(lake, "acted")[0])
    told_of = differing_counts([("teacher5", counted), ("teacher5", counted), ("meld7", plain)])
    assert told_of == ["Protocol 'teacher5' does not give the published counts: 4 happy instead of 3 (+1)."]
