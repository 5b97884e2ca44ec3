"""Questions to a lake on a store read what its artifacts have there, and nothing else of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.faulty_store import FaultyStore, on_store
from tests.warehouse.small_lake import small_lake
from warehouse import Warehouse
from warehouse.audit.lineage import up
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
