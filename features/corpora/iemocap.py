"""IEMOCAP, full release: one unit per session, one utterance per line of EmoEvaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from features.plugin import RawFile, Rows
from features.rows import duration_of, failure_row, label_row, utterance_row
from warehouse.errors import MalformedSource, MissingFolder, Untreatable
from warehouse.schema import make_id

EMOTIONS = frozenset({"ang", "hap", "exc", "sad", "neu", "fru", "sur", "fea", "dis", "oth", "xxx"})
DIMENSIONS = {"val": "valence", "act": "activation", "dom": "dominance"}

_ID = re.compile(
    r"Ses0(?P<session>[1-5])(?P<wearer>[FM])_(?P<scenario>impro\d{2}|script0[1-3]_[1-3])[ab]?_(?P<turn>[FM])\d{3}"
)
_SUMMARY = re.compile(
    r"\[(?P<start>\d+\.\d+) - (?P<end>\d+\.\d+)\]\t(?P<id>\S+)\t(?P<emotion>\w+)\t"
    r"\[(?P<val>\d+\.\d+), (?P<act>\d+\.\d+), (?P<dom>\d+\.\d+)\]\s*"
)
_RATER = re.compile(r"(?P<kind>[CA])-(?P<rater>[A-Z]\d+):\t(?P<judgement>[^\t]*)")
_NUMBER = re.compile(r"(val|act|dom)\s+(\d+(?:\.\d+)?)")
_LINE = re.compile(r"(?P<id>Ses\S+) \[\d+\.\d+-\d+\.\d+\]:\s?(?P<text>.*)")
_TAG = re.compile(r"\[[^\]]*\]")
_STEP = "corpora.iemocap"


@dataclass(frozen=True)
class Iemocap:
    """Reads the release as it is distributed (the folder that holds Session1 … Session5).

    The speaker is the session with the letter of the *turn*; the letter in the dialogue's name only says who wore
    the markers. The sound is the sentence wav as a whole. The text is the transcript without its [TAGS], and may
    be empty; `verbatim` keeps them.

    Args:
        sessions: which to read. All five unless a partial release is meant.

    Source: format and traps are those of the release's own documentation. `C-E*` raters are external,
        `C-F*` and `C-M*` the actors themselves, whom the summary leaves out.
    """

    version: ClassVar[int] = 1
    sessions: tuple[int, ...] = (1, 2, 3, 4, 5)

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        units = {}
        for number in self.sessions:
            name = f"Session{number}"
            folder = root / name
            if not folder.is_dir():
                todo = "put the whole release there, or list the sessions to read in `sessions`"
                raise MissingFolder(f"{name} of IEMOCAP", folder, todo)
            found = [
                *_files(folder / "dialog" / "EmoEvaluation", "*.txt"),
                *_files(folder / "dialog" / "transcriptions", "*.txt"),
                *_files(folder / "sentences" / "wav", "*/*.wav"),
            ]
            units[name] = [path.relative_to(root).as_posix() for path in found]
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        texts = dict(_transcripts(root, [path for path in files if "/transcriptions/" in path]))
        wavs = {path.rpartition("/")[2].removesuffix(".wav"): path for path in files if path.endswith(".wav")}
        judged = set()
        for path in sorted(path for path in files if "/EmoEvaluation/" in path):
            turns = sorted(_blocks(path, (root / path).read_bytes()), key=lambda block: (block["start_s"], block["id"]))
            for turn, block in enumerate(turns):
                if block["id"] in judged:
                    raise MalformedSource(path, f"utterance {block['id']} has a second summary line")
                judged.add(block["id"])
                reason = _missing(block["id"], wavs, texts)
                try:
                    duration_s = 0.0 if reason else duration_of(root, wavs[block["id"]])
                except Untreatable as error:
                    reason = str(error)
                if reason:
                    rows.failures.append(failure_row(_STEP, make_id(corpus, block["id"]), reason))
                    continue
                recording, verbatim = files[wavs[block["id"]]], texts[block["id"]]
                rows.utterances.append(_utterance(corpus, unit, block, turn, recording, duration_s, verbatim))
                rows.labels += _labels(make_id(corpus, block["id"]), block)
        for name in sorted(wavs.keys() - judged):
            rows.failures.append(failure_row(_STEP, make_id(corpus, name), "no EmoEvaluation file has a line for it"))
        return rows


def _files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder, without the AppleDouble twins (`._name`) that archives made on a Mac carry."""
    if not folder.is_dir():
        raise MissingFolder("a part of IEMOCAP", folder, "unpack the release completely")
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("._"))


