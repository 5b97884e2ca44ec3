"""Shards: the same members are the same bytes, and webdataset and our reader see the same arrays."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from warehouse.errors import DuplicateId, InvalidId, SchemaMismatch
from warehouse.schema import SHARD_INDEX
from warehouse.shards import INDEX, TAR, ShardReader, write_shard
from warehouse.tables import read_table, write_rows

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True) | st.from_regex(r"[a-z0-9]{90,160}", fullmatch=True)
DTYPES = st.sampled_from([np.dtype(name) for name in ("<f4", ">f4", "<f2", "<f8", "<i4", ">i8", "i1", "?")])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=5))
MEMBERS = st.dictionaries(IDS, ARRAYS | st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=5)

ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3)

webdataset_leaves_files_open = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def write(folder: Path, field: str, **members: np.ndarray | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder, field, [(name, f"id-of-{name}", value) for name, value in members.items()])
    return folder


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (TAR, INDEX)]


@given(MEMBERS)
def test_members_come_back(tmp_path_factory: pytest.TempPathFactory, members: dict[str, np.ndarray | str]) -> None:
    folder = write(tmp_path_factory.mktemp("shard"), "frames", **members)
    reader = ShardReader(folder)
    assert list(reader) == list(members) and all(name in reader for name in members)
    for name, value in members.items():
        np.testing.assert_array_equal(reader.read(name), value)
        if isinstance(value, str):
            assert reader.text(name) == reader.read(name) == value
        else:
            assert reader.shape(name) == value.shape
            assert reader.array(name).dtype == value.dtype.newbyteorder("<")
            np.testing.assert_array_equal(reader.array(name), value)


@given(MEMBERS)
def test_the_index_points_at_what_tar_itself_finds(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, np.ndarray | str]
) -> None:
    folder = write(tmp_path_factory.mktemp("shard"), "frames", **members)
    index = read_table(folder / INDEX, SHARD_INDEX).to_pylist()
    with tarfile.open(folder / TAR) as tar:
        found = [(m.name.partition(".")[0], m.offset_data, m.size) for m in tar]
    assert found == [(row["utterance_id"], row["offset"], row["n_bytes"]) for row in index]
    assert [row["input_id"] for row in index] == [f"id-of-{name}" for name in members]


def test_the_same_members_are_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "a", "lld", u1=ARRAY, u2=ARRAY[:0])
    big_endian = write(tmp_path / "b", "lld", u1=ARRAY.astype(">f4"), u2=np.asfortranarray(ARRAY[:0]))
    transposed = write(tmp_path / "c", "lld", u1=np.ascontiguousarray(ARRAY.T).T, u2=ARRAY[:0])
    assert digests(one) == digests(big_endian) == digests(transposed)
    assert digests(write(tmp_path / "d", "lld", u2=ARRAY[:0], u1=ARRAY)) != digests(one), "order is the order given"


def test_nothing_in_a_tar_says_who_made_it_or_when(tmp_path: Path) -> None:
    members: dict[str, np.ndarray | str] = {"u" * 150: ARRAY, "u2": "so"}
    folder = write(tmp_path, "lld", **members)
    with tarfile.open(folder / TAR) as tar:
        headers = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar}
    assert headers == {(0, 0, 0, "", "", 0o644)}


@webdataset_leaves_files_open
def test_webdataset_reads_the_same(tmp_path: Path) -> None:
    long_id = "a-film-with-a-long-title" * 6
    arrays = {"u1": ARRAY, "u2": np.zeros((0, 3), np.float32), long_id: ARRAY[::2] * -1}
    folder = write(tmp_path / "arrays", "opensmile-lld", **arrays)
    reader = ShardReader(folder)
    dataset = webdataset.WebDataset(str(folder / TAR), shardshuffle=False, empty_check=False).decode()
    found = list(dataset)
    assert [one["__key__"] for one in found] == list(arrays)
    for one in found:
        np.testing.assert_array_equal(one["opensmile-lld.npy"], reader.array(one["__key__"]), strict=True)
        np.testing.assert_array_equal(one["opensmile-lld.npy"], arrays[one["__key__"]], strict=True)
    texts = {"u1": "I can’t.", "u2": ""}
    folder = write(tmp_path / "texts", "text", **texts)
    dataset = webdataset.WebDataset(str(folder / TAR), shardshuffle=False, empty_check=False).decode()
    assert {one["__key__"]: one["text.txt"] for one in dataset} == texts


@webdataset_leaves_files_open
def test_two_fields_of_one_utterance_meet_by_key(tmp_path: Path) -> None:
    lld, text = write(tmp_path / "a", "lld", u1=ARRAY), write(tmp_path / "b", "text", u1="so")
    keys = []
    for folder in (lld, text):
        dataset = webdataset.WebDataset(str(folder / TAR), shardshuffle=False, empty_check=False)
        keys += [{key for key in one if not key.startswith("__")} for one in dataset]
    assert keys == [{"lld.npy"}, {"text.txt"}]


def test_arrays_are_views_that_nobody_can_write_to(tmp_path: Path) -> None:
    array = ShardReader(write(tmp_path, "lld", u1=ARRAY)).array("u1")
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


@pytest.mark.parametrize("descr", ["<f4", "<f2", "<i2", "|b1", "|i1", "<c8"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (2, 3, 4)])
def test_a_header_says_what_numpy_says(tmp_path: Path, descr: str, shape: tuple) -> None:
    """Also one that another writer padded otherwise, which is read by numpy itself."""
    array = np.ones(shape, descr)
    folder = write(tmp_path, "x", u1=array)
    np.testing.assert_array_equal(ShardReader(folder).array("u1"), array, strict=True)
    content = (folder / TAR).read_bytes()
    (folder / TAR).write_bytes(content.replace(b"'fortran_order': False, ", b"'fortran_order':False , "))
    np.testing.assert_array_equal(ShardReader(folder).array("u1"), array, strict=True)


def test_a_shard_of_nothing_is_a_shard(tmp_path: Path) -> None:
    reader = ShardReader(write(tmp_path, "lld"))
    assert list(reader) == [] and "u1" not in reader


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "../u1", "ü"])
def test_ids_that_cannot_name_a_member_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidId, match=rf"utterance id '{name}' must match"):
        write_shard(tmp_path, "lld", [(name, "i", ARRAY)])
    with pytest.raises(InvalidId, match=rf"field '{name}' must match"):
        write_shard(tmp_path, name, [])


def test_an_utterance_is_in_a_shard_once(tmp_path: Path) -> None:
    with pytest.raises(DuplicateId, match="utterance id 'u1' is given twice, but must name one member of 'lld'"):
        write_shard(tmp_path, "lld", [("u1", "i", ARRAY), ("u1", "j", ARRAY)])


@pytest.mark.parametrize("array", [np.array([{}, []], object), np.array(["a"]), np.zeros(1, [("a", "O")])])
def test_nothing_is_pickled(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(SchemaMismatch, match=r"array 'u1\.lld' does not have .*: its dtype is .*, not one of numbers"):
        write_shard(tmp_path, "lld", [("u1", "i", array)])


def test_a_planted_pickle_is_not_opened(tmp_path: Path) -> None:
    folder = write(tmp_path, "lld", u1=ARRAY)
    tar = (folder / TAR).read_bytes()
    (folder / TAR).write_bytes(tar.replace(b"'descr': '<f4'", b"'descr': '|O' "))
    with pytest.raises(SchemaMismatch, match=r"the member of u1 is no array \(.*(object arrays|buffer)"):
        ShardReader(folder).array("u1")


@pytest.mark.parametrize(("offset", "n_bytes"), [(-1, 10), (512, -1), (512, 1 << 62), (1 << 40, 1)])
def test_an_index_cannot_lead_out_of_its_tar(tmp_path: Path, offset: int, n_bytes: int) -> None:
    folder = write(tmp_path, "lld", u1=ARRAY)
    row = {"utterance_id": "u1", "input_id": "i", "offset": offset, "n_bytes": n_bytes}
    write_rows(folder / INDEX, [row], SHARD_INDEX)
    with pytest.raises(SchemaMismatch, match=r"it names bytes that shard\.tar does not have, which are \d+"):
        ShardReader(folder)


def test_a_member_that_is_neither_array_nor_text_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "lld", u1=ARRAY, u2="words")
    tar = (folder / TAR).read_bytes()
    (folder / TAR).write_bytes(tar.replace(b"words", b"w\xffrds").replace(b"\x93NUMPY", b"\x93NUMPX"))
    reader = ShardReader(folder)
    with pytest.raises(SchemaMismatch, match="the member of u2 is no text"):
        reader.text("u2")
    with pytest.raises(SchemaMismatch, match="the member of u1 is no array"):
        reader.array("u1")


def test_a_header_that_never_ends_is_no_array(tmp_path: Path) -> None:
    """numpy gives such a header to Python's tokenizer, which has an error of its own."""
    folder = write(tmp_path, "lld", u1=ARRAY)
    tar = (folder / TAR).read_bytes()
    (folder / TAR).write_bytes(tar.replace(b"), }", b"),  "))
    with pytest.raises(SchemaMismatch, match="the member of u1 is no array"):
        ShardReader(folder).array("u1")
