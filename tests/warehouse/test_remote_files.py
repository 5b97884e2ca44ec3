"""Questions to a lake on a store read what its artifacts have there, and nothing else of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from tests.warehouse.faulty_store import FaultyStore, on_store
from tests.warehouse.small_lake import small_lake
from warehouse import Request, Warehouse
from warehouse.audit.lineage import up
from warehouse.errors import EmolakeError, QueryFailed
from warehouse.operating_errors import FileLost, OtherBytes, StoreFails
from warehouse.remote_files import LakeFiles

URL = "faulty://bucket/lake"

pytestmark = pytest.mark.usefixtures("store")


def copied_to_store(folder: Path) -> None:
    """What `aws s3 sync` does with a lake in a folder."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            FaultyStore.inner.pipe_file(f"/bucket/lake/{name}", path.read_bytes())


def test_questions_read_what_the_store_has_and_nothing_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.artifact._LITTLE", 0)
    small = small_lake(tmp_path / "folder")
    words = small.lake.ref("features/words") or {}
    small.lake.set_ref("features/words", {**words, "needs": "text", "hops_s": {"x": 0.01}})
    copied_to_store(small.lake.root)
    FaultyStore.inner.pipe_file("/bucket/secret.parquet", small.utterances.path("utterances.parquet").read_bytes())
    FaultyStore.inner.pipe_file("/bucket/lake/artifacts/raw/x/secret.parquet", b"not an artifact's")
    lake = Warehouse(URL)
    for query in (
        "SELECT * FROM utterances ORDER BY ALL", "SELECT * FROM features ORDER BY ALL",
        "SELECT * FROM predictions ORDER BY ALL", "SELECT * FROM coverage ORDER BY ALL",
        "SELECT * FROM means_words ORDER BY ALL",
    ):  # fmt: skip
        assert lake.table(query).equals(small.lake.table(query)), query
    found = lake.resolve(small.utterances.key)
    assert sorted(p.name for p in found.folder.iterdir()) == ["manifest.json"], "read in ranges, not fetched"
    address = found.address("utterances.parquet")
    assert address == f"emolake://utterances/{found.key}/utterances.parquet"
    connection = lake.connect("")
    assert connection.execute(f"SELECT count(*) FROM '{address}'").fetchall() == [(1,)]
    for other in (
        "emolake://../../secret.parquet", "emolake://raw/x/secret.parquet", "faulty://bucket/secret.parquet",
        f"emolake://utterances/{found.key}/../../../../secret.parquet", "memory://bucket/secret.parquet",
        f"emolake://utterances/{found.key}/*",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)no files found|permission|not found|disabled"):
            connection.execute(f"SELECT * FROM read_parquet('{other}')").fetchall()
    before = on_store()
    for to in (f"emolake://utterances/{found.key}/new.parquet", address):
        with pytest.raises(Exception, match=r"(?i)permission|read only|not found|FileNotFound"):
            connection.execute(f"COPY (SELECT 1 AS one) TO '{to}'")
    assert on_store() == before
    assert [n.artifact.key for n in up(lake, found).walk()] == [n.artifact.key for n in up(small.lake, found).walk()]


def test_the_filesystem_gives_files_of_manifests_alone(tmp_path: Path) -> None:
    small = small_lake(tmp_path / "folder")
    copied_to_store(small.lake.root)
    lake = Warehouse(URL)
    found, files = lake.resolve(small.utterances.key), LakeFiles(lake.root)
    address = f"emolake://utterances/{found.key}/utterances.parquet"
    content = small.utterances.path("utterances.parquet").read_bytes()
    assert files.info(address)["size"] == len(content) and files.exists(address)
    assert files.glob(address) == [address] and files.glob(address.replace("utterances.p", "*")) == []
    with files.open(address) as stream:
        assert stream.read() == content
    found.path("utterances.parquet")
    with files.open(address) as stream:
        assert stream.read() == content and stream.name == str(found.path("utterances.parquet"))
    with pytest.raises(PermissionError, match="is read only"):
        files.open(address, "wb")
    for other in ("manifest.json", "../../../lake.json", ""):
        assert not files.exists(f"emolake://utterances/{found.key}/{other}")
    (found.folder / "manifest.json").write_text("{}")
    assert not LakeFiles(lake.root).exists(address)


