from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from features.releases.csd import heading, tracks
from features.sandbox.mosei import write_csd
from warehouse.errors import MalformedSource

VALUES = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
TIMES = np.array([[0.5, 1.0], [-0.25, 2.0]])


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    path = tmp_path / "words.csd"
    write_csd(path, "words", {"-b_1": (VALUES, TIMES), "a": (VALUES, TIMES)}, {"dimension names": ["x", "y"]})
    return path


def put(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "r+") as stream:
        if name in stream:
            del stream[name]
        if value is not None:
            stream[name] = value


def test_what_was_written_is_read(sequence: Path) -> None:
    found = heading(sequence, "words.csd")
    assert (found.keys, found.videos, found.unparsed) == (("words",), ("-b_1", "a"), ())
    assert found.metadata == {"root name": "words", "dimension names": ["x", "y"]}
    (track,) = tracks(sequence, "words.csd", ["a"])
    assert track.fault is None
    assert (track.features.dtype, track.intervals.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(track.features, VALUES)
    np.testing.assert_array_equal(track.intervals, TIMES)


def test_metadata_may_lack_and_may_be_no_json(sequence: Path) -> None:
    put(sequence, "words/metadata/dimension names", "['x', 'y']")
    put(sequence, "words/metadata/dimension namescomputational sequence version", [b'"1.0"'])
    put(sequence, "words/metadata/creator", None)
    put(sequence, "words/metadata/empty", h5py.Empty("S1"))
    put(sequence, "words/metadata/more/deeper", 1)
    found = heading(sequence, "words.csd")
    assert found.metadata == {"root name": "words", "dimension namescomputational sequence version": "1.0"}
    assert sorted(found.unparsed) == ["dimension names", "empty", "more"]
    put(sequence, "words/metadata", None)
    assert heading(sequence, "words.csd").metadata == {}


def test_nothing_in_metadata_is_evaluated(sequence: Path) -> None:
    put(sequence, "words/metadata/dimension names", "[__import__('os').getcwd()]")
    assert heading(sequence, "words.csd").unparsed == ("dimension names",)


def test_the_first_key_is_read(sequence: Path) -> None:
    put(sequence, "a later draft/data/c/features", VALUES)
    assert heading(sequence, "words.csd").keys == ("a later draft", "words")
    assert heading(sequence, "words.csd").videos == ("c",)


BROKEN = [
    ("features", None, "malformed_video", "it has no readable 'features' and 'intervals'"),
    ("intervals", None, "malformed_video", "it has no readable 'features' and 'intervals'"),
    ("intervals", ["a", "b"], "malformed_video", "it has no readable 'features' and 'intervals'"),
    ("features", ["a", "b"], "malformed_video", "its 'features' are no numbers [n, dim], or its 'intervals' none"),
    ("features", 1.0, "malformed_video", "its 'features' are no numbers [n, dim], or its 'intervals' none [n, 2]"),
    ("features", TIMES[0], "malformed_video", "its 'features' are no numbers [n, dim], or its 'intervals' none"),
    ("intervals", TIMES[:, :1], "malformed_video", "its 'features' are no numbers [n, dim], or its 'intervals' none"),
    ("features", VALUES[:1], "length_mismatch", "it has 1 features, but 2 intervals"),
]


@pytest.mark.parametrize(("part", "value", "name", "problem"), BROKEN)
def test_a_broken_video_has_a_fault_and_stops_nothing(
    sequence: Path, part: str, value: Any, name: str, problem: str
) -> None:
    put(sequence, f"words/data/-b_1/{part}", value)
    broken, whole = tracks(sequence, "words.csd", ["-b_1", "a"])
    assert broken.fault is not None and whole.fault is None
    assert (broken.fault.name, broken.fault.where) == (name, "-b_1")
    assert problem in broken.fault.problem
    assert len(broken.features) == len(broken.intervals) == 0


def test_a_video_that_is_no_group_has_a_fault(sequence: Path) -> None:
    put(sequence, "words/data/a", 3.0)
    (track,) = tracks(sequence, "words.csd", ["a"])
    assert track.fault is not None and track.fault.name == "malformed_video"


@pytest.mark.parametrize(
    "words", [np.array([[b"sp"], [b"well"]]), np.array(["sp", "é"], object), np.array([[b"AH", b"0"], [b"sp", b"1"]])]
)
def test_words_and_phones_are_features_where_they_are_asked_for(tmp_path: Path, words: np.ndarray) -> None:
    path = tmp_path / "words.csd"
    write_csd(path, "words", {"a": (words, TIMES), "b": (VALUES[:1], TIMES)}, {})
    whole, broken = tracks(path, "words.csd", ["a", "b"], text=True)
    assert whole.fault is None and len(whole.features) == len(whole.intervals) == 2
    assert broken.fault is not None and broken.fault.name == "length_mismatch"
    (refused, _) = tracks(path, "words.csd", ["a", "b"])
    assert refused.fault is not None and refused.fault.name == "malformed_video"


def test_what_is_no_sequence_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csd"
    path.write_bytes(b"no HDF5")
    with pytest.raises(MalformedSource, match=r"^x.csd: it is no HDF5 file, or was cut off$"):
        heading(path, "x.csd")
    h5py.File(path, "w").close()
    with pytest.raises(MalformedSource, match="it is no computational sequence: it has no key"):
        heading(path, "x.csd")
    put(path, "words/features", VALUES)
    with pytest.raises(MalformedSource, match="its first key is 'words', which has no group 'data'"):
        list(tracks(path, "x.csd", ["a"]))


def test_the_fault_of_the_machine_is_not_the_file_s(tmp_path: Path, sequence: Path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError):
        heading(tmp_path / "gone.csd", "gone.csd")

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", failing)
    with pytest.raises(OSError, match="Input/output error"):
        list(tracks(sequence, "words.csd", ["a"]))


def test_rows_that_were_damaged_are_a_fault(sequence: Path, monkeypatch) -> None:
    def failing(*_: object) -> None:
        raise OSError("Can't synchronously read data (filter returned failure)")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", failing)
    (track,) = tracks(sequence, "words.csd", ["a"])
    assert track.fault is not None and track.fault.name == "malformed_video"


@pytest.mark.parametrize("name", ["words", "words/data", "words/data/a", "words/data/a/features", "words/metadata"])
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_a_link_leads_nowhere(sequence: Path, tmp_path: Path, name: str, kind: str) -> None:
    """A file from elsewhere could name any other of whoever reads it."""
    write_csd(tmp_path / "other.csd", "words", {"a": (VALUES * 7, TIMES)}, {})
    with h5py.File(sequence, "r+") as stream:
        stream["kept"] = h5py.SoftLink("/nothing")
        del stream["kept"], stream[name]
        path = str(tmp_path / "other.csd")
        stream[name] = h5py.ExternalLink(path, name) if kind == "external" else h5py.SoftLink("/words/metadata")
    try:
        assert "other" not in str(heading(sequence, "words.csd").metadata)
        (track,) = tracks(sequence, "words.csd", ["a"])
    except MalformedSource as error:
        assert "it is no computational sequence" in str(error) and name in ("words", "words/data")
    else:
        assert track.fault is not None or (name == "words/metadata" and (track.features[0] == VALUES[0]).all())


def test_rows_from_another_file_are_a_fault(sequence: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones((2, 2)).tobytes())
    with h5py.File(sequence, "r+") as stream:
        for video, name in (("a", "features"), ("-b_1", "intervals")):
            del stream[f"words/data/{video}/{name}"]
            stream[f"words/data/{video}"].create_dataset(name, (2, 2), "f8", external=[(str(secret), 0, 32)])
        layout = h5py.VirtualLayout((2, 2), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (2, 2))
        stream.create_group("words/data/c").create_virtual_dataset("features", layout)
        stream["words/data/c/intervals"] = TIMES
    for track in tracks(sequence, "words.csd", ["a", "-b_1", "c"]):
        assert track.fault is not None and "its rows are not in the file" in str(track.fault)


def test_a_header_that_declares_more_than_there_is_takes_no_memory(sequence: Path) -> None:
    with h5py.File(sequence, "r+") as stream:
        del stream["words/data/a/features"]
        stream["words/data/a"].create_dataset("features", (10**9, 1000), "f4", chunks=(1000, 1000))
        zeros = np.zeros((100_000, 10))
        del stream["words/data/-b_1/features"]
        stream["words/data/-b_1"].create_dataset("features", data=zeros, compression="gzip", compression_opts=9)
    declared, packed = tracks(sequence, "words.csd", ["a", "-b_1"])
    assert "fewer than it declares" in str(declared.fault)
    assert packed.fault is not None and "100000 features, but 2 intervals" in str(packed.fault), "zeros pack well"


def test_a_file_that_was_damaged_within_is_named(sequence: Path) -> None:
    content = sequence.read_bytes()
    n_named = 0
    for at in range(8, len(content), 97):
        sequence.write_bytes(content[:at] + b"\xff" * 8 + content[at + 8 :])
        try:
            list(tracks(sequence, "words.csd", heading(sequence, "words.csd").videos, text=True))
        except MalformedSource:
            n_named += 1
    assert n_named > 3
