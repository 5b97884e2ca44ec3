"""MELD, raw release: one unit per official split, one utterance per line of its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from features import audio
from features.audio import AudioStream
from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import meld_check
from features.releases.meld_flaws import flaws
from features.releases.meld_release import (
    DEPTH,
    FOLDERS,
    TABLES,
    Key,
    Line,
    canonical,
    clip_key,
    clip_name,
    clips_in,
    find_parts,
    read_table,
)
from features.rows import failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, MissingFolder, UnreadableAudio, Untreatable
from warehouse.schema import make_id

Channel = Literal["mix", "centre", "0", "1", "2", "3", "4", "5"]

_SURROUND_CENTRE = 2
_STEP = "corpora.meld"


@dataclass(frozen=True)
class Meld:
    """Reads the folder that MELD.Raw unpacks to.

    Where a test clip exists twice, the one named `final_videos_test…` is read: its authors cut it again because
    the plain one was wrong. Clips without a line and AppleDouble files are ignored; a line without a readable clip
    is a failure. The older CSV generation, whose typographic signs are Windows-1252 bytes read as control
    characters, gives the same text as the newer. Clips that can be heard but are cut wrongly, are very short or are
    known to be faulty are kept; the attribute `flaws` names what is wrong with them.

    Args:
        channel: what of a clip's sound is read. 'mix' is the mean of all channels; 'centre' the centre of the 5.1
            clips, which carries most speech, and the mean of the stereo ones; an index the same channel of all,
            which fails where a clip has fewer.

    Source: the release's README and the issues of its repository; counts were made on its CSV files.
    """

    version: ClassVar[int] = 3
    published: ClassVar[Mapping[str, int]] = meld_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = meld_check.ANOMALIES
    channel: Channel = "mix"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        found = find_parts(root)
        units = {}
        for split, folder in FOLDERS.items():
            for name in (TABLES[split], folder):
                if name not in found:
                    todo = f"unpack MELD.Raw and its archives there (looked {DEPTH} folders deep)"
                    raise MissingFolder(f"'{name}' of MELD", root / name, todo)
            clips = sorted(clips_in(found[folder]).values())
            units[split] = [path.relative_to(root).as_posix() for path in (found[TABLES[split]], *clips)]
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        path = next(path for path in files if path.endswith(".csv"))
        table = read_table(path, (root / path).read_bytes())
        if table.faults:
            raise MalformedSource(path, table.faults[0].problem)
        clips = {key: path for path in files if (key := clip_key(path))}
        turns = _turns(table.lines)
        for line in table.lines:
            utterance_id = make_id(corpus, unit, clip_name(line.key))
            try:
                path = _clip(clips, line, unit)
                stream = _stream(root, path)
                channel = self._channel_of(stream, path)
            except Untreatable as error:
                rows.failures.append(failure_row(_STEP, utterance_id, str(error)))
                continue
            attributes = {
                "season": line.season,
                "episode": line.episode,
                "episode_start_s": f"{line.start_s:.3f}",
                "episode_end_s": f"{line.end_s:.3f}",
                "n_channels": str(stream.n_channels),
            }
            if found := " ".join(flaws(unit, line.key, line.duration_s, stream.duration_s)):
                attributes["flaws"] = found
            rows.utterances.append(
                utterance_row(
                    utterance_id=utterance_id,
                    corpus=corpus,
                    unit=unit,
                    recording=files[path],
                    start_s=0.0,
                    end_s=stream.duration_s,
                    channel=channel,
                    verbatim=line.text,
                    text=canonical(line.text),
                    speaker_id=canonical(line.speaker),
                    dialogue_id=f"{unit}_dia{line.dialogue}",
                    turn=turns[line.key],
                    split=unit,
                    language="en",
                    attributes=attributes,
                )
            )
            rows.labels.append(label_row(utterance_id, "emotion", "summary", line.emotion))
            rows.labels.append(label_row(utterance_id, "sentiment", "summary", line.sentiment))
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Every line and clip against what is published; see `features.releases.meld_check`."""
        return meld_check.check(root, self.published if expected is None else expected)

    def _channel_of(self, stream: AudioStream, path: str) -> str:
        """The channel of this clip, as `features.audio` names it."""
        if self.channel == "mix":
            return "mix"
        if self.channel == "centre":
            return str(_SURROUND_CENTRE) if stream.n_channels >= 6 else "mix"
        if int(self.channel) >= stream.n_channels:
            raise Untreatable(f"{path} has {stream.n_channels} channels, so none of index {self.channel}")
        return self.channel


def _clip(clips: Mapping[Key, str], line: Line, split: str) -> str:
    if line.key not in clips:
        raise Untreatable(f"there is no clip {clip_name(line.key)}.mp4 in {FOLDERS[split]}")
    return clips[line.key]


def _stream(root: Path, path: str) -> AudioStream:
    try:
        return audio.probe(root / path)
    except UnreadableAudio as error:  # rows hold no absolute path
        raise Untreatable(str(UnreadableAudio(path, error.why))) from error


def _turns(lines: Sequence[Line]) -> dict[Key, int]:
    """Each utterance's rank in its dialogue; Utterance_ID has gaps."""
    turns: dict[Key, int] = {}
    n_before: dict[int, int] = {}
    for dialogue, number in sorted(line.key for line in lines):
        turns[dialogue, number] = n_before.get(dialogue, 0)
        n_before[dialogue] = turns[dialogue, number] + 1
    return turns
