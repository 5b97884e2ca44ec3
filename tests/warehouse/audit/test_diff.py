"""What is said to have changed is what changed: against a slow reference in Python, and by each form of reference."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.small_lake import MAIN, SmallLake, small_lake, utterance
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.diff import KEYS, ColumnChange, Side, diff, side_of
from warehouse.audit.errors import NothingAsOf, NothingToCompare
from warehouse.errors import ArtifactNotFound, QueryFailed
from warehouse.questions import closed_connection
from warehouse.schema import INTERVALS, LABELS, PREDICTIONS, UTTERANCES
from warehouse.tables import array_cells, array_columns, table_of, write_rows

IDS = st.text("abc", min_size=1, max_size=2)
VOTES = st.lists(st.tuples(IDS, st.sampled_from(["angry", "happy"]), st.integers(0, 3)), max_size=8)


def votes(folder: Path, name: str, rows: list[tuple[str, str, int]]) -> Side:
    columns = {"utterance_id": pa.string(), "label": pa.string(), "n_votes": pa.int64()}
    path = folder / f"{name}.parquet"
    write_rows(path, [dict(zip(columns, row, strict=True)) for row in rows], pa.schema(list(columns.items())))
    return Side(name, {"votes": (path,)})


def by_key(rows: list[tuple[str, str, int]]) -> dict[tuple[str, str], list[int]]:
    found = defaultdict(list)
    for one, label, n in sorted(rows):
        found[one, label].append(n)
    return found


@settings(max_examples=settings.default.max_examples * 3 // 5)
@given(VOTES, VOTES)
def test_the_counts_are_those_of_a_slow_reference(
    tmp_path_factory: pytest.TempPathFactory, before: list[Any], after: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("sides")
    (found,) = diff(votes(folder, "before", before), votes(folder, "after", after), 100)
    ours, theirs = by_key(before), by_key(after)
    both = [(n, m) for key in ours.keys() | theirs.keys() for n, m in zip(ours[key], theirs[key], strict=False)]
    changed = [(n, m) for n, m in both if n != m]
    assert (found.n_before, found.n_after) == (len(before), len(after))
    assert (found.added, found.removed) == (len(after) - len(both), len(before) - len(both))
    assert found.changed == len(changed)
    expected = [ColumnChange("n_votes", len(changed), max(abs(n - m) for n, m in changed))] if changed else []
    assert list(found.columns) == expected
    assert len(found.examples) == found.added + found.removed + found.changed
    assert found.is_same == (sorted(before) == sorted(after))


TABLES = st.lists(VOTES, min_size=1, max_size=3)


def several(folder: Path, name: str, tables: list[list[Any]], named: bool) -> Side:
    """A side of several files, whose digests are known or not; the same rows have the same digest."""
    paths = [votes(folder, f"{name}{n}", rows).tables["votes"][0] for n, rows in enumerate(tables)]
    digests = {path: str(rows) for path, rows in zip(paths, tables, strict=True)} if named else {}
    return Side(name, {"votes": tuple(paths)}, digests=digests)


@settings(max_examples=settings.default.max_examples // 10)
@given(TABLES, TABLES, TABLES)
def test_files_that_both_sides_have_change_no_answer_by_not_being_read(
    tmp_path_factory: pytest.TempPathFactory, alike: list[Any], before: list[Any], after: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("sides")
    found = [
        diff(several(folder, "b", [*alike, *before], named), several(folder, "a", [*after, *alike], named), 100)
        for named in (True, False)
    ]
    assert found[0] == found[1]
    known = several(folder, "b", alike, True), several(folder, "a", alike, True)
    assert diff(*known)[0].n_before == sum(map(len, alike)) and diff(*known)[0].is_same


def test_what_both_sides_have_is_not_read_again(tmp_path: Path) -> None:
    """And its columns are known, though no other file has them."""
    known, unknown = [], []
    for name in "ab":
        (own,) = table(tmp_path, name, {"input_id": [name], "x": [2]}).tables["features"]
        (shared,) = table(tmp_path, f"{name}-shared", {"input_id": ["i"], "x": [1], "old": [1]}).tables["features"]
        chunk = pq.read_metadata(shared).row_group(0).column(1)  # damaged, but for its keys
        begins, content = chunk.dictionary_page_offset or chunk.data_page_offset, shared.read_bytes()
        ends = begins + chunk.total_compressed_size
        shared.write_bytes(content[:begins] + bytes(ends - begins) + content[ends:])
        known.append(Side(name, {"features": (own, shared)}, True, {shared: "alike"}))
        unknown.append(Side(name, {"features": (own, shared)}, True))
    (found,) = diff(*known)
    assert (found.n_before, found.n_after, found.added, found.removed, found.changed) == (2, 2, 1, 1, 0)
    assert not (found.only_before or found.only_after)
    with pytest.raises(QueryFailed, match="a table of 'a' or 'b' cannot be read"):
        diff(*unknown)


def test_nulls_lists_and_maps_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    rows = [MAIN | {"attributes": {"scene": "kitchen"}}, MAIN | {"utterance_id": "u2"}]
    other = [MAIN | {"attributes": {"scene": "hall"}}, MAIN | {"utterance_id": "u2"}]
    write_rows(tmp_path / "a.parquet", rows, UTTERANCES)
    write_rows(tmp_path / "b.parquet", other, UTTERANCES)
    sides = [Side(name, {"utterances": (tmp_path / f"{name}.parquet",)}) for name in "ab"]
    (found,) = diff(*sides)
    assert [(c.column, c.n_rows) for c in found.columns] == [("attributes", 1)]
    assert found.examples[0].before == {"scene": "kitchen"} and found.examples[0].after == {"scene": "hall"}
    label = {"utterance_id": "u1", "scheme": "valence", "rater": "r", "value": "3", "number": None}
    for name, number in (("a", None), ("b", 3.0)):
        write_rows(tmp_path / f"{name}.parquet", [label | {"number": number}], LABELS)
    (labels,) = diff(*(Side(name, {"labels": (tmp_path / f"{name}.parquet",)}) for name in "ab"))
    assert labels.columns == [ColumnChange("number", 1, None)] and labels.changed == 1


def test_every_table_of_the_schema_has_a_key_that_its_columns_have() -> None:
    for table, columns in {"labels": LABELS, "intervals": INTERVALS, "predictions": PREDICTIONS}.items():
        assert set(KEYS[table]) < set(columns.names)


# -- features ----------------------------------------------------------------------------------------------------


def frames(folder: Path, name: str, arrays: dict[str, np.ndarray]) -> Side:
    columns = pa.schema([pa.field("input_id", pa.string(), nullable=False), *array_columns("frames")])
    rows = [{"input_id": i} | array_cells("frames", array) for i, array in arrays.items()]
    write_rows(folder / f"{name}.parquet", rows, columns)
    return Side(name, {"features": (folder / f"{name}.parquet",)})


def test_of_arrays_the_largest_difference_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours = {i: rng.normal(size=(5, 3)).astype(np.float32) for i in "abc"}
    theirs = {i: array.copy() for i, array in ours.items()}
    theirs["b"][4, 2] += 0.25
    theirs["c"][0, 0] -= 0.125
    (found,) = diff(frames(tmp_path, "before", ours), frames(tmp_path, "after", theirs))
    assert [(c.column, c.n_rows) for c in found.columns] == [("frames", 2)]
    assert found.columns[0].largest == pytest.approx(0.25, abs=1e-6)
    assert found.examples[0].before == "(60 bytes)"
    other = {i: array[:4] for i, array in ours.items()}
    (found,) = diff(frames(tmp_path, "before", ours), frames(tmp_path, "shorter", other))
    assert found.columns == [ColumnChange("frames", 3, None)]


def test_in_a_namespace_the_rows_of_the_first_artifact_count(small: SmallLake) -> None:
    columns = pa.schema([("x", pa.float32())])
    made = [
        small.features(name, "extractors.one", small.utterances, [{"input_id": "a", "x": x}], columns)
        for name, x in (("first", 1.0), ("second", 2.0))
    ]
    first = min(made, key=lambda artifact: artifact.key)
    (table, failures) = diff(side_of(small.lake, "features/one"), side_of(small.lake, first.key))
    assert (table.n_before, table.is_same, failures.n_before) == (1, True, 0)


# -- references --------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def reading(lake: Warehouse, text: str) -> Artifact:
    """A reading of the corpus 'told', whose unit says `text`; it becomes the current one."""
    params = {"corpus": "told", "unit": "one", "text": text}
    row = utterance("told", "t1", text)

    def write(folder: Path) -> None:
        write_rows(folder / "utterances.parquet", [row], UTTERANCES)

    made = lake.materialize(Request("utterances", "corpora.table", 1, params), write)
    lake.set_ref("corpora/told", {"reader": "r", "root": "/", "raw": [], "labels": [], "utterances": [made.digest]})
    return made


def test_a_corpus_is_held_against_itself_as_it_was(lake: Warehouse) -> None:
    first = reading(lake, "So it is.")
    report = lake.materialize(
        Request("report", "flows.report", 1, {}, {"utterances": (first.digest,)}),
        lambda folder: (folder / "report.json").write_text("{}") and None,
    )
    moment = datetime.fromisoformat(first.created_at)
    while reading(lake, "So it was.").created_at == first.created_at:
        pass
    now = side_of(lake, "corpora/told")
    for when in (first.created_at, f"{moment:%Y-%m-%dT%H:%M:%S.%f+00:00}", report.key):
        (found,) = diff(side_of(lake, f"corpora/told@{when}"), now)
        assert {c.column for c in found.columns} >= {"text", "verbatim", "text_id"} and found.changed == 1, when
    (today,) = diff(side_of(lake, f"corpora/told@{moment:%Y-%m-%d}"), now)
    assert today.is_same, "a day means its end"
    before = f"{moment - timedelta(days=1):%Y-%m-%d}"
    with pytest.raises(NothingAsOf, match=re.escape(f"no reading of corpus 'told' as of '{before}': give a day")):
        side_of(lake, f"corpora/told@{before}")
    with pytest.raises(ArtifactNotFound, match="corpora/nowhere"):
        side_of(lake, "corpora/nowhere")


def test_what_has_no_table_in_common_cannot_be_compared(small: SmallLake) -> None:
    sides = side_of(small.lake, small.predictions.key), side_of(small.lake, "corpora/main")
    with pytest.raises(
        NothingToCompare,
        match="holds predictions and 'corpora/main' holds files, labels, utterances: name two of which",
    ):
        diff(*sides)


def test_a_damaged_table_is_named(small: SmallLake, tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    path.write_bytes(b"no table")
    side = Side("broken", {"votes": (path,)})
    with pytest.raises(QueryFailed, match="a table of 'broken' or 'broken' cannot be read"):
        diff(side, side)


def test_a_missing_file_is_named_in_one_line(tmp_path: Path) -> None:
    for is_namespace in (False, True):
        side = Side("gone", {"features": (tmp_path / "features.parquet",)}, is_namespace)
        with pytest.raises(QueryFailed, match=r"'gone' cannot be read \(.*features\.parquet") as told:
            diff(side, side)
        assert "\n" not in str(told.value)


def test_columns_of_one_side_alone_are_listed(tmp_path: Path) -> None:
    for name, column in (("a", "old"), ("b", "new")):
        columns = pa.schema([("input_id", pa.string()), (column, pa.int64())])
        write_rows(tmp_path / f"{name}.parquet", table_of([{"input_id": "i", column: 1}], columns).to_pylist(), columns)
    sides = [Side(name, {"features": (tmp_path / f"{name}.parquet",)}) for name in "ab"]
    (found,) = diff(*sides)
    assert (found.only_before, found.only_after, found.changed, found.is_same) == (["old"], ["new"], 0, False)


ODD = """x" IS NULL OR (SELECT count(*) FROM read_text('/etc/passwd')) > 0) --"""


