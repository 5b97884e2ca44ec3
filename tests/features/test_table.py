from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from features.corpora.table import Table
from warehouse.errors import MalformedSource, MissingFolder

ROWS = [
    {"wav": "a/one.wav", "words": "Well,  no.", "who": "ann", "mood": "angry", "from": 0.25, "to": 0.75},
    {"wav": "a/one.wav", "words": "Yes.", "who": "bob", "mood": "happy", "from": 0.75, "to": 1.0},
    {"wav": "two.wav", "words": None, "who": None, "mood": None, "from": None, "to": None},
]
NAMES = {"path": "wav", "text": "words", "speaker": "who", "label": "mood", "start_s": "from", "end_s": "to"}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for name in ("a/one.wav", "two.wav"):
        soundfile.write(tmp_path / name, np.zeros(16_000, np.int16), 16_000)
    return tmp_path


def write(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with open(path, "w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize("file", ["clips.csv", "clips.tsv", "clips.jsonl", "clips.parquet"])
def test_every_form_gives_the_same_rows(clips: Path, read_all, file: str) -> None:
    write(clips / file, ROWS)
    reader = Table(file, **NAMES)
    assert reader.units(clips) == {"table": [file, "a/one.wav", "two.wav"]}
    rows = read_all(reader, clips, "lab")
    found = [
        [row[name] for name in ("utterance_id", "start_s", "end_s", "text", "verbatim", "speaker_id", "path")]
        for row in rows.utterances
    ]
    assert found == [
        ["lab-a_one_08ecad-00000250", 0.25, 0.75, "Well, no.", "Well,  no.", "ann", "a/one.wav"],
        ["lab-a_one_08ecad-00000750", 0.75, 1.0, "Yes.", "Yes.", "bob", "a/one.wav"],
        ["lab-two", 0.0, 1.0, "", "", "", "two.wav"],
    ]
    assert [(row["scheme"], row["rater"], row["value"], row["number"]) for row in rows.labels] == [
        ("emotion", "summary", "angry", None), ("emotion", "summary", "happy", None)
    ]  # fmt: skip
    assert not rows.failures


def test_the_real_clips(real: Path, read_all) -> None:
    reader = Table("emotional_manifest.jsonl", path="file", label="emotion", language="lang")
    rows = read_all(reader, real, "emodb")
    assert (len(rows.utterances), len(rows.labels), rows.failures) == (71, 71, [])
    assert len({row["speaker_id"] for row in rows.utterances}) == 6
    assert {row["value"] for row in rows.labels} == {"angry", "happy", "neutral", "sad"}
    assert {(row["language"], row["end_s"]) for row in rows.utterances} == {("de", 2.0)}


def test_all_columns(clips: Path, read_all) -> None:
    row = {"path": "./a/../two.wav", "text": "t", "speaker": "s", "label": "3.5", "part": "dev", "talk": "d",
           "day": "2", "lang": "en", "name": "x 1"}  # fmt: skip
    write(clips / "c.csv", [row, {**row, "name": "x 2"}])
    reader = Table("c.csv", split="part", dialogue="talk", session="day", language="lang", id="name", scheme="valence")
    rows = read_all(reader, clips)
    first, second = rows.utterances
    assert (first["utterance_id"], first["path"]) == ("c-x_1_1d8425", "two.wav")
    assert (first["split"], first["dialogue_id"]) == ("dev", "d")
    assert (first["session"], first["language"], first["turn"], second["turn"]) == ("2", "en", 0, 1)
    assert [(row["scheme"], row["value"], row["number"]) for row in rows.labels] == 2 * [("valence", "3.5", 3.5)]


def test_columns_kept_as_attributes(clips: Path, read_all) -> None:
    write(clips / "c.jsonl", [{"path": "two.wav", "text": "t", "age": 31, "accent": None}])
    reader = Table("c.jsonl", speaker="", label="", attributes=("age", "text", "accent"))
    assert [row["attributes"] for row in read_all(reader, clips).utterances] == [{"age": "31", "text": "t"}]
    with pytest.raises(MalformedSource, match="row 1 has no column 'aeg'"):
        Table("c.jsonl", speaker="", label="", attributes=("aeg",)).units(clips)


def test_columns_that_are_not_named_are_absent(clips: Path, read_all) -> None:
    write(clips / "c.csv", [{"path": "two.wav"}])
    rows = read_all(Table("c.csv", text="", speaker="", label=""), clips)
    assert len(rows.utterances) == 1
    assert not rows.labels


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"wav": "none.wav"}, "there is no file none.wav"),
        ({"wav": "bad.wav"}, "bad.wav cannot be decoded as audio (Format not recognised)"),
        ({"from": 0.5, "to": 1.2}, "the span [0.5, 1.2] s passes the end of the recording at 1 s"),
        ({"from": 0.5, "to": 0.5}, "the span [0.5, 0.5] s is empty or starts before 0"),
        ({"from": -0.5, "to": 0.5}, "the span [-0.5, 0.5] s is empty or starts before 0"),
        ({"from": 1.5, "to": None}, "the span [1.5, 1.0] s is empty or starts before 0"),
    ],
)
def test_rows_that_cannot_be_heard_are_failures(clips: Path, read_all, row: dict, reason: str) -> None:
    (clips / "bad.wav").write_bytes(b"none")
    bad = {**ROWS[0], **row, "from": 0.1, "to": 0.2, "wav": "bad.wav"}
    write(clips / "c.jsonl", [ROWS[2], {**ROWS[0], **row}, bad])
    rows = read_all(Table("c.jsonl", **NAMES), clips)
    assert len(rows.utterances) == 1
    assert [failure["reason"] for failure in rows.failures] == [
        reason, "bad.wav cannot be decoded as audio (Format not recognised)"
    ]  # fmt: skip
    assert {failure["step"] for failure in rows.failures} == {"corpora.table"}


