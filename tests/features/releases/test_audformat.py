"""Folders written by the audformat package give the rows of the equal CSV, and nothing of them is run."""

from __future__ import annotations

import csv
import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audformat as written
import numpy as np
import pandas as pd
import pytest
import soundfile

from features.corpora.table import Table
from features.plugin import Rows
from features.releases.audformat import open_folder, rows, source_files
from warehouse.errors import MalformedSource, MissingFolder

FORMS = ["csv", "parquet"]
SEGMENTS = {
    "train": [("wav/one.wav", 0.0, 0.500000001, "happy", 0.1), ("wav/one.wav", 0.5, 0.75, None, 1.0)],
    "test": [("wav/two.wav", 0.1, None, "sad", None)],
}
SPEAKER = {"wav/one.wav": 3, "wav/two.wav": 8}
PEOPLE = {3: ("m", "ann"), 8: ("f", "bob")}
SAID = {"a01": "Der Lappen liegt auf dem Eisschrank.", "a02": "Das will sie am Mittwoch abgeben."}
TEXTS = {"wav/one.wav": "a01", "wav/two.wav": "a02"}
READER = Table(
    "db.yaml", tables=("emotion.train", "emotion.test"), label="emotion", speaker="files:speaker",
    text="files:said/text", session="files:speaker/name", attributes=("sure.of", "files:speaker/gender", "at"),
)  # fmt: skip


def save(root: Path, form: str) -> None:
    """A folder with segmented tables of two splits, and a filewise one whose schemes say more of their labels."""
    db = written.Database("made", source="here", usage="research")
    db.schemes["emotion"] = written.Scheme(labels=["happy", "sad"])
    db.schemes["said"] = written.Scheme(labels=SAID)
    db["people"] = written.MiscTable(pd.Index(list(PEOPLE), name="speaker"))
    for position, name in enumerate(("gender", "name")):
        db["people"][name] = written.Column()
        db["people"][name].set([person[position] for person in PEOPLE.values()])
    db.schemes["speaker"] = written.Scheme("int", labels="people")
    db.schemes["float"] = written.Scheme("float")
    db.schemes["time"] = written.Scheme("time")
    for part, segments in SEGMENTS.items():
        db.splits[part] = written.Split(part)
        files, starts, ends, emotions, sure = (list(column) for column in zip(*segments, strict=True))
        index = written.segmented_index(files, times(starts), times(ends))
        table = db[f"emotion.{part}"] = written.Table(index, split_id=part)
        for name, scheme, cells in (
            ("emotion", "emotion", emotions), ("sure.of", "float", sure), ("at", "time", times(starts)),
        ):  # fmt: skip
            table[name] = written.Column(scheme_id=scheme)
            table[name].set(cells)
    table = db["files"] = written.Table(written.filewise_index(list(SPEAKER)))
    for name, cells in (("speaker", SPEAKER.values()), ("said", TEXTS.values())):
        table[name] = written.Column(scheme_id=name)
        table[name].set(list(cells))
    db.save(str(root), storage_format=form)


def times(seconds: list[float | None]) -> list[Any]:
    return [pd.NaT if second is None else pd.Timedelta(round(second * 1e9), "ns") for second in seconds]


def sounds(root: Path) -> None:
    (root / "wav").mkdir(parents=True)
    for name in SPEAKER:
        soundfile.write(root / name, np.zeros(16_000, np.int16), 16_000)


