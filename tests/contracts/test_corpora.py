"""What every reader owes: a new file of `features/corpora` is tested by existing."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from features.plugin import RawFile, Rows
from features.sandbox import emotionlines, mosei, opensubtitles, xed
from warehouse.catalog import build, names, plugin_class
from warehouse.hashing import file_digest
from warehouse.schema import FAILURES, LABELS, UTTERANCES, audio_id, canonical_text, check_id, text_id
from warehouse.tables import table_of

ROOM = "features.corpora"
FIELDS: dict[str, dict[str, Any]] = {"table": {"file": "clips.csv"}}
"""Reader -> the fields it cannot do without."""


@pytest.fixture(scope="module")
def trees(small_sandbox: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reader -> a tree it reads; a new reader brings a sandbox writer, or an entry here."""
    folder = tmp_path_factory.mktemp("trees")
    trees = small_sandbox
    table = folder / "table"
    table.mkdir()
    clips = sorted(trees["iemocap"].glob("Session1/sentences/wav/*/Ses*.wav"))[:4]
    with (table / "clips.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "text", "speaker", "label"])
        for number, clip in enumerate(clips):
            shutil.copy(clip, table / f"{number}.wav")
            writer.writerow([f"{number}.wav", f"words of {number}", "someone", "happy"])
    mosei.write(folder / "mosei")
    texts = {name: folder / name for name in ("xed", "emotionlines", "opensubtitles")}
    xed.write(texts["xed"])
    for name in (xed.ANNOTATED, xed.NEUTRAL):
        path = texts["xed"] / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:99]))
    emotionlines.write(texts["emotionlines"])
    for split in emotionlines.SIZES:
        path = texts["emotionlines"] / emotionlines.path_of(split)
        path.write_text(json.dumps(json.loads(path.read_bytes())[:3]))
    opensubtitles.write(texts["opensubtitles"])
    texts["opensubtitles"] /= opensubtitles.MOSES
    return trees | texts | {"table": table, "mosei": folder / "mosei"}


def files_of(reader: Any, root: Path) -> dict[str, dict[str, RawFile]]:
    return {
        unit: {path: RawFile(path, (root / path).stat().st_size, file_digest(root / path)) for path in paths}
        for unit, paths in reader.units(root).items()
    }


def read(reader: Any, root: Path, files: Mapping[str, Mapping[str, RawFile]], corpus: str = "c") -> dict[str, Rows]:
    return {unit: reader.read(root, unit, own, corpus) for unit, own in files.items()}


@pytest.fixture(params=names(ROOM))
def case(request: pytest.FixtureRequest, trees: dict[str, Path]) -> tuple[Any, Path]:
    name = request.param
    return build(ROOM, name, FIELDS.get(name, {}), "the test"), trees[name]


def test_a_reader_is_a_frozen_value(case: tuple[Any, Path]) -> None:
    reader, _ = case
    assert hash(reader) == hash(dataclasses.replace(reader))
    assert plugin_class(ROOM, type(reader).__module__.rpartition(".")[2]) is type(reader)


def test_units_name_files_that_are_there_and_stay_inside_the_root(case: tuple[Any, Path]) -> None:
    reader, root = case
    units = reader.units(root)
    assert units
    for paths in units.values():
        assert paths and len(set(paths)) == len(paths)
        for path in paths:
            assert not Path(path).is_absolute() and ".." not in Path(path).parts and "\\" not in path
            assert (root / path).is_file()
            assert not Path(path).name.startswith("._")


def test_rows_keep_the_schema_and_their_ids(case: tuple[Any, Path]) -> None:
    reader, root = case
    files = files_of(reader, root)
    seen: set[str] = set()
    for unit, rows in read(reader, root, files).items():
        table_of(rows.utterances, UTTERANCES)
        table_of(rows.labels, LABELS)
        table_of(rows.failures, FAILURES)
        for row in rows.utterances:
            check_id("utterance id", row["utterance_id"])
            assert row["utterance_id"] not in seen
            seen.add(row["utterance_id"])
            assert row["corpus"] == "c" and row["unit"] == unit
            assert row["recording_id"] == files[unit][row["path"]].sha256
            if row["audio_id"]:
                assert 0 <= row["start_s"] < row["end_s"] and row["channel"]
                assert row["audio_id"] == audio_id(row["recording_id"], row["start_s"], row["end_s"], row["channel"])
            else:
                assert (row["start_s"], row["end_s"], row["channel"]) == (0.0, 0.0, ""), "words without sound"
            assert row["text"] == canonical_text(row["text"]) and row["text_id"] == text_id(row["text"])
        assert {row["utterance_id"] for row in rows.labels} <= {row["utterance_id"] for row in rows.utterances}
        assert str(root) not in repr(rows), "where a corpus lies has no place in its rows"
    assert seen


def test_reading_again_gives_the_same(case: tuple[Any, Path]) -> None:
    reader, root = case
    files = files_of(reader, root)
    assert read(reader, root, files) == read(reader, root, files)


def test_the_name_a_recipe_gives_changes_ids_and_nothing_that_is_heard_or_read(case: tuple[Any, Path]) -> None:
    reader, root = case
    files = files_of(reader, root)
    one, two = read(reader, root, files, "one"), read(reader, root, files, "two")
    for unit in files:
        pairs = list(zip(one[unit].utterances, two[unit].utterances, strict=True))
        assert all(a["utterance_id"] != b["utterance_id"] for a, b in pairs)
        assert all((a["audio_id"], a["text_id"]) == (b["audio_id"], b["text_id"]) for a, b in pairs)


@pytest.mark.parametrize("name", names(ROOM))
def test_every_reader_can_check_its_corpus(name: str) -> None:
    reader: Any = plugin_class(ROOM, name)
    assert callable(reader.check) and reader.anomalies
    assert all(isinstance(n, int) for n in reader.published.values())
