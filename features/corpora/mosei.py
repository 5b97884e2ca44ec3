"""CMU-MOSEI: one unit per part of the standard folds, one utterance per labelled segment of a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from features.audio import TOLERANCE_S
from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import csd, mosei_check
from features.releases.mosei_release import (
    AUDIO,
    COLUMNS,
    DEPTH,
    MISALIGNED,
    SPLITS,
    TRANSCRIPTS,
    Piece,
    Release,
    column_order,
    find_release,
    matching,
    read_pieces,
    whole_videos,
)
from features.releases.standard_folds import fold_of
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.catalog import PositiveOrZero
from warehouse.errors import MissingFolder, RoundedLabels, Untreatable
from warehouse.schema import make_id

_STEP = "corpora.mosei"


@dataclass(frozen=True)
class Mosei:
    """Reads the labels' .csd and the raw release: whole videos as wav, transcripts by segment.

    A segment of the labels and a line of the transcript belong together when both their times agree; the rows of the
    .csd are not in the transcript's order. The utterance is named by the video and its row in the .csd, from 0. A
    segment without sound or without a line is a failure; a line may be empty. The seven labels are kept as they are
    stored, each under a scheme of its own name; the `turn` is a segment's rank in time among the labelled ones of its
    video.

    Args:
        labels: name of the .csd with the labels.
        negative_start: what becomes of the 239 segments that start before 0: 'clip' sets the start to 0,
            'drop_segment' leaves them out, 'drop_video' all segments of their videos.
        tolerance_s: how far the times of label and transcript may be apart.

    Source: the layout is that of the CMU Multimodal SDK, and so are the standard folds. Others compare times exactly,
        which loses text silently, or drop the whole video where a segment starts before 0.
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = mosei_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = mosei_check.ANOMALIES
    labels: str = "CMU_MOSEI_Labels.csd"
    negative_start: Literal["clip", "drop_segment", "drop_video"] = "clip"
    tolerance_s: PositiveOrZero = 0.001

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        release = find_release(root, self.labels)
        labels, audio, transcripts = _parts(root, release, self.labels)
        name = labels.relative_to(root).as_posix()
        videos = whole_videos(csd.heading(labels, name), name)
        units = {}
        for fold in SPLITS:
            own = [video for video in videos if fold_of("cmu_mosei").get(video, "no fold") == fold]
            media = [path for video in own for path in (transcripts / f"{video}.txt", audio / f"{video}.wav")]
            if own:
                found = [labels, *(path for path in media if path.is_file())]
                units[fold] = [path.relative_to(root).as_posix() for path in found]
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        labels = next(path for path in files if path.endswith(".csd"))
        texts = {Path(path).stem: path for path in files if path.endswith(".txt")}
        wavs = {Path(path).stem: path for path in files if path.endswith(".wav")}
        heading = csd.heading(root / labels, labels)
        columns = column_order(heading, labels)
        own = [video for video in heading.videos if fold_of("cmu_mosei").get(video, "no fold") == unit]
        for track in csd.tracks(root / labels, labels, own):
            name = make_id(corpus, track.video)
            try:
                _check_columns(track)
                pieces = _pieces(root, track.video, texts)
                duration_s = _duration(root, track.video, wavs)
            except Untreatable as error:
                segments = [make_id(corpus, track.video, str(row)) for row in range(len(track.intervals))]
                rows.failures += [failure_row(_STEP, segment, str(error)) for segment in segments or [name]]
                continue
            turns = np.argsort(np.lexsort((track.intervals[:, 1], track.intervals[:, 0])))
            for row in self._kept(track.intervals):
                utterance_id = make_id(corpus, track.video, str(row))
                try:
                    start_s, end_s = _span(track.intervals[row], duration_s)
                    numbers = _numbers(columns, track.features[row])
                    piece = self._piece(pieces, track.intervals[row])
                except Untreatable as error:
                    rows.failures.append(failure_row(_STEP, utterance_id, str(error)))
                    continue
                rows.utterances.append(
                    utterance_row(
                        utterance_id=utterance_id,
                        corpus=corpus,
                        unit=unit,
                        recording=files[wavs[track.video]],
                        start_s=start_s,
                        end_s=end_s,
                        verbatim=piece.text,
                        text=piece.text,
                        dialogue_id=track.video,
                        turn=int(turns[row]),
                        split=SPLITS[unit],
                        attributes=_attributes(track.video, piece, track.intervals[row]),
                    )
                )
                for scheme, value, number in numbers:
                    rows.labels.append(label_row(utterance_id, scheme, "summary", value, number))
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Labels, transcripts and sound against each other and what is published (`features.releases.mosei_check`)."""
        counts = self.published if expected is None else expected
        return mosei_check.check(root, self.labels, self.tolerance_s, counts)

    def _kept(self, intervals: np.ndarray) -> Iterator[int]:
        """The rows that the rule of negative starts keeps."""
        early = intervals[:, 0] < 0
        if self.negative_start == "drop_video" and early.any():
            return
        yield from (row for row in range(len(intervals)) if self.negative_start == "clip" or not early[row])

    def _piece(self, pieces: Sequence[Piece], interval: np.ndarray) -> Piece:
        start_s, end_s = map(float, interval)
        found = matching(pieces, start_s, end_s, self.tolerance_s)
        if not found:
            raise Untreatable(f"no line of the transcript spans [{start_s:.3f}, {end_s:.3f}] s")
        if len({piece.text for piece in found}) > 1:
            raise Untreatable(f"{len(found)} different lines of the transcript span [{start_s:.3f}, {end_s:.3f}] s")
        return found[0]


def _parts(root: Path, release: Release, labels: str) -> tuple[Path, Path, Path]:
    """Labels, audio and transcripts.

    Raises:
        RoundedLabels: there is only the public table of classes.
        MissingFolder: a part is not there.
    """
    if release.labels is None and release.rounded:
        raise RoundedLabels(release.rounded[0].relative_to(root).as_posix(), labels)
    wanted = ((labels,), AUDIO, TRANSCRIPTS)
    found = [release.labels, release.audio, release.transcripts]
    for path, tail in zip(found, wanted, strict=True):
        if path is None:
            todo = f"put it there with the folders it is published in (looked {DEPTH} folders deep)"
            raise MissingFolder(f"'{'/'.join(tail)}' of CMU-MOSEI", root.joinpath(*tail), todo)
    return tuple(path for path in found if path is not None)  # type: ignore[return-value]


def _check_columns(track: csd.Track) -> None:
    if track.fault:
        raise Untreatable(f"its labels cannot be read: {track.fault.problem}")
    if track.features.shape[1] != len(COLUMNS):
        raise Untreatable(f"it has {track.features.shape[1]} labels per segment, not {len(COLUMNS)}")


def _pieces(root: Path, video: str, texts: Mapping[str, str]) -> list[Piece]:
    if video not in texts:
        raise Untreatable(f"there is no transcript {'/'.join(TRANSCRIPTS)}/{video}.txt")
    pieces, problems = read_pieces((root / texts[video]).read_bytes(), video)
    if problems and not pieces:
        raise Untreatable(f"{texts[video]}: {problems[0]}")
    return pieces


def _duration(root: Path, video: str, wavs: Mapping[str, str]) -> float:
    if video not in wavs:
        raise Untreatable(f"there is no sound {'/'.join(AUDIO)}/{video}.wav")
    return duration_of(root, wavs[video])


def _span(interval: np.ndarray, duration_s: float) -> tuple[float, float]:
    start_s, end_s = max(float(interval[0]), 0.0), float(interval[1])
    if not end_s > start_s:
        raise Untreatable(f"its times [{start_s:.3f}, {end_s:.3f}] s are no span")
    if end_s > duration_s + TOLERANCE_S:
        raise Untreatable(f"[{start_s:.3f}, {end_s:.3f}] s passes the end of the video's sound at {duration_s:.3f} s")
    return start_s, end_s


def _numbers(columns: Sequence[str], values: np.ndarray) -> list[tuple[str, str, float]]:
    """Scheme, value as stored, number."""
    for scheme, value in zip(columns, values, strict=True):
        if not np.isfinite(value):
            raise Untreatable(f"its label '{scheme}' is {value}")
    return [(scheme, str(value), float(value)) for scheme, value in zip(columns, values, strict=True)]


def _attributes(video: str, piece: Piece, interval: np.ndarray) -> dict[str, Any]:
    attributes = {"transcript_line": str(piece.number)}
    if interval[0] < 0:
        attributes["labelled_start_s"] = f"{interval[0]:.6f}"
    if video in MISALIGNED:
        attributes["flaws"] = "misaligned_text"
    return attributes
