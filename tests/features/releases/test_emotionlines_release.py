from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from features.releases.emotionlines_release import Fault, Line, find_files, read_table
from warehouse.errors import MissingFolder

GOOD = {"speaker": "Clara", "utterance": "So…", "emotion": "joy", "annotation": "1310000"}


def table_of(*dialogues: Any) -> Any:
    return read_table(json.dumps(dialogues).encode())


def test_lines_and_their_votes() -> None:
    table = table_of([GOOD, GOOD | {"annotation": "2210000", "emotion": "non-neutral"}], [GOOD])
    assert table.lines[0] == Line(0, 0, "Clara", "So…", "joy", (1, 3, 1, 0, 0, 0, 0))
    assert [line.majority for line in table.lines] == ["joy", "non-neutral", "joy"]
    assert [line.name for line in table.lines] == ["dia0_utt0", "dia0_utt1", "dia1_utt0"]
    assert (table.faults, table.n_dialogues) == ((), 2)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"\xff[]", "it is not UTF-8 (invalid start byte at byte 0)"),
        (b"[[}", "it is no JSON (Expecting value"),
        (b"[" * 100_000, "it is no JSON ("),
        (b'{"a": []}', "it is no list of dialogues, each a list of utterances"),
        (b'[{"speaker": "Clara"}]', "it is no list of dialogues"),
    ],
)
def test_a_file_that_is_none(raw: bytes, problem: str) -> None:
    (fault,) = read_table(raw).faults
    assert (fault.name, fault.where) == ("malformed_file", "") and fault.problem.startswith(problem)


@pytest.mark.parametrize(
    ("row", "name", "problem"),
    [
        ("text", "malformed_row", "it has not the texts speaker, utterance, emotion, annotation"),
        (GOOD | {"annotation": 1310000}, "malformed_row", "it has not the texts"),
        ({"speaker": "Clara"}, "malformed_row", "it has not the texts"),
        (GOOD | {"utterance": "a \ud83d b"}, "malformed_row", "its utterance holds half of a character"),
        (GOOD | {"speaker": "\udc00"}, "malformed_row", "its speaker holds half of a character"),
        (GOOD | {"emotion": "happy"}, "unknown_emotion", "its emotion is the unknown 'happy'"),
        (GOOD | {"annotation": "131000"}, "malformed_votes", "its votes '131000' are not one digit for each of 7"),
        (GOOD | {"annotation": "131000²"}, "malformed_votes", "its votes '131000²'"),
    ],
)
def test_a_row_that_cannot_be_read_leaves_its_neighbours(row: Any, name: str, problem: str) -> None:
    table = table_of([GOOD], [row, GOOD])
    (fault,) = table.faults
    assert (fault.name, fault.where) == (name, "dia1_utt0") and fault.problem.startswith(problem)
    assert len(table.lines) == 2


def test_a_dialogue_without_lines_is_a_fault() -> None:
    assert table_of([GOOD], []).faults == (Fault("empty_dialogue", "dia1", "it has no utterance"),)


def test_files_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "Friends").mkdir()
    for name in ("friends.train.json", "friends.json", "friends.json.bak"):
        (tmp_path / "Friends" / name).touch()
    (tmp_path / "friends.dev.json").mkdir()  # a folder is none
    assert set(find_files(tmp_path)) == {"friends.train.json", "friends.json"}
    with pytest.raises(MissingFolder, match="EmotionLines is not at"):
        find_files(tmp_path / "nowhere")