def rows(folder: Path) -> None:
    """The numbers from 0 on, twice and in many row groups, so that several threads read at once."""
    numbers = np.arange(50_000)
    table = pa.table({"a": numbers, "b": numbers[::-1].copy()})
    for name in ("none", "zstd"):
        pq.write_table(
            table, folder / f"{name}.parquet", row_group_size=1000, compression=name, use_dictionary=False
        )  # fmt: skip
    pc.write_csv(table, folder / "rows.csv")


@pytest.mark.parametrize("where", ["here", "store"])
def test_threads_that_read_a_file_at_once_read_what_is_in_it(where: str, copies_in: Callable[[str], None]) -> None:
    lake = Warehouse(URL, create=True)
    made = lake.materialize(Request("raw", "x", 1, {}), rows)
    if where == "store":
        copies_in("other")
        lake = Warehouse(URL)
        lake.artifacts()
    total = 50_000 * 49_999 // 2
    with duckdb.connect(config={"threads": 4}) as connection:
        connection.register_filesystem(LakeFiles(lake.root))
        for name in ("none.parquet", "zstd.parquet", "rows.csv") * 3:
            address = f"emolake://raw/{made.key}/{name}"
            options = ", buffer_size = 100000" if name == "rows.csv" else ""
            read = f"read_{name[-3:]}('{address}'{options})" if options else f"'{address}'"
            told = connection.execute(f"SELECT count(*), sum(a), sum(b), count(DISTINCT a) FROM {read}").fetchone()
            assert told == (50_000, total, total, 50_000), name


@pytest.mark.parametrize(
    ("broken", "mistake", "said"),
    [
        ("fails", StoreFails, rf"^the store {URL} did not give 'artifacts/raw/.*none\.parquet' in 7 attempts"),
        ("lost", FileLost, rf"^the file 'none\.parquet' of \w+ is not on the store {URL}"),
        ("short", OtherBytes, rf"^the store {URL} has other bytes of 'none\.parquet'"),
    ],
)
def test_a_store_that_fails_within_a_question_says_so(
    broken: str, mistake: type[EmolakeError], said: str, copies_in: Callable[[str], None]
) -> None:
    made = Warehouse(URL, create=True).materialize(Request("raw", "x", 1, {}), rows)
    copies_in("other")
    lake = Warehouse(URL)
    address = lake.artifacts()[0].address("none.parquet")
    place = f"/bucket/lake/artifacts/raw/{made.key}/none.parquet"

    def cut_off(request: str, path: str) -> None:
        if f"/{path}" == place:
            raise ConnectionResetError("cut off")

    def broke() -> None:
        if broken == "fails":
            FaultyStore.before = staticmethod(cut_off)
        elif broken == "lost":
            FaultyStore.inner.rm_file(place)
        else:
            FaultyStore.inner.pipe_file(place, FaultyStore.inner.cat_file(place)[:-1000])

    broke()
    for ask in (lake.sql, lake.table):
        with pytest.raises(mistake, match=said):
            ask(f"SELECT sum(a) FROM '{address}'")
    FaultyStore.before = staticmethod(lambda request, path: None)
    with pytest.raises(QueryFailed, match="nosuch"):
        lake.table("SELECT * FROM nosuch")
    if broken != "fails":
        return
    real = FaultyStore.cat_file

    def failing(self: FaultyStore, path: str, start: int = 0, end: int = 0) -> bytes:
        if start < 100_000:  # the first rows and not the footer: what only shows while the question runs
            raise ConnectionResetError("cut off")
        return real(self, path, start, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaultyStore, "cat_file", failing)
        with pytest.raises(mistake, match=said):
            lake.table(f"SELECT sum(a) FROM '{address}'")