@pytest.mark.parametrize("path", ["/etc/hosts", "../two.wav", "a/../../two.wav", "..", "", "C:/two.wav", "..\\two.wav"])
def test_paths_may_not_leave_the_root(clips: Path, path: str) -> None:
    write(clips / "c.jsonl", [{"path": path}])
    with pytest.raises(MalformedSource, match=r"c.jsonl: row 1 has the path .*: paths must lie below the root"):
        Table("c.jsonl", text="", speaker="", label="").units(clips)


def test_a_missing_column_names_those_there_are(clips: Path) -> None:
    write(clips / "c.csv", [{"path": "two.wav", "text": "t", "speaker": "s", "emotion": "x"}])
    with pytest.raises(MalformedSource, match=r"row 1 has no column 'label' \(there are: 'path', 'text', 'speaker', '"):
        Table("c.csv").units(clips)


def test_other_mistakes(clips: Path, read_all) -> None:
    def refused(file: str, raw: bytes, problem: str, **names: str) -> None:
        (clips / file).write_bytes(raw)
        with pytest.raises(MalformedSource, match=f"{file}: {problem}"):
            read_all(Table(file, **{"text": "", "speaker": "", "label": "", **names}), clips)

    refused("c.csv", b"path\ntwo.wav\ntwo.wav\n", "row 2 is a second utterance 'c-two': name a column of ids in `id`")
    refused("c.csv", b"path,n\ntwo.wav,1\na/one.wav,1\n", "row 2 is a second utterance 'c-1': ids must differ", id="n")
    refused("c.csv", b"path,at\ntwo.wav,soon\n", "row 1 has 'soon' in column 'at', which must", start_s="at")
    refused("c.csv", b"path,at\ntwo.wav,nan\n", "row 1 has 'nan' in column 'at'", start_s="at")
    refused("c.csv", b"path,at\ntwo.wav,1e307\n", "row 1 has '1e307' in column 'at'", start_s="at")
    refused("c.csv", b"path,at\ntwo.wav\n", "line 2 has not 2 cells")
    refused("c.csv", b"path\n\xff\n", "it is not UTF-8")
    refused("c.jsonl", b"{'path'}\n", "line 1 is no JSON")
    refused("c.jsonl", b"[1]\n", "line 1 is no JSON object")
    refused("c.parquet", b"PAR1", "it is no Parquet file")
    refused("c.xlsx", b"", "a table must be one of .csv, .tsv, .jsonl, .parquet")
    refused("c.csv", b"path\n", "it has no row")
    refused("c.jsonl", b"", "it has no row")
    refused("c.csv", b"path\n", "field `path` must name the column of media files", path="")
    with pytest.raises(MissingFolder, match=r"the table 'none.csv' is not at"):
        Table("none.csv").units(clips)


@pytest.mark.parametrize("file", ["{}/clips.csv", "../clips.csv", "a/../../clips.csv"])
def test_a_table_outside_the_root_is_refused(clips: Path, file: str) -> None:
    write(clips / "clips.csv", ROWS)
    with pytest.raises(MalformedSource, match=r"clips\.csv: the table must lie below the root of the corpus"):
        Table(file.format(clips), **NAMES).units(clips / "a")
