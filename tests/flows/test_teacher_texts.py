"""What a teacher has read is found through manifests: made up here step by step, and in the lake of a whole run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from features.extract import feature_schema
from features.extractors.glove import Glove
from features.inventory import row_identity
from features.plugin import FeatureSpec
from features.retell import retold_row
from flows.leakage import leakage
from flows.pack import Told, pack_text_works, pack_works
from flows.teacher_texts import TEXTS, teacher_texts
from tests.flows.fits import checkpoint, corpus, split, text_shards
from tests.flows.made import LOGITS, features, utterances
from tests.flows.small import Small
from warehouse import Artifact, Request, Warehouse
from warehouse.schema import FAILURES, SPLIT, UTTERANCES, text_id
from warehouse.tables import array_cells, check_table, read_table, write_rows


@dataclasses.dataclass(frozen=True)
class Made:
    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def read_from(lake: Warehouse, made: Artifact) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, texts in teacher_texts(lake, made).items():
        table = pa.Table.from_batches(texts)
        check_table(table, TEXTS, "the texts")
        for row in table.to_pylist():
            assert row["text_id"] == text_id(row["text"])
            assert row["utterance_id"] not in found.setdefault(key, set()), "each is given once"
            found[key].add(row["utterance_id"])
    return found


def test_the_train_part_of_what_was_packed_has_been_read(lake: Warehouse) -> None:
    reading = corpus(lake, "lines", 3)
    keep = {"lines-train0", "lines-train1", "lines-dev0"}
    made = checkpoint(lake, split(lake, reading), {"text": text_shards(lake, reading, keep)})
    assert read_from(lake, made) == {made.key: {"lines-train0", "lines-train1"}}


def test_a_student_has_its_teachers_behind_it(lake: Warehouse) -> None:
    """Language model → teacher → its features → student: two corpora of text lie behind a model of sound."""
    films, lines, acted = (corpus(lake, name, 1) for name in ("films", "lines", "acted"))
    language = checkpoint(lake, split(lake, films), {"words": text_shards(lake, films)})
    teacher = checkpoint(lake, split(lake, lines), {"text": text_shards(lake, lines)}, init=language)
    ids = read_table(acted.path("utterances.parquet"), UTTERANCES).column("text_id").to_pylist()
    rows = features(lake, dict.fromkeys(ids, (0.0, 1.0)))
    request = Request(
        "features", "extractors.made", 1, dict(rows.request.params) | {"weights": teacher.digest},
        {"utterances": (acted.digest,), "checkpoint": (teacher.digest,)},
    )  # fmt: skip
    logits = lake.materialize(request, lambda folder: _copied(rows, folder))
    shards = [lake.perform(w) for w in pack_works([acted], "extractors.made", Made(), "logits", LOGITS, [logits])]
    student = checkpoint(lake, split(lake, acted), {"text": shards})
    assert read_from(lake, student) == {language.key: {"films-train0"}, teacher.key: {"lines-train0"}}
    assert read_from(lake, teacher) == {language.key: {"films-train0"}, teacher.key: {"lines-train0"}}


def glove_shards(lake: Warehouse, said: Artifact, of: Artifact) -> list[Artifact]:
    """Shards of one reading's vectors, whose rows were extracted for another that says the same."""
    plugin = Glove("w")
    ids = read_table(of.path("utterances.parquet"), UTTERANCES).column("text_id").unique().to_pylist()
    rows = [{"input_id": i} | array_cells("vectors", np.zeros((1, 2), np.float32)) for i in ids]
    vectors = FeatureSpec("token", ("token", "dim"), 2)

    def write(folder: Path) -> None:
        write_rows(folder / "features.parquet", rows, feature_schema({"vectors": vectors}))
        write_rows(folder / "failures.parquet", [], FAILURES)

    params = {"plugin": row_identity("extractors.glove", plugin), "ids": ids}
    made = lake.materialize(Request("features", "extractors.glove", 1, params, {"utterances": (of.digest,)}), write)
    return [lake.perform(w) for w in pack_works([said], "extractors.glove", plugin, "vectors", vectors, [made])]


