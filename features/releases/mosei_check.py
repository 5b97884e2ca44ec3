"""The strict check of CMU-MOSEI: labels, transcripts and sound, each against the others and the standard folds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from features import audio
from features.audio import TOLERANCE_S
from features.check import Anomaly, Findings, counted
from features.plugin import RATE_HZ
from features.releases import csd
from features.releases.mosei_release import (
    AUDIO,
    COLUMNS,
    DEPTH,
    MISALIGNED,
    SPLITS,
    TRANSCRIPTS,
    Release,
    column_order,
    find_release,
    matching,
    read_pieces,
    whole_videos,
)
from features.releases.standard_folds import fold_of
from features.releases.walk import misnamed_files
from warehouse.errors import MalformedSource, UnreadableAudio

PUBLISHED: Mapping[str, int] = {
    "segments": 23_259,
    "segments, train": 16_327,
    "segments, valid": 1_871,
    "segments, test": 4_662,
    "segments, no fold": 399,
    "videos": 3_293,
    "videos, train": 2_249,
    "videos, valid": 300,
    "videos, test": 676,
    "videos, no fold": 68,
    "videos of the folds without labels": 2,
    "videos out of order": 1_318,
    "segments that start before 0": 239,
    "segments over 30 s": 88,
}
"""Counted on public copies of the segments and folds. Papers that drop seven of them have 22,856 in the folds."""

ANOMALIES: Mapping[str, str] = {
    "missing_part": "the labels, the sound or the transcripts are not there",
    "rounded_labels": "the public table of labels rounded to classes, which cannot stand for the numbers",
    "misnamed_file": "a file or folder whose name is not UTF-8: what lies there is not ingested",
    "malformed_csd": "a .csd is no computational sequence",
    "several_keys": "a .csd has more than one top-level key: only the first is read",
    "malformed_metadata": "a metadata text of a .csd is no JSON",
    "other_columns": "the labels are not the seven of CMU-MOSEI",
    "aligned_ids": "the labels were saved after aligning them: their ids are of segments, not of videos",
    "malformed_video": "a video's features or intervals cannot be read",
    "length_mismatch": "a video has more features than intervals, or fewer",
    "empty_interval": "a segment ends no later than it starts",
    "duplicate_interval": "two segments of a video have the same times",
    "negative_start": "a segment starts before 0",
    "out_of_order": "a video's segments are not in order of time: row numbers are no transcript numbers",
    "overlap": "segments of a video overlap",
    "label_not_finite": "a label is no finite number",
    "label_out_of_range": "sentiment outside -3 … 3, or an emotion outside 0 … 3",
    "label_no_third": "a label is no multiple of a third, as the mean of three raters must be",
    "feature_not_finite": "another .csd holds values that are no finite numbers",
    "fold_without_labels": "a video of the standard folds has no labels",
    "unlabelled": "sound or a transcript of a video without labels",
    "missing_transcript": "a labelled video has no transcript",
    "malformed_transcript": "a transcript is not UTF-8, or a line of it has not its five parts",
    "segment_without_text": "no transcript line has a segment's times, or the line that has them holds no words",
    "ambiguous_text": "different transcript lines have a segment's times",
    "misaligned_text": "users reported that the transcript's times are wrong",
    "missing_sound": "a labelled video has no wav",
    "unreadable_sound": "a wav cannot be opened",
    "other_rate": f"a wav is not sampled at {RATE_HZ} Hz",
    "past_end": "a segment ends after its video's sound",
}

JOINED = 0.99
"""The part of a fold's segments that finds its text in every good copy: single misses above it are known."""

LONG_S = 30.0
_THIRD = 0.02
"""How far from a multiple of a third a rounded label may be."""


@dataclass
class _Labelled:
    """What the labels hold: intervals of each video that can be read, every video, what is wrong."""

    videos: tuple[str, ...] = ()
    intervals: dict[str, np.ndarray] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)


