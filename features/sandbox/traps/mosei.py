"""What can be wrong with CMU-MOSEI, planted in a copy of its sandbox tree."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from features.releases.standard_folds import fold_of
from features.sandbox.media import write_wav
from features.sandbox.mosei import (
    AUDIO,
    COLUMNS,
    EARLY,
    FOLDS,
    LABELS,
    PLAIN,
    RATE_HZ,
    SHUFFLED,
    TRANSCRIPTS,
    plan,
    write_csd,
)
from features.sandbox.traps import misnamed_file

OVERLAPPING = "100499"
"""A video of the sandbox whose segments overlap in order of time."""


def expected(seed: int = 0) -> Mapping[str, int]:
    """The counts of the sandbox tree, as its check names them."""
    counts: Counter[str] = Counter()
    n_lines = {video.name: len(video.order) for video in plan(seed)}
    for fold, names in FOLDS.items():
        counts[f"videos, {fold}"] = len(names)
        counts[f"segments, {fold}"] = sum(n_lines[name] for name in names)
    labelled = [name for names in FOLDS.values() for name in names]
    counts["videos"] = len(labelled)
    counts["segments"] = sum(n_lines[name] for name in labelled)
    counts["videos out of order"] = len(SHUFFLED)
    counts["segments that start before 0"] = len([EARLY])
    counts["videos of the folds without labels"] = len(fold_of("cmu_mosei").keys() - set(labelled))
    return counts


def _missing_part(root: Path) -> None:
    shutil.rmtree(root / AUDIO)


def _rounded_labels(root: Path) -> None:
    (root / LABELS).unlink()
    header = ",file,index,start,end,label2a,label2b,label6,label7,split\n"
    (root / "CMU_MOSEI_Labels.csv").write_text(f"{header}0,{PLAIN},0,0.5,2.5,1,0,0,0,0\n")


def _malformed_csd(root: Path) -> None:
    path = root / LABELS
    path.write_bytes(path.read_bytes()[:1000])


def _several_keys(root: Path) -> None:
    with _opened(root / LABELS) as stream:
        stream.create_group("Older Labels")


def _metadata(key: str, text: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        with _opened(root / LABELS) as stream:
            stream[f"All Labels/metadata/{key}"][0] = text

    return plant


def _aligned_ids(root: Path) -> None:
    """Labels as the SDK saves them when it has aligned them: a video of its own for each segment."""
    with _opened(root / LABELS) as stream:
        videos = stream["All Labels/data"]
        for name in list(videos):
            for row, rows in enumerate(zip(videos[name]["features"], videos[name]["intervals"], strict=True)):
                for part, one in zip(("features", "intervals"), rows, strict=True):
                    videos[f"{name}[{row}]/{part}"] = one[None]
            del videos[name]


def _malformed_video(root: Path) -> None:
    with _opened(root / LABELS) as stream:
        del stream[f"All Labels/data/{PLAIN}/features"]


def _length_mismatch(root: Path) -> None:
    values, intervals = _rows(root, PLAIN)
    _replace(root, PLAIN, values[:-1], intervals)


def _duplicate_interval(root: Path) -> None:
    values, intervals = _rows(root, OVERLAPPING)
    _replace(root, OVERLAPPING, values[[*range(len(values)), -1]], intervals[[*range(len(values)), -1]])


def _out_of_order(root: Path) -> None:
    values, intervals = _rows(root, OVERLAPPING)
    _replace(root, OVERLAPPING, values[::-1], intervals[::-1])


def _empty_interval(root: Path) -> None:
    _retimed(root, PLAIN, lambda intervals: (intervals[0, 0], intervals[0, 0]))


def _negative_start(root: Path) -> None:
    _retimed(root, OVERLAPPING, lambda intervals: (-0.3, intervals[0, 1]))


def _overlap(root: Path) -> None:
    _retimed(root, PLAIN, lambda intervals: (intervals[0, 0], intervals[1, 0] + 0.3))


def _label(value: float, column: str) -> Callable[[Path], None]:
    """Plants a value in the first segment's column."""

    def plant(root: Path) -> None:
        values, intervals = _rows(root, PLAIN)
        values[0, COLUMNS.index(column)] = value
        _replace(root, PLAIN, values, intervals)

    return plant


def _feature_not_finite(root: Path) -> None:
    rows = np.array([[0.5, np.nan]]), np.array([[0.0, 0.1]])
    write_csd(root / "CMU_MOSEI_VisualOpenFace2.csd", "OpenFace_2", {PLAIN: rows}, {})


def _fold_without_labels(root: Path) -> None:
    """Takes everything of a video away, or its sound would be without labels too."""
    with _opened(root / LABELS) as stream:
        del stream[f"All Labels/data/{PLAIN}"]
    _wav(root).unlink()
    _transcript(root).unlink()


def _unlabelled(root: Path) -> None:
    shutil.copy(_wav(root), _wav(root, "sandbox-ul_"))


def _appended(line: str) -> Callable[[Path], None]:
    """Plants a line at the end of a transcript; '{times}' in it are those of the first line."""

    def plant(root: Path) -> None:
        path = _transcript(root)
        text = path.read_text(encoding="utf-8")
        times = "___".join(text.split("___", 4)[2:4])
        path.write_text(text + line.format(name=PLAIN, times=times), encoding="utf-8")

    return plant


def _segment_without_text(root: Path) -> None:
    values, intervals = _rows(root, PLAIN)
    intervals[0] += 0.005
    _replace(root, PLAIN, values, intervals)


