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
    for fields, todo in (
        ({}, "name another in field `label`, or '' if there is none"),
        ({"label": "", "path": "wav"}, "name another in field `path`$"),
        ({"label": "", "attributes": ("age",)}, "leave it out of field `attributes`"),
    ):
        with pytest.raises(MalformedSource, match=todo):
            Table("c.csv", **fields).units(clips)


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


# -- odd tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfpath,label\r\ntwo.wav,so so\r\n",
        b"path,label\rtwo.wav, so so \r",
        b"path,label,\n\ntwo.wav,so so,\n\n\n",
        b'"path","label"\n".\\two.wav","so so"',
        b",label,path\n0,so so,a/../two.wav\n",
    ],
)
def test_one_table_in_the_forms_that_programs_write(clips: Path, read_all, raw: bytes) -> None:
    (clips / "c.csv").write_bytes(raw)
    rows = read_all(Table("c.csv", text="", speaker=""), clips)
    assert [(row["utterance_id"], row["path"]) for row in rows.utterances] == [("c-two", "two.wav")]
    assert [row["value"] for row in rows.labels] == ["so so"]


def test_a_text_of_several_lines_is_one_text(clips: Path, read_all) -> None:
    (clips / "c.csv").write_bytes(b'path,text\r\ntwo.wav,"Well,\r\nno ""more"""\r\n')
    (row,) = read_all(Table("c.csv", speaker="", label=""), clips).utterances
    assert (row["verbatim"], row["text"]) == ('Well,\r\nno "more"', 'Well, no "more"')


@pytest.mark.parametrize("file", ["c.csv", "c.jsonl"])
@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        ("0 days 00:00:00.25", "0 days 00:00:00.750000", (0.25, 0.75)),
        ("0:00:00.250000", "0:00:00.75", (0.25, 0.75)),
        ("00:00:00.250000001", "NaT", (0.250000001, 1.0)),
        ("", "0 days 00:00:01", (0.0, 1.0)),
    ],
)
def test_times_may_be_spans_as_pandas_writes_them(
    clips: Path, read_all, file: str, start: str, end: str, span: tuple[float, float]
) -> None:
    write(clips / file, [{"path": "two.wav", "from": start, "to": end}])
    (row,) = read_all(
        Table(file, text="", speaker="", label="", start_s="from", end_s="to"), clips
    ).utterances  # fmt: skip
    assert (row["start_s"], row["end_s"]) == span


@pytest.mark.parametrize("cell", ["0,25", "00:01", "inf", "nan", "1_0", "12 s", "-5000000 days"])
def test_what_is_no_time_is_named(clips: Path, cell: str) -> None:
    write(clips / "c.csv", [{"path": "two.wav", "from": cell}])
    problem = rf"row 1 has '{cell}' in column 'from', which must hold seconds, or a span such as '0 days 00:00:01\.5'"
    with pytest.raises(MalformedSource, match=problem):
        Table("c.csv", text="", speaker="", label="", start_s="from").units(clips)


def test_a_number_is_one_as_people_write_it(clips: Path, read_all) -> None:
    rows = [{"path": "two.wav", "label": cell, "id": cell} for cell in ("1_0", "1e1", "inf", "-3")]
    write(clips / "c.jsonl", rows)
    found = read_all(Table("c.jsonl", text="", speaker="", id="id"), clips)
    assert [(row["value"], row["number"]) for row in found.labels] == [
        ("1_0", None), ("1e1", 10.0), ("inf", None), ("-3", -3.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "raw"),
    [
        ("c.csv", b"path;label\ntwo.wav;x\n"),
        ("c.csv", b"path\tlabel\ntwo.wav\tx\n"),
        ("c.tsv", b"path,label\ntwo.wav,x\n"),
    ],
)
def test_cells_parted_by_something_else_are_told(clips: Path, file: str, raw: bytes) -> None:
    (clips / file).write_bytes(raw)
    problem = (
        r"no column 'path' \(there are: 'path.{1,2}label'\): part the cells of a \.csv by commas, of a \.tsv by tabs"
    )
    with pytest.raises(MalformedSource, match=problem):
        Table(file, text="", speaker="").units(clips)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"label": ["a", "b"]}, "row 1 has a list in column 'label', which must hold one value"),
        ({"path": {"file": "two.wav"}}, "row 1 has a mapping in column 'path'"),
        ({"text": "so \ud83d"}, "row 1 has half of a character in column 'text'"),
        ({"path": "\udcf6.wav"}, "row 1 has half of a character in column 'path'"),
        ({"who": ["x"]}, "row 1 has a list in column 'who'"),
    ],
)
def test_a_cell_that_is_no_text_is_refused_where_it_is_named(clips: Path, read_all, row: dict, problem: str) -> None:
    write(clips / "c.jsonl", [{"path": "two.wav", "text": "", "label": "", "who": "x", "more": [1, {"a": 2}]} | row])
    reader = Table("c.jsonl", speaker="", attributes=("who",))
    with pytest.raises(MalformedSource, match=rf"c\.jsonl: {problem}"):
        read_all(reader, clips)


def test_parquet_with_nulls_and_categories(clips: Path, read_all) -> None:
    columns = {
        "path": pa.array(["two.wav", "a/one.wav"]).dictionary_encode(),
        "label": pa.array(["x", None]).dictionary_encode(),
        "from": pa.array([None, 0.5]),
        "rate": pa.array([3, None]),
        "when": pa.array([2**50], pa.timestamp("ms")).take(pa.array([0, 0])),  # beyond Python's, and not asked for
    }
    pq.write_table(pa.table(columns), clips / "c.parquet")
    rows = read_all(Table("c.parquet", text="", speaker="", start_s="from", attributes=("rate",)), clips)
    assert [(row["start_s"], row["attributes"]) for row in rows.utterances] == [(0.0, {"rate": "3"}), (0.5, {})]
    assert [row["value"] for row in rows.labels] == ["x"]
    with pytest.raises(MalformedSource, match=r"row 1 has no column 'file' \(there are: 'path', 'label', 'from'"):
        Table("c.parquet", path="file", text="", speaker="", label="").units(clips)


@pytest.mark.parametrize("path", ["x" * 300 + ".wav", "two\0.wav", "two.wav/deeper.wav", "a", "https://host/two.wav"])
def test_a_path_that_leads_to_no_file_is_a_failure(clips: Path, read_all, path: str) -> None:
    write(clips / "c.jsonl", [{"path": path}, {"path": "two.wav"}])
    rows = read_all(Table("c.jsonl", text="", speaker="", label=""), clips)
    assert len(rows.utterances) == 1 and rows.failures[0]["reason"].startswith("there is no file ")