def table(folder: Path, name: str, columns: dict[str, list[Any]], stem: str = "features") -> Side:
    write_rows(folder / f"{name}.parquet", pa.table(columns).to_pylist(), pa.table(columns).schema)
    return Side(name, {stem: (folder / f"{name}.parquet",)})


def test_a_column_may_be_called_anything(tmp_path: Path) -> None:
    """Whoever gives away a lake chooses what the columns of its files are called."""
    names = [ODD, "nth", "here", "NTH", "b", "before", "filename", "=nth", "a.b", "$files", 'the "x"', "'"]
    columns: dict[str, list[Any]] = {"input_id": ["i", "j"], **{name: [1, 2] for name in names}}
    before = table(tmp_path, "before", columns)
    after = table(tmp_path, "after", columns | {name: [1, 5] for name in names})
    assert diff(before, before)[0].is_same
    for is_namespace in (False, True):
        sides = [Side(side.name, side.tables, is_namespace) for side in (before, after)]
        (found,) = diff(*sides)
        told = {change.column: (change.n_rows, change.largest) for change in found.columns}
        assert len(told) == len(names) and set(told.values()) == {(1, 3.0)} and {ODD, "nth", "here"} <= set(told)
        assert (found.added, found.removed, found.changed) == (0, 0, 1)
    (found,) = diff(*(Side(side.name, {"other": side.tables["features"]}) for side in (before, after)))
    assert (found.added, found.removed) == (1, 1) and found.examples[0].row[ODD] == 2, "as keys"