@pytest.fixture(params=FORMS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "db"
    sounds(root)
    save(root, request.param)
    return root


def change(root: Path, old: str, new: str) -> None:
    """Edits the header."""
    text = (root / "db.yaml").read_text()
    assert old in text
    (root / "db.yaml").write_text(text.replace(old, new))


# -- rows ------------------------------------------------------------------------------------------------------


def test_the_rows_are_those_of_the_equal_csv(root: Path, tmp_path: Path, read_all: Callable[..., Rows]) -> None:
    equal = tmp_path / "equal"
    sounds(equal)
    names = ["path", "start", "end", "emotion", "who", "words", "name", "part", *READER.attributes]
    with (equal / "clips.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for part, segments in SEGMENTS.items():
            for file, start_s, end_s, emotion, sure in segments:
                gender, name = PEOPLE[SPEAKER[file]]
                said = SAID[TEXTS[file]]
                writer.writerow(
                    [file, start_s, end_s, emotion, SPEAKER[file], said, name, part, sure, gender, start_s]
                )  # fmt: skip
    plain = Table(
        "clips.csv", label="emotion", speaker="who", text="words", session="name", split="part", start_s="start",
        end_s="end", attributes=READER.attributes,
    )  # fmt: skip
    found, wanted = read_all(READER, root, "lab"), read_all(plain, equal, "lab")
    for row in (*found.utterances, *wanted.utterances):
        del row["unit"]
    assert len(found.utterances) == 3 and len(found.labels) == 2
    assert found == wanted


def test_a_folder_is_its_header(root: Path, read_all: Callable[..., Rows]) -> None:
    assert read_all(dataclasses.replace(READER, file="."), root) == read_all(READER, root)
    below = dataclasses.replace(READER, file="db")
    assert below.units(root.parent)["table"][0] == "db/db.yaml"
    assert [row["path"] for row in read_all(below, root.parent).utterances] == [
        "db/wav/one.wav", "db/wav/one.wav", "db/wav/two.wav"
    ]  # fmt: skip


def test_every_file_that_decides_is_a_file_of_the_unit(root: Path) -> None:
    form = "csv" if (root / "db.files.csv").exists() else "parquet"
    assert READER.units(root) == {
        "table": [
            "db.yaml", *(f"db.{table}.{form}" for table in ("emotion.train", "emotion.test", "files", "people")),
            "wav/one.wav", "wav/two.wav",
        ]
    }  # fmt: skip
    assert source_files(open_folder(root, "db.yaml"), ["files"], []) == ["db.yaml", f"db.files.{form}"]


def test_a_filewise_table_is_rows_of_whole_files(root: Path, read_all: Callable[..., Rows]) -> None:
    found = read_all(Table("db.yaml", tables=("files",), label="", speaker="speaker", text="said/x"), root)
    assert [(row["utterance_id"][:2], row["start_s"], row["end_s"], row["text"]) for row in found.utterances] == [
        ("c-", 0.0, 1.0, SAID["a01"]), ("c-", 0.0, 1.0, SAID["a02"])
    ]  # fmt: skip
    assert {row["split"] for row in found.utterances} == {""}


def test_segments_are_joined_by_their_span_and_where_there_is_none_the_cell_is_empty(root: Path) -> None:
    train, test = (
        [row.texts for row in rows(open_folder(root, "db.yaml"), [f"emotion.{part}"], ["emotion.train:emotion"])]
        for part in ("train", "test")
    )
    assert train == [{"emotion.train:emotion": "happy"}, {"emotion.train:emotion": ""}]
    assert test == [{"emotion.train:emotion": ""}]


def test_the_split_is_the_headers_unless_a_column_says_it(root: Path, read_all: Callable[..., Rows]) -> None:
    assert [row["split"] for row in read_all(READER, root).utterances] == ["train", "train", "test"]
    own = dataclasses.replace(READER, split="emotion")
    assert [row["split"] for row in read_all(own, root).utterances] == ["happy", "", "sad"]
    change(root, "train: {type: train}", "train: {type: other}")
    assert [row["split"] for row in read_all(READER, root).utterances] == ["", "", "test"]


def test_parquet_goes_before_csv_as_audformat_has_it(tmp_path: Path) -> None:
    for form in FORMS:
        save(tmp_path, form)
    (tmp_path / "db.files.csv").write_text("file,speaker,said\n")
    assert len(list(rows(open_folder(tmp_path, "db.yaml"), ["files"], ["speaker"]))) == 2


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("0 days", 0.0), ("0 days 00:00:01.5", 1.5), ("1 days 01:00:00", 90_000.0), ("00:00:00.000000001", 1e-9),
        ("-1 days +23:59:59.500000", -0.5), ("1 day 0:00:01", 86_401.0), ("NaT", None), ("", None),
    ],
)  # fmt: skip
def test_times_are_read_as_pandas_writes_them(cell: str, seconds: float | None, tmp_path: Path) -> None:
    save(tmp_path, "csv")
    (tmp_path / "db.emotion.test.csv").write_text(f"file,start,end,emotion,sure.of,at\na.wav,{cell},{cell},,,\n")
    found = next(rows(open_folder(tmp_path, "db.yaml"), ["emotion.test"], []))
    assert (found.start_s, found.end_s) == (seconds, seconds)
    if cell:
        assert pd.isna(pd.Timedelta(cell)) if seconds is None else pd.Timedelta(cell).total_seconds() == seconds


# -- nothing runs ----------------------------------------------------------------------------------------------