def _misaligned_text(root: Path) -> None:
    """Renames a video to the one that users reported."""
    reported = "hh04W3xXa5s"
    with _opened(root / LABELS) as stream:
        stream.move(f"All Labels/data/{PLAIN}", f"All Labels/data/{reported}")
    _wav(root).rename(_wav(root, reported))
    text = _transcript(root).read_text(encoding="utf-8")
    _transcript(root).unlink()
    _transcript(root, reported).write_text(text.replace(PLAIN, reported), encoding="utf-8")


def _unreadable_sound(root: Path) -> None:
    _wav(root).write_bytes(_wav(root).read_bytes()[:10])


def _other_rate(root: Path) -> None:
    write_wav(_wav(root), _wave(root), RATE_HZ // 2)


def _past_end(root: Path) -> None:
    """Cuts the sound inside the pause that the last segment reaches into."""
    write_wav(_wav(root), _wave(root)[: -round(0.8 * RATE_HZ)], RATE_HZ)


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "misnamed_file": misnamed_file,
    "missing_part": _missing_part,
    "rounded_labels": _rounded_labels,
    "malformed_csd": _malformed_csd,
    "several_keys": _several_keys,
    "malformed_metadata": _metadata("dataset name", "{'name': 'CMU-MOSEI'}"),
    "other_columns": _metadata("dimension names", json.dumps([*COLUMNS[:-1], "calm"])),
    "aligned_ids": _aligned_ids,
    "malformed_video": _malformed_video,
    "length_mismatch": _length_mismatch,
    "empty_interval": _empty_interval,
    "duplicate_interval": _duplicate_interval,
    "negative_start": _negative_start,
    "out_of_order": _out_of_order,
    "overlap": _overlap,
    "label_not_finite": _label(np.nan, "happy"),
    "label_out_of_range": _label(-1.0, "fear"),
    "label_no_third": _label(0.5, "sentiment"),
    "feature_not_finite": _feature_not_finite,
    "fold_without_labels": _fold_without_labels,
    "unlabelled": _unlabelled,
    "missing_transcript": lambda root: _transcript(root).unlink(),
    "malformed_transcript": _appended("some words without times\n"),
    "segment_without_text": _segment_without_text,
    "ambiguous_text": _appended("{name}___9___{times}___Other words.\n"),
    "misaligned_text": _misaligned_text,
    "missing_sound": lambda root: _wav(root).unlink(),
    "unreadable_sound": _unreadable_sound,
    "other_rate": _other_rate,
    "past_end": _past_end,
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree. Some of them every copy has: these
are planted once more."""


def _words_and_phones(root: Path) -> None:
    """Sequences of text, with the pauses that the SDK's aligner writes."""
    times = np.array([[0.0, 0.1], [0.1, 0.3], [0.3, 0.4]])
    for name, symbols in (("Words", [b"sp", b"well", b"sp"]), ("Phones", [b"sp", b"W", b"EH1"])):
        features = np.array(symbols)[:, None]
        write_csd(root / f"CMU_MOSEI_Timestamped{name}.csd", name.lower(), {PLAIN: (features, times)}, {})


def _other_metadata(root: Path) -> None:
    """The two keys that the SDK's list of them makes one, and none of the names of columns."""
    with _opened(root / LABELS) as stream:
        metadata = stream["All Labels/metadata"]
        del metadata["dimension names"]
        metadata["dimension namescomputational sequence version"] = [b'"1.0"']


def _other_line_ends(root: Path) -> None:
    raw = _transcript(root).read_bytes().replace(b"\n", b"\r\n")
    _transcript(root).write_bytes(b"\xef\xbb\xbf" + raw + b"\r\n")


def _apple_doubles(root: Path) -> None:
    for path in [_wav(root), _transcript(root), root / LABELS]:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")


def _tables_of_workers(root: Path) -> None:
    """What the raw release calls labels: answers of single workers, with line ends in their cells."""
    folder = root / "Raw" / "Labels"
    folder.mkdir()
    (folder / "Batch_1.csv").write_text('"HITId","Answer.anger"\n"a\nb",1\n')


HARMLESS: Mapping[str, Callable[[Path], None]] = {
    "words_and_phones": _words_and_phones,
    "other_metadata": _other_metadata,
    "other_line_ends": _other_line_ends,
    "apple_doubles": _apple_doubles,
    "tables_of_workers": _tables_of_workers,
}
"""What public copies have and neither the check nor the reader must mind."""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r+") as stream:
        yield stream


def _rows(root: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and intervals of a video."""
    with _opened(root / LABELS) as stream:
        group = stream[f"All Labels/data/{video}"]
        return group["features"][()], group["intervals"][()]


def _replace(root: Path, video: str, values: np.ndarray, intervals: np.ndarray) -> None:
    with _opened(root / LABELS) as stream:
        group = stream[f"All Labels/data/{video}"]
        for name, rows in (("features", values), ("intervals", intervals)):
            del group[name]
            group.create_dataset(name, data=rows)


def _retimed(root: Path, video: str, times: Callable[[np.ndarray], tuple[float, float]]) -> None:
    """Gives the first segment other times, in the labels and in the transcript."""
    values, intervals = _rows(root, video)
    start_s, end_s = times(intervals)
    intervals[0] = start_s, end_s
    _replace(root, video, values, intervals)
    first, *rest = _transcript(root, video).read_text(encoding="utf-8").splitlines(keepends=True)
    text = first.split("___", 4)[4]
    line = f"{video}___0___{start_s:.6f}___{end_s:.6f}___{text}"
    _transcript(root, video).write_text("".join([line, *rest]), encoding="utf-8")


def _transcript(root: Path, video: str = PLAIN) -> Path:
    return root / TRANSCRIPTS / f"{video}.txt"


def _wav(root: Path, video: str = PLAIN) -> Path:
    return root / AUDIO / f"{video}.wav"


def _wave(root: Path) -> np.ndarray:
    import soundfile

    return soundfile.read(_wav(root))[0]