def _missing(name: str, wavs: Mapping[str, str], texts: Mapping[str, str]) -> str:
    if name not in wavs:
        return "there is no sentence wav of this name"
    return "" if name in texts else "no transcription has a line for it"


def _utterance(
    corpus: str, unit: str, block: Mapping[str, Any], turn: int, recording: RawFile, duration_s: float, verbatim: str
) -> dict[str, Any]:
    parts = block["parts"]
    return utterance_row(
        utterance_id=make_id(corpus, block["id"]),
        corpus=corpus,
        unit=unit,
        recording=recording,
        start_s=0.0,
        end_s=duration_s,
        verbatim=verbatim,
        text=_TAG.sub(" ", verbatim),
        speaker_id=f"Ses0{parts['session']}{parts['turn']}",
        dialogue_id=block["id"].rpartition("_")[0],
        turn=turn,
        session=parts["session"],
        language="en",
        attributes={
            "scenario": "improvised" if parts["scenario"].startswith("impro") else "scripted",
            "marker_wearer": parts["wearer"],
            "dialogue_start_s": f"{block['start_s']:.4f}",
            "dialogue_end_s": f"{block['end_s']:.4f}",
        },
    )


def _labels(utterance_id: str, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield label_row(utterance_id, "emotion", "summary", block["emotion"])
    for dimension, value in block["means"].items():
        yield label_row(utterance_id, DIMENSIONS[dimension], "summary", value, float(value))
    for kind, rater, judgement in block["raters"]:
        if kind == "C":
            names = [name.strip() for name in judgement.split(";")]
            for name in dict.fromkeys(name for name in names if name):
                yield label_row(utterance_id, "emotion", rater, name)
        else:
            for dimension, value in _NUMBER.findall(judgement):
                yield label_row(utterance_id, DIMENSIONS[dimension], rater, value, float(value))


def _blocks(path: str, raw: bytes) -> Iterator[dict[str, Any]]:
    """The summary lines of one EmoEvaluation file, each with the raters' lines below it.

    Raises:
        MalformedSource: no header, a summary line of another form, an unknown emotion or utterance id.
    """
    lines = _lines(raw)
    if not lines[0].startswith("%"):
        raise MalformedSource(path, "its first line is not the '% [START_TIME - END_TIME] …' header it must have")
    block: dict[str, Any] | None = None
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("["):
            if block is not None:
                yield block
            block = _summary(path, number, line)
        elif block is not None and (match := _RATER.match(line)):
            block["raters"].append((match["kind"], match["rater"], match["judgement"]))
    if block is not None:
        yield block


def _summary(path: str, number: int, line: str) -> dict[str, Any]:
    match = _SUMMARY.fullmatch(line)
    if match is None:
        raise MalformedSource(path, f"line {number} is no '[start - end] TURN EMOTION [V, A, D]' line: {line!r}")
    if match["emotion"] not in EMOTIONS:
        known = ", ".join(sorted(EMOTIONS))
        raise MalformedSource(path, f"line {number} has the unknown emotion '{match['emotion']}' (known: {known})")
    parts = _ID.fullmatch(match["id"])
    if parts is None:
        raise MalformedSource(path, f"line {number} has '{match['id']}', which is no utterance id of IEMOCAP")
    start_s, end_s = float(match["start"]), float(match["end"])
    if end_s <= start_s:
        raise MalformedSource(path, f"line {number} ends at {end_s} s, not after its start at {start_s} s")
    return {
        "id": match["id"],
        "parts": parts,
        "start_s": start_s,
        "end_s": end_s,
        "emotion": match["emotion"],
        "means": {name: match[name] for name in DIMENSIONS},
        "raters": [],
    }


def _transcripts(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(utterance id, verbatim); lines without a proper id, which the release has, are none of ours."""
    for path in sorted(paths):
        for line in _lines((root / path).read_bytes()):
            if match := _LINE.fullmatch(line):
                yield match["id"], match["text"].strip()


def _lines(raw: bytes) -> list[str]:
    """LF or CRLF; ASCII but for a few bytes of a one-byte code page in comments."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n").split("\n")