def test_who_learned_from_features_of_texts_has_read_the_texts(lake: Warehouse) -> None:
    lines = corpus(lake, "lines", 2)
    made = checkpoint(lake, split(lake, lines), {"words": glove_shards(lake, lines, lines)})
    found = read_from(lake, made)
    assert found == {made.key: {"lines-train0", "lines-train1"}}
    student = checkpoint(lake, split(lake, corpus(lake, "acted", 1)), {}, init=made)
    assert read_from(lake, student) == found


def test_of_a_text_that_two_corpora_share_the_one_it_was_extracted_for_stands_for_both(lake: Warehouse) -> None:
    said = "nobody told me that this would happen today"
    films, lines = corpus(lake, "films", 1, text=said), corpus(lake, "lines", 1, text=said)
    made = checkpoint(lake, split(lake, lines), {"words": glove_shards(lake, lines, films)})
    [texts] = teacher_texts(lake, made).values()
    rows = pa.Table.from_batches(texts).to_pylist()
    assert {row["text"] for row in rows} == {said} and {row["utterance_id"][:5] for row in rows} == {"films"}


def test_texts_that_are_told_again_have_been_read_as_they_are_told(lake: Warehouse) -> None:
    """Their shards go by the ids of the corpus they are told from, under which the words are others."""
    lines = corpus(lake, "lines", 2)
    rows = {row["utterance_id"]: row for row in read_table(lines.path("utterances.parquet"), UTTERANCES).to_pylist()}
    again = {name: retold_row(row, "told", {}, text=said, text_id=text_id(said))
             for name, row in rows.items() for said in [f"new {name}"]}  # fmt: skip
    told = utterances(lake, list(again.values()), "told")
    works = pack_text_works([lines], None, Told("told", again, dict.fromkeys(again, told)))
    made = checkpoint(lake, split(lake, lines), {"text": [lake.perform(work) for work in works]})
    assert read_from(lake, made) == {made.key: {"told-train0", "told-train1"}}


def _copied(artifact: Artifact, folder: Path) -> None:
    for name in artifact.files:
        (folder / name).write_bytes(artifact.path(name).read_bytes())


def test_who_read_nothing_has_no_texts(lake: Warehouse) -> None:
    reading = corpus(lake, "acted", 1)
    made = checkpoint(lake, split(lake, reading), {})
    assert teacher_texts(lake, made) == {}


def test_test_texts_that_a_teacher_has_read_are_found_by_their_words_not_by_names(lake: Warehouse) -> None:
    said = "nobody told me that this would happen today"
    lines, acted = corpus(lake, "lines", 1, text=said), corpus(lake, "acted", 2)
    made = checkpoint(lake, split(lake, lines), {"text": text_shards(lake, lines)})
    table = read_table(acted.path("utterances.parquet"), UTTERANCES)
    parts = read_table(split(lake, acted).path("split.parquet"), SPLIT)

    def found() -> set[tuple[str, str, int]]:
        leaks = leakage(table, parts, teachers=teacher_texts(lake, made)).found
        return {(leak.kind, leak.part, leak.n_utterances) for leak in leaks if leak.against == f"teacher {made.key}"}

    assert found() == set()
    rows = table.to_pylist()
    changed = [row | {"text": said.upper()} if row["utterance_id"] == "acted-test1" else row for row in rows]
    table = type(table).from_pylist(changed, schema=UTTERANCES)
    assert found() == {("text", "test", 1), ("near text", "test", 1)}


def test_the_lineage_of_a_whole_run_reaches_both_text_corpora(small: Small) -> None:
    lake = small.warehouse
    students = [a for a in lake.artifacts("checkpoint") if a.request.step == "students.mced"]
    for student in students:
        behind = [{name.partition("-")[0] for name in ids} for ids in read_from(lake, student).values()]
        assert sorted(map(sorted, behind)) == [["films"], ["films"], ["meld"]], (
            "language model and teacher by transcripts, the student that imitated the teacher by features of them"
        )
    assert students
