"""IEMOCAP, full release: one unit per session, one utterance per line of EmoEvaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from features.audio import TOLERANCE_S
from features.check import Findings
from features.listing import files_below
from features.plugin import Interval, RawFile, Rows
from features.releases import forced_alignment, iemocap_check, iemocap_counts
from features.releases.iemocap_files import (
    DIALOGUE,
    DIMENSIONS,
    Fault,
    Turn,
    scenario_of,
    spoken,
    transcripts,
    turns,
    wearer_of,
)
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, MissingFolder, Untreatable
from warehouse.schema import make_id

_STEP = "corpora.iemocap"


@dataclass(frozen=True)
class Iemocap:
    """Reads the release as it is distributed (the folder that holds Session1 … Session5).

    The speaker is the session with the letter of the *turn*; the letter in the dialogue's name only says who wore
    the markers. The text is the transcript without its [TAGS], and may be empty; `verbatim` keeps them. Every judgement
    is a label in the rater's own word or number: several where a rater named several, none where the line is empty.

    Args:
        sessions: which to read. All five unless a partial release is meant.
        audio: 'sentence' hears each utterance's own wav; 'dialogue' its span of the recording, both microphones mixed.

    Source: format and traps are those of the release's own documentation. `C-E*` and `A-E*` raters are external,
        `F*` and `M*` the actors themselves, whom the summary leaves out.
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = iemocap_counts.published()
    anomalies: ClassVar[Mapping[str, str]] = iemocap_check.ANOMALIES

    sessions: tuple[int, ...] = (1, 2, 3, 4, 5)
    audio: Literal["sentence", "dialogue"] = "sentence"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        units = {}
        for number in self.sessions:
            name = f"Session{number}"
            folder = root / name
            if not folder.is_dir():
                todo = "put the whole release there, or list the sessions to read in `sessions`"
                raise MissingFolder(f"{name} of IEMOCAP", folder, todo)
            found = _files(root, f"{name}/dialog/EmoEvaluation", ".txt")
            found += _files(root, f"{name}/dialog/transcriptions", ".txt")
            if self.audio == "sentence":
                found += _files(root, f"{name}/sentences/wav", ".wav", 1)
            else:
                found += _files(root, f"{name}/dialog/wav", ".wav")
            shipped = f"{name}/sentences/ForcedAlignment"
            kinds = tuple(f".{kind}" for kind in forced_alignment.TIERS)
            aligned = _files(root, shipped, kinds, 1) if (root / shipped).is_dir() else []
            for kind in kinds:
                found += [path for path in aligned if path.endswith(kind)]
            units[name] = found
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        texts = _texts(root, [path for path in files if "/transcriptions/" in path])
        wavs = {_stem(path): path for path in files if path.endswith(".wav")}
        judged = set()
        for path in sorted(path for path in files if "/EmoEvaluation/" in path):
            own = _turns(root, unit, path)
            for position, turn in enumerate(sorted(own, key=lambda turn: (turn.start_s, turn.id))):
                if turn.id in judged:
                    raise MalformedSource(path, f"utterance {turn.id} has a second summary line")
                judged.add(turn.id)
                utterance_id = make_id(corpus, turn.id)
                try:
                    sound, start_s, end_s = self._span(root, turn, wavs)
                    if turn.id not in texts:
                        raise Untreatable("no transcription has a line for it")
                except Untreatable as error:
                    rows.failures.append(failure_row(_STEP, utterance_id, str(error)))
                    continue
                rows.utterances.append(
                    utterance_row(
                        utterance_id=utterance_id, corpus=corpus, unit=unit, recording=files[sound], start_s=start_s,
                        end_s=end_s, verbatim=texts[turn.id], text=spoken(texts[turn.id]), speaker_id=turn.speaker,
                        dialogue_id=turn.dialogue, turn=position, session=turn.id[4], language="en",
                        attributes=_attributes(turn),
                    )
                )  # fmt: skip
                rows.labels += _labels(utterance_id, turn)
        if self.audio == "sentence":
            for name in sorted(wavs.keys() - judged):
                reason = "no EmoEvaluation file has a line for it"
                rows.failures.append(failure_row(_STEP, make_id(corpus, name), reason))
        return rows

    def intervals(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str
    ) -> Iterator[tuple[str, list[Interval] | Untreatable]]:
        """The forced alignment that the release ships: each utterance id of `read` with its words, phones and
        syllables, or with why it has none. Times are from the start of the utterance, whichever audio is heard."""
        shipped: dict[str, dict[forced_alignment.Kind, str]] = {}
        for path in files:
            for kind in forced_alignment.TIERS:
                if path.endswith(f".{kind}"):
                    shipped.setdefault(make_id(corpus, _stem(path)), {})[kind] = path
        for row in self.read(root, unit, files, corpus).utterances:
            own = shipped.get(row["utterance_id"], {})
            tables = {kind: (root / path).read_bytes() for kind, path in own.items()}
            try:
                yield row["utterance_id"], forced_alignment.intervals(tables, row["end_s"] - row["start_s"])
            except Untreatable as error:
                yield row["utterance_id"], error

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Compares a tree with the published release, as `features.check.Checked` says.

        Args:
            expected: what to count; None for what these `sessions` of the full release count.
        """
        return iemocap_check.check(root, self.sessions, expected)

    def _span(self, root: Path, turn: Turn, wavs: Mapping[str, str]) -> tuple[str, float, float]:
        """Path, start and end of what is heard of a turn."""
        if self.audio == "sentence":
            if turn.id not in wavs:
                raise Untreatable("there is no sentence wav of this name")
            return wavs[turn.id], 0.0, duration_of(root, wavs[turn.id])
        if turn.dialogue not in wavs:
            raise Untreatable(f"there is no recording of the dialogue {turn.dialogue}")
        duration_s = duration_of(root, wavs[turn.dialogue])
        if turn.end_s > duration_s + TOLERANCE_S:
            raise Untreatable(f"it ends at {turn.end_s} s, after the recording of its dialogue, {duration_s:g} s long")
        return wavs[turn.dialogue], turn.start_s, turn.end_s


def _files(root: Path, folder: str, endings: str | tuple[str, ...], depth: int = 0) -> list[str]:
    """The files of a part of the release, as paths below the root."""
    if not (root / folder).is_dir():
        raise MissingFolder("a part of IEMOCAP", root / folder, "unpack the release completely")
    return files_below(root, folder, endings, depth)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _turns(root: Path, unit: str, path: str) -> list[Turn]:
    """The turns of one EmoEvaluation file.

    Raises:
        MalformedSource: the file is named after no dialogue (single raters' files belong in folders below), or the
            first line that cannot be what it should be.
    """
    if not DIALOGUE.fullmatch(_stem(path)):
        raise MalformedSource(path, f"it is named after no dialogue of {unit}: move it away, or to the raters' folder")
    found = []
    for turn in turns((root / path).read_bytes()):
        if isinstance(turn, Fault):
            raise MalformedSource(path, turn.problem)
        found.append(turn)
    return found


def _texts(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Utterance -> verbatim.

    Raises:
        MalformedSource: two lines say different things of one utterance.
    """
    texts: dict[str, str] = {}
    for path in sorted(paths):
        for name, verbatim in transcripts((root / path).read_bytes()):
            if texts.setdefault(name, verbatim) != verbatim:
                raise MalformedSource(path, f"utterance {name} has a second line with another text")
    return texts


def _attributes(turn: Turn) -> dict[str, str]:
    return {
        "scenario": scenario_of(turn.id),
        "marker_wearer": wearer_of(turn.id)[-1],
        "dialogue_start_s": f"{turn.start_s:.4f}",
        "dialogue_end_s": f"{turn.end_s:.4f}",
    }


def _labels(utterance_id: str, turn: Turn) -> Iterator[dict[str, Any]]:
    yield label_row(utterance_id, "emotion", "summary", turn.emotion)
    for dimension, value in turn.means.items():
        yield label_row(utterance_id, DIMENSIONS[dimension], "summary", value, float(value))
    for rating in turn.ratings:
        if rating.kind == "C":
            for name in rating.names:
                yield label_row(utterance_id, "emotion", rating.rater, name)
        else:
            for dimension, value in rating.numbers.items():
                yield label_row(utterance_id, DIMENSIONS[dimension], rating.rater, value, float(value))