def check(root: Path, labels: str, tolerance_s: float, expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of the tree under `root`; what is not there is named once, and the rest is checked.

    Args:
        labels: name of the .csd with the labels.
        tolerance_s: how far the times of label and transcript may be apart.

    Raises:
        MissingFolder: `root` itself is not there.
    """
    release = find_release(root, labels)
    anomalies = list(_parts(root, release, labels))
    for path in release.others:
        anomalies += _sequence(path, path.relative_to(root).as_posix())
    labelled = _Labelled()
    if release.labels:
        labelled = _labels(release.labels, release.labels.relative_to(root).as_posix())
        anomalies += labelled.anomalies
    if labelled.videos:  # else there is nothing to hold the rest against
        anomalies += _traits(labelled, release)
        if release.transcripts:
            anomalies += _texts(labelled, release.transcripts, tolerance_s)
        if release.audio:
            anomalies += _sounds(labelled, release.audio)
    anomalies += misnamed_files(root)
    return Findings(counted(_counts(labelled), expected), anomalies)


def _fold(video: str) -> str:
    return fold_of("cmu_mosei").get(video, "no fold")


def _counts(labelled: _Labelled) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for video in labelled.videos:
        intervals = labelled.intervals.get(video, np.empty((0, 2)))
        starts_s, ends_s = intervals[:, 0], intervals[:, 1]
        found.update(["videos", f"videos, {_fold(video)}"])
        for what in ("segments", f"segments, {_fold(video)}"):
            found[what] += len(intervals)
        found["videos out of order"] += bool((np.diff(starts_s) < 0).any())
        found["segments that start before 0"] += int((starts_s < 0).sum())
        found["segments over 30 s"] += int((ends_s - np.maximum(starts_s, 0) > LONG_S).sum())
    found["videos of the folds without labels"] = len(fold_of("cmu_mosei").keys() - set(labelled.videos))
    return found


def _parts(root: Path, release: Release, labels: str) -> Iterator[Anomaly]:
    for path in release.rounded:
        problem = f"labels rounded to classes, with 'happy' where there is no emotion: only {labels} has the numbers"
        yield Anomaly("rounded_labels", path.relative_to(root).as_posix(), problem, known=release.labels is not None)
    wanted = [("/".join(AUDIO), release.audio), ("/".join(TRANSCRIPTS), release.transcripts)]
    if not release.rounded:
        wanted.insert(0, (labels, release.labels))
    for name, found in wanted:
        if found is None:
            yield Anomaly("missing_part", name, f"'{name}' is not there (looked {DEPTH} folders deep)")


def _heading(path: Path, name: str) -> tuple[csd.Heading | None, list[Anomaly]]:
    try:
        heading = csd.heading(path, name)
    except MalformedSource as error:
        return None, [Anomaly("malformed_csd", name, str(error))]
    anomalies = [Anomaly("malformed_metadata", name, f"'{key}' is no JSON") for key in heading.unparsed]
    if len(heading.keys) > 1:
        anomalies.append(Anomaly("several_keys", name, f"it has the keys {list(heading.keys)}"))
    return heading, anomalies


def _sequence(path: Path, name: str) -> list[Anomaly]:
    """Anomalies of a sequence that holds no labels. COVAREP is known to divide by zero."""
    heading, anomalies = _heading(path, name)
    n_wrong: dict[str, int] = {}
    for track in csd.tracks(path, name, heading.videos, text=True) if heading else ():
        if track.fault:
            anomalies.append(Anomaly(track.fault.name, f"{name}, {track.video}", track.fault.problem))
        elif track.features.dtype.kind == "f" and (n := int((~np.isfinite(track.features)).sum())):
            n_wrong[track.video] = n
    if heading and n_wrong:
        problem = f"{sum(n_wrong.values())} values of {_some(n_wrong)} are NaN or infinite"
        anomalies.append(Anomaly("feature_not_finite", name, problem, known=heading.keys[0].upper() == "COVAREP"))
    return anomalies


def _labels(path: Path, name: str) -> _Labelled:
    heading, anomalies = _heading(path, name)
    found = _Labelled(anomalies=anomalies)
    if heading is None:
        return found
    try:
        found.videos = whole_videos(heading, name)
    except MalformedSource as error:
        found.anomalies.append(Anomaly("aligned_ids", name, str(error)))
        return found
    columns: tuple[str, ...] = ()
    try:
        columns = column_order(heading, name)
    except MalformedSource as error:
        found.anomalies.append(Anomaly("other_columns", name, str(error)))
    other = []
    for track in csd.tracks(path, name, heading.videos):
        if track.fault:
            found.anomalies.append(track.fault)
            continue
        found.intervals[track.video] = track.intervals
        if track.features.shape[1] != len(COLUMNS):
            other.append(track.video)
        elif columns:
            found.anomalies += _values(track, columns)
        found.anomalies += _times(track)
    if other:
        problem = f"not {len(COLUMNS)} labels per segment in {_some(other)}"
        found.anomalies.append(Anomaly("other_columns", name, problem))
    return found


def _values(track: csd.Track, columns: Sequence[str]) -> Iterator[Anomaly]:
    values = np.asarray(track.features, np.float64)
    lowest = np.array([-3.0 if column == "sentiment" else 0.0 for column in columns])
    finite = np.isfinite(values)
    plain = np.where(finite, values, 0)
    outside = (plain < lowest - 1e-6) | (plain > 3 + 1e-6)
    uneven = ~outside & (np.abs(plain * 3 - np.rint(plain * 3)) > 3 * _THIRD)
    for name, wrong in (
        ("label_not_finite", ~finite), ("label_out_of_range", outside), ("label_no_third", uneven)
    ):  # fmt: skip
        for row, column in np.argwhere(wrong):
            problem = f"'{columns[column]}' is {track.features[row, column]}"
            yield Anomaly(name, f"{track.video}, row {row}", problem)


def _times(track: csd.Track) -> Iterator[Anomaly]:
    rows: dict[tuple[float, float], int] = {}
    for row, (start_s, end_s) in enumerate(track.intervals.tolist()):
        if not end_s > max(start_s, 0.0):
            yield Anomaly("empty_interval", f"{track.video}, row {row}", f"its times are [{start_s}, {end_s}] s")
        if (start_s, end_s) in rows:
            problem = f"row {rows[start_s, end_s]} has the same times [{start_s}, {end_s}] s"
            yield Anomaly("duplicate_interval", f"{track.video}, row {row}", problem)
        rows.setdefault((start_s, end_s), row)


def _traits(labelled: _Labelled, release: Release) -> Iterator[Anomaly]:
    """What every copy has, each told once."""
    negative, shuffled, overlapping = [], [], []
    for video, intervals in labelled.intervals.items():
        in_time = intervals[np.lexsort((intervals[:, 1], intervals[:, 0]))]
        if (intervals[:, 0] < 0).any():
            negative.append(video)
        if (np.diff(intervals[:, 0]) < 0).any():
            shuffled.append(video)
        if (in_time[1:, 0] < in_time[:-1, 1]).any():
            overlapping.append(video)
    present = {path.stem for folder in (release.audio, release.transcripts) if folder for path in _files(folder)}
    told = {
        "negative_start": negative,
        "out_of_order": shuffled,
        "overlap": overlapping,
        "fold_without_labels": sorted(fold_of("cmu_mosei").keys() - set(labelled.videos)),
        "unlabelled": sorted(present - set(labelled.videos)),
        "misaligned_text": sorted(MISALIGNED & set(labelled.videos)),
    }
    for name, videos in told.items():
        if videos:
            yield Anomaly(name, _some(videos), ANOMALIES[name], known=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".wav", ".txt") and not path.name.startswith("._")]


def _texts(labelled: _Labelled, folder: Path, tolerance_s: float) -> Iterator[Anomaly]:
    n_joined: Counter[str] = Counter()
    missed: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for video in labelled.videos:
        path = folder / f"{video}.txt"
        if not path.is_file():
            yield Anomaly("missing_transcript", video, f"there is no {'/'.join(TRANSCRIPTS)}/{path.name}")
            continue
        pieces, problems = read_pieces(path.read_bytes(), video)
        for problem in problems:
            yield Anomaly("malformed_transcript", path.name, problem)
        if problems and not pieces:
            continue
        for row, (start_s, end_s) in enumerate(labelled.intervals.get(video, np.empty((0, 2))).tolist()):
            where = f"{video}, row {row}"
            texts = {piece.text for piece in matching(pieces, start_s, end_s, tolerance_s)}
            span = f"[{start_s:.3f}, {end_s:.3f}] s"
            if not any(text.strip() for text in texts):
                problem = f"the line that spans {span} has no words" if texts else f"no line spans {span}"
                missed[_fold(video)].append((where, problem))
                continue
            n_joined[_fold(video)] += 1
            if len(texts) > 1:
                yield Anomaly("ambiguous_text", where, f"{len(texts)} lines span {span}")
    for fold in SPLITS:
        rate = n_joined[fold] / max(1, n_joined[fold] + len(missed[fold]))
        for where, problem in missed[fold]:
            told = f"{problem}; {rate:.1%} of the segments of '{fold}' find their text"
            yield Anomaly("segment_without_text", where, told, known=rate >= JOINED)


def _sounds(labelled: _Labelled, folder: Path) -> Iterator[Anomaly]:
    for video in labelled.videos:
        path = folder / f"{video}.wav"
        if not path.is_file():
            yield Anomaly("missing_sound", video, f"there is no {'/'.join(AUDIO)}/{path.name}")
            continue
        try:
            stream = audio.probe(path)
        except UnreadableAudio as error:
            yield Anomaly("unreadable_sound", video, str(UnreadableAudio(path.name, error.why)))
            continue
        if stream.rate_hz != RATE_HZ:
            yield Anomaly("other_rate", video, f"{path.name} is sampled at {stream.rate_hz} Hz, not {RATE_HZ}")
        for row, (start_s, end_s) in enumerate(labelled.intervals.get(video, np.empty((0, 2))).tolist()):
            if end_s > stream.duration_s + TOLERANCE_S:
                problem = f"[{start_s:.3f}, {end_s:.3f}] s passes the end of the sound at {stream.duration_s:.3f} s"
                yield Anomaly("past_end", f"{video}, row {row}", problem)


def _some(videos: Collection[str]) -> str:
    """'3 videos (first: x)'."""
    return f"{len(videos)} video{'s' if len(videos) > 1 else ''} (first: {next(iter(videos))})"
