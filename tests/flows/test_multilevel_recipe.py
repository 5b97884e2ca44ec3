"""The shipped recipe of multi-level fusion, all its rows, on a few utterances of the sandbox through tiny networks."""

from __future__ import annotations

import numpy as np
import pytest

from flows.line import Line
from models import checkpoint
from models.students.multilevel import Multilevel
from tests.flows.multilevel import line_of
from tests.flows.tabled import printed_beside, rows_of_ours
from warehouse import Artifact
from warehouse.audit.verify import verify
from warehouse.schema import PREDICTIONS
from warehouse.shards import ShardReader
from warehouse.tables import read_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return line_of("multilevel", tmp_path_factory.mktemp("multilevel"))


def arrays(shards: list[Artifact]) -> dict[str, np.ndarray]:
    readers = [ShardReader(shard.folder) for shard in shards]
    return {name: reader.array(name) for reader in readers for name in reader}


def test_every_row_ends_in_the_report_and_all_are_tested_on_the_same_utterances(line: Line) -> None:
    assert line.recipe.report is not None and set(line.recipe.report.models) == set(line.recipe.models)
    tested = set()
    assert line.recipe.report.names[-1] == "combined"
    for name in line.recipe.report.names:
        [(_, predicted)] = line.predictions(name)
        rows = read_table(predicted.path("predictions.parquet"), PREDICTIONS).to_pylist()
        tested.add(tuple(row["utterance_id"] for row in rows if row["part"] == "test"))
    assert len(tested) == 1 and len(tested.pop()) > 5
    assert line.report().path("report.html").is_file()
    assert verify(line.warehouse) == []


def test_a_row_is_called_what_it_is_and_reads_two_layers_of_each_role(line: Line) -> None:
    letters = {"frame": "f", "phone": "p", "syllable": "s", "word": "w"}
    for name in line.recipe.models:
        [fitted] = line.model(name)
        card = checkpoint.read_card(fitted.checkpoint.folder)
        student = card.student
        assert isinstance(student, Multilevel)
        first = "".join(letters[one] for one in student.granularities)
        alone = "_".join([*student.granularities, *(["text"] if student.text else []), student.fusion])
        assert name in (f"{student.fusion}_{first}", alone)
        assert card.shapes.keys() == set(student.inputs)
        assert all(len(shape) == 3 and (shape[0], shape[2]) == (2, 16) for shape in card.shapes.values())


def test_segments_are_means_of_the_frames_they_lie_in(line: Line) -> None:
    shards = {role: arrays(own) for role, own in line.shards("late_fpsw").items()}
    for name, frames in shards["frames"].items():
        n_words, n_syllables, n_phones = (shards[role][name].shape[1] for role in ("words", "syllables", "phones"))
        assert 0 < n_words <= n_syllables <= n_phones <= frames.shape[1]
        low, high = frames.min(axis=1, keepdims=True), frames.max(axis=1, keepdims=True)
        for role in ("phones", "syllables", "words"):
            means = shards[role][name]
            assert (low - 1e-3 <= means).all() and (means <= high + 1e-3).all()


def test_the_papers_tables_have_our_rows_beside_theirs(line: Line) -> None:
    found = rows_of_ours(line)
    assert {name: len(models) for name, models in found.items()} == {"zhao-1": 10, "zhao-2": 8, "zhao-3": 4}
    assert "combined" in found["zhao-3"]
    assert {row["model"] for row in printed_beside(line)} == set.union(*found.values())
