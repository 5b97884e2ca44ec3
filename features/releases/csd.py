"""Computational sequences (.csd) of the CMU Multimodal SDK: HDF5 files of features with intervals, per video.

/<root name>/data/<video>/features    [n, dim]
/<root name>/data/<video>/intervals   [n, 2], seconds in the whole video
/<root name>/metadata/<key>           one JSON text

The first top-level key is the sequence, whatever it is called, and metadata may lack any key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.check import Anomaly
from warehouse.errors import MalformedSource

_MOST_PACKED = 1100  # times smaller than it was: what zlib reaches with zeros


@dataclass(frozen=True)
class Heading:
    """What a file says of itself: all top-level keys (the first is read), its videos, its metadata.

    `metadata` holds what is JSON; `unparsed` names the keys whose text is not.
    """

    keys: tuple[str, ...]
    videos: tuple[str, ...]
    metadata: dict[str, Any]
    unparsed: tuple[str, ...]


@dataclass(frozen=True)
class Track:
    """One video's rows, as stored; where there is a fault, none."""

    video: str
    features: np.ndarray  # [n, dim], as stored
    intervals: np.ndarray  # float64 [n, 2]
    fault: Anomaly | None = None


def heading(path: Path, name: str) -> Heading:
    """Reads everything but the rows.

    Args:
        name: as errors should call the file.

    Raises:
        MalformedSource: not HDF5, or not a sequence.
    """
    with _opened(path, name) as (keys, sequence):
        metadata, unparsed = {}, []
        for key, value in _texts(sequence):
            try:
                metadata[key] = json.loads(value)
            except ValueError:
                unparsed.append(key)
        return Heading(keys, tuple(sequence["data"]), metadata, tuple(unparsed))


def tracks(path: Path, name: str, videos: Iterable[str], text: bool = False) -> Iterator[Track]:
    """The rows of these videos, one video at a time; one that cannot be read has a fault.

    Args:
        text: features may be words or phones, too; else they are numbers or faulty.

    Raises:
        MalformedSource: not HDF5, or not a sequence.
    """
    with _opened(path, name) as (_, sequence):
        for video in videos:
            yield _track(video, _own(sequence["data"], video), text)


def _is_held(dataset: Any) -> bool:
    """Whether the bytes of a dataset are in its file: HDF5 can also take them from any other, or, of what nobody wrote,
    make as many as a header of a few bytes declares."""
    if dataset.external or dataset.is_virtual:
        return False
    return bool(dataset.nbytes <= _MOST_PACKED * dataset.id.get_storage_size())


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    import h5py

    try:
        stream = h5py.File(path, "r")
    except OSError as error:
        if error.errno:  # the machine's fault, not the file's
            raise
        raise MalformedSource(name, "it is no HDF5 file, or was cut off") from error
    try:
        with stream:
            keys = tuple(stream)
            sequence = _own(stream, keys[0]) if keys else None
            if not (isinstance(sequence, h5py.Group) and isinstance(_own(sequence, "data"), h5py.Group)):
                there = f"its first key is '{keys[0]}', which has no group 'data'" if keys else "it has no key"
                raise MalformedSource(name, f"it is no computational sequence: {there}")
            yield keys, sequence
    except (KeyError, OSError, RuntimeError, UnicodeDecodeError, ValueError) as error:  # HDF5's own, of a damaged file
        if getattr(error, "errno", None):
            raise
        raise MalformedSource(name, f"it is damaged ({' '.join(str(error).split())})") from error


def _own(group: Any, name: str) -> Any:
    """A member that lies in the file itself; None for one that is absent, or a link, which could lead to any file of
    whoever reads this one."""
    import h5py

    link = group.get(name, getlink=True)
    return group[name] if isinstance(link, h5py.HardLink) else None


def _texts(sequence: Any) -> Iterator[tuple[str, str]]:
    """Metadata keys with their texts; a value that is none has the text '', which is no JSON."""
    metadata = _own(sequence, "metadata")
    for key in metadata if hasattr(metadata, "keys") else ():
        stored = _own(metadata, key)
        values = list(np.ravel(stored[()])) if hasattr(stored, "shape") and _is_held(stored) else []
        value = values[0] if values else ""
        yield key, value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _track(video: str, group: Any, text: bool) -> Track:
    def faulty(name: str, problem: str) -> Track:
        return Track(video, np.empty((0, 0)), np.empty((0, 2)), Anomaly(name, video, problem))

    try:
        stored = [_own(group, "features"), _own(group, "intervals")]
        if not all(_is_held(one) for one in stored):
            return faulty("malformed_video", "its rows are not in the file, or fewer than it declares")
        features, intervals = np.asarray(stored[0][()]), np.asarray(stored[1][()], np.float64)
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        if getattr(error, "errno", None):
            raise
        return faulty("malformed_video", "it has no readable 'features' and 'intervals'")
    are_numbers = features.dtype.kind in "fiu" and features.ndim == 2
    are_words = text and features.dtype.kind in "SUO" and features.ndim in (1, 2)
    if not (are_numbers or are_words) or intervals.ndim != 2 or intervals.shape[1] != 2:
        return faulty("malformed_video", "its 'features' are no numbers [n, dim], or its 'intervals' none [n, 2]")
    if len(features) != len(intervals):
        return faulty("length_mismatch", f"it has {len(features)} features, but {len(intervals)} intervals")
    return Track(video, features, intervals)