def test_nothing_but_the_files_of_the_sides_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def closed(folders: list[Path], *more: Any) -> duckdb.DuckDBPyConnection:
        asked.append(folders)
        return closed_connection(folders, *more)

    monkeypatch.setattr("warehouse.audit.diff.closed_connection", closed)
    for name in "ab":
        (tmp_path / name).mkdir()
    diff(*(table(tmp_path / name, "x", {"input_id": ["i"]}) for name in "ab"))
    assert asked == [[tmp_path / "a", tmp_path / "b"]]


def test_tables_without_a_common_column_or_key(tmp_path: Path) -> None:
    before, after = table(tmp_path, "before", {"old": [1, 2, 3]}), table(tmp_path, "after", {"new": [1]})
    (found,) = diff(before, after)
    assert (found.n_before, found.n_after, found.removed, found.added, found.changed) == (3, 1, 3, 1, 0)
    assert (found.only_before, found.only_after, found.examples) == (["old"], ["new"], []) and not found.is_same
    (found,) = diff(before, table(tmp_path, "later", {"old": [1, 2, 2, 4]}))
    assert (found.removed, found.added, found.changed) == (1, 2, 0), "no key: whole rows come and go"


def test_a_corpus_that_went_back_is_told_as_it_is(lake: Warehouse) -> None:
    reading(lake, "So it is.")
    first = lake.ref("corpora/told") or {}
    newest = reading(lake, "So it was.")
    lake.set_ref("corpora/told", first)
    for when in (newest.created_at, "2999-01-01"):
        (found,) = diff(side_of(lake, f"corpora/told@{when}"), side_of(lake, "corpora/told"))
        assert found.is_same, when


def test_a_corpus_whose_reading_is_gone_is_refused(lake: Warehouse) -> None:
    made = reading(lake, "So it is.")
    shutil.rmtree(made.folder)
    lake = Warehouse(lake.root)
    for reference in ("corpora/told", "corpora/told@2999-01-01"):
        with pytest.raises(ArtifactNotFound, match=f"name '{made.digest}': `emolake ls`"):
            side_of(lake, reference)