class Bomb:
    """What leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_planted_pickle_is_never_opened(root: Path, tmp_path: Path, read_all: Callable[..., Rows]) -> None:
    before, units = read_all(READER, root), READER.units(root)
    for table in ("emotion.train", "emotion.test", "files", "people"):
        (root / f"db.{table}.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    assert read_all(READER, root) == before
    assert READER.units(root) == units
    assert not (tmp_path / "trace").exists()
    for path in root.glob("*.pkl"):  # a link to nothing cannot even be opened
        path.unlink()
        path.symlink_to("nothing")
    assert read_all(READER, root) == before


def test_a_table_that_is_only_a_pickle_is_refused(root: Path) -> None:
    for path in root.glob("db.files.*"):
        path.rename(root / "db.files.pkl")
    with pytest.raises(MissingFolder, match=r"table 'files' of db\.yaml is not at .*files\.csv: .* \.pkl is never o"):
        READER.units(root)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir ['{trace}']", "!!python/name:os.mkdir", "!!python/tuple [1]"]
)
def test_a_header_that_asks_for_python_is_refused(tag: str, root: Path, tmp_path: Path) -> None:
    with (root / "db.yaml").open("a") as stream:
        stream.write("\nmore: " + tag.format(trace=tmp_path / "trace"))
    with pytest.raises(MalformedSource, match=r"db\.yaml: it is no plain YAML \(could not determine a constructor for"):
        READER.units(root)
    assert not (tmp_path / "trace").exists()


# -- what does not fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("a: [", r"it is no plain YAML \(while parsing"),
        ("a: 2020-13-40", r"it is no plain YAML \(month must be in 1..12"),
        ("[" * 2_000, r"it is no plain YAML \("),
        ("- tables", "it is no header of audformat: it has no 'tables'"),
        ("schemes: {}", "it is no header of audformat: it has no 'tables'"),
        ("tables: [a]", "its 'tables' do not map names to mappings"),
        ("tables: {a: [b]}", "its 'tables' do not map names to mappings"),
    ],
)
def test_what_is_no_header_is_refused(header: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text(header)
    with pytest.raises(MalformedSource, match=rf"db\.yaml: {problem}"):
        open_folder(tmp_path, "db.yaml")


def test_a_folder_without_header_is_asked_for_one(tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match=r"the header 'db\.yaml' is not at .*db\.yaml: name it relative"):
        open_folder(tmp_path, ".")


@pytest.mark.parametrize(
    ("tables", "reference", "problem"),
    [
        ((), "emotion", "field `tables` must name those whose rows .*there are: 'emotion.test', 'emotion.train', 'fi"),
        (("people",), "gender", r"there is no 'people' in its tables \(there are: 'emotion.test'"),
        (("files",), "mood", r"its table 'files' has no column 'mood' \(there are: 'speaker', 'said'\)"),
        (("files",), "", "its table 'files' has no column ''"),
        (("files",), "nothing:mood", "there is no 'nothing' in its tables"),
        (("files",), "emotion.train:emotion", "table 'emotion.train' has segments, so no row of it belongs to a"),
        (("files",), "speaker/age", r"is said of 'age' by the scheme of column 'speaker' \(there are: 'gender', 'na"),
        (("emotion.train",), "emotion/x", r"is said of 'x' by the scheme of column 'emotion' \(there are none\)"),
        (("emotion.train",), "sure.of/x", "nothing is said of 'x' by the scheme of column 'sure.of'"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_there_is(
    tables: tuple[str, ...], reference: str, problem: str, tmp_path: Path
) -> None:
    save(tmp_path, "csv")
    with pytest.raises(MalformedSource, match=rf"^db\.yaml: .*{problem}"):
        list(rows(open_folder(tmp_path, "db.yaml"), tables, [reference]))


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("db.emotion.train.csv", "happy", "Happy", "'Happy' in column 'emotion' is no label of its scheme"),
        ("db.emotion.train.csv", "emotion", "mood", r"row 1 has no column 'emotion' \(there are: 'file', 'start'"),
        ("db.emotion.train.csv", "0 days 00:00:00.000000", "noon", "'noon' in column 'start' is no time, such as '0"),
        ("db.emotion.test.csv", "0 days 00:00:00.100000", "0.1", "'0.1' in column 'start' is no time"),
        ("db.emotion.test.csv", "0 days 00:00:00.100000", f"{'9' * 400} days", "'9+ days' in column 'start' is"),
        ("db.files.csv", "wav/two.wav", "wav/one.wav", "row 2 is a second row of 'wav/one.wav'"),
        ("db.files.csv", "3", "4", "'4' in column 'speaker' is no label of its scheme"),
        ("db.yaml", "labels: people", "labels: ../people", "there is no '../people' in its misc_tables"),
        ("db.yaml", "people", "../people", "its table '../people' is named like a path"),
        ("db.yaml", "split_id: train", "split_id: tram", r"there is no 'tram' in its splits \(there are: 'test'"),
        ("db.yaml", "scheme_id: said", "scheme_id: sad", "there is no 'sad' in its schemes"),
        ("db.yaml", "said: {scheme_id: said}", "said: 3", "the columns of its table 'files' do not map names to"),
        ("db.yaml", "labels: people", "labels: 3", "the labels of a scheme are 3: no list, mapping or misc table"),
    ],
)
def test_what_contradicts_the_header_is_refused(file: str, old: str, new: str, problem: str, tmp_path: Path) -> None:
    save(tmp_path, "csv")
    path = tmp_path / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(MalformedSource, match=rf"^{file}: {problem}"):
        READER.units(tmp_path)


def test_half_a_character_of_the_header_is_named(root: Path) -> None:
    change(root, "a01: Der Lappen liegt auf dem Eisschrank.", 'a01: "so \\ud83d"')
    with pytest.raises(MalformedSource, match=r"db\.yaml: row 1 has half of a character in column 'files:said/text'"):
        READER.units(root)


def test_fields_of_other_tables_are_refused(root: Path) -> None:
    for fields in ({"path": "file"}, {"start_s": "start"}, {"end_s": "end"}):
        with pytest.raises(MalformedSource, match="leave the fields `path`, `start_s` and `end_s` out"):
            Table("db.yaml", tables=("files",), **fields).units(root)
    with pytest.raises(MalformedSource, match="field `tables` is for audformat folders: leave it out"):
        Table("db.csv", tables=("files",)).units(root)
