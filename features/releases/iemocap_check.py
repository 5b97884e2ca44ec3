"""The strict check of IEMOCAP: the whole tree, file by file, against the published release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from features.check import Anomaly, Findings, counted
from features.releases import forced_alignment, iemocap_flaws
from features.releases.iemocap_counts import NO_ALIGNMENT, SESSIONS, of_sessions, published, tally
from features.releases.iemocap_files import DIALOGUE, UTTERANCE, Fault, Turn, dialogue_of, transcripts, turns
from features.releases.walk import dangling, misnamed_files

ANOMALIES = {
    "missing_session": "a session is not there",
    "missing_folder": "a session lacks one of its folders",
    "missing_dialogue": "a session has fewer dialogues than it should",
    "incomplete_dialogue": "a dialogue lacks its summary, transcription, recording, sentence wavs or alignments",
    "stray_file": "a text file is named after no dialogue of its session, such as a single rater's file left too high",
    "misnamed_file": "a file or folder whose name is not UTF-8: what lies there is not ingested",
    "dangling_link": "a link whose target is gone: what should be there is not read",
    "apple_double": "twins that an archive made on a Mac carries; ignored",
    "unparsable_summary": "a file of EmoEvaluation has no header, or a summary line another form",
    "unparsable_rating": "a rater's line has another form, so that nobody can say what it judges",
    "unknown_emotion": "a summary has an emotion that is none of the eleven codes",
    "unknown_id": "a summary line or a sentence wav is named after no utterance",
    "foreign_id": "an utterance stands in the file or folder of another dialogue",
    "second_summary": "an utterance has two summary lines",
    "second_transcription": "an utterance has two lines with different texts",
    "empty_span": "a summary ends before or where it starts",
    "dimension_outside": "a mean of valence, activation or dominance is not in [1, 5]",
    "missing_dimension": "a rater gave no value of a dimension; the mean is of the others",
    "unknown_category": "a rater names an emotion that is none of the ten; it is kept as it stands",
    "majority_differs": "the external raters' majority is not the summary's emotion, which is kept",
    "summary_without_wav": "an utterance is judged and has no sentence wav",
    "summary_without_transcription": "an utterance is judged and recorded, but not transcribed",
    "wav_without_summary": "a sentence wav that nobody judged",
    "transcription_without_summary": "a transcribed utterance that is neither judged nor recorded",
    "unreadable_wav": "a sentence wav is no PCM wav file",
    "truncated_wav": "a sentence wav is shorter than its header says",
    "wav_format": "a sentence wav is not 16 kHz, mono, 16 bit",
    "duration_mismatch": "a sentence wav lasts longer or shorter than its span in the summary, by more than 0.1 s",
    "unreadable_recording": "a dialogue's recording is no PCM wav file",
    "short_recording": "a dialogue's recording ends before its last turn does",
    "missing_alignment": "an utterance has no forced alignment; two of the release have none in any copy",
    "stray_alignment": "a forced alignment of no utterance",
    "unparsable_alignment": "a forced alignment has no rows, or a line of another form",
    "alignment_disorder": "rows of a forced alignment go back, overlap or leave a hole",
    "alignment_misfit": "a forced alignment starts or ends elsewhere than its wav, by more than 0.05 s",
}
"""Name -> what it means."""

SUMMARIES, TEXTS, RECORDINGS, WAVS, ALIGNED = FOLDERS = (
    "dialog/EmoEvaluation", "dialog/transcriptions", "dialog/wav", "sentences/wav", "sentences/ForcedAlignment",
)  # fmt: skip


@dataclass
class _Session:
    """What is there of one session. `parts` says of which dialogues each folder has a file or folder."""

    name: str
    parts: dict[str, set[str]] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)  # those whose summary has a fault too
    texts: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, Path] = field(default_factory=dict)  # of whole dialogues
    wavs: dict[str, Path] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)  # of the wavs, as their headers say
    tables: dict[str, dict[forced_alignment.Kind, Path]] = field(default_factory=dict)

    @property
    def dialogues(self) -> set[str]:
        return {name for names in self.parts.values() for name in names if DIALOGUE.fullmatch(name)}

    @property
    def recorded(self) -> list[str]:
        return [name for name in self.wavs if UTTERANCE.fullmatch(name)]

    def lacks(self, part: str, utterance: str) -> bool:
        """The whole dialogue is missing from this folder, which is told once and not of each utterance."""
        return dialogue_of(utterance) not in self.parts.get(part, set())


def check(root: Path, sessions: Sequence[int] = SESSIONS, expected: Mapping[str, int] | None = None) -> Findings:
    """Compares a tree with the published release; see `features.check.Checked`.

    An utterance that is nowhere but in one or two of the three places (summary, sentence wav, transcription) is told
    once, by what it lacks first. A dialogue or folder that is missing as a whole is told once, not for each utterance.
    """
    expected = published(sessions) if expected is None else expected
    findings = Findings()
    found: Counter[str] = Counter()
    for number in sessions:
        session = _Session(f"Session{number}")
        findings.anomalies += _check_session(root, session, expected.get(f"dialogues, session {number}", 0))
        judged = [(turn.id, turn.emotion, session.texts.get(turn.id)) for turn in session.turns.values()]
        aligned = [name for name, tables in session.tables.items() if "wdseg" in tables]
        found.update(tally(judged, session.recorded, session.dialogues, aligned))
    findings.anomalies += misnamed_files(root)
    own = dict(found) if set(sessions) == set(SESSIONS) else of_sessions(sessions, found)
    findings.counts += counted(own, expected)
    return findings


def _check_session(root: Path, session: _Session, n_dialogues: int) -> Iterator[Anomaly]:
    yield from _dangling_links(root, session)
    if not (root / session.name).is_dir():
        yield Anomaly("missing_session", session.name, "the folder is not there: unpack the release completely")
        return
    yield from _apple_doubles(root, session)
    missing = [part for part in FOLDERS if not (root / session.name / part).is_dir()]
    for part in missing:
        yield Anomaly("missing_folder", f"{session.name}/{part}", "the folder is not there: unpack it completely")
    yield from _summaries(root, session)
    yield from _transcriptions(root, session)
    yield from _sounds(root, session)
    _find_tables(root, session)
    yield from _dialogues(session, missing, n_dialogues)
    yield from _differences(session)
    yield from _turns(session)
    yield from _wavs(root, session)
    yield from _recordings(root, session)
    yield from _alignments(root, session)


def _dangling_links(root: Path, session: _Session) -> Iterator[Anomaly]:
    """In the session, and in those of its folders that are links themselves and lie elsewhere."""
    folders = [f"{session.name}/{folder}" for folder in ("dialog", "sentences", *FOLDERS)]
    places = session.name, *(folder for folder in folders if (root / folder).is_symlink())
    for where, target in dict(link for place in places for link in dangling(root, place)).items():
        yield Anomaly("dangling_link", where, f"it is a link to '{target}', where nothing is")


def _apple_doubles(root: Path, session: _Session) -> Iterator[Anomaly]:
    n_found = sum(1 for path in (root / session.name).rglob("._*") if path.is_file())
    if n_found:
        yield Anomaly("apple_double", session.name, f"{n_found} files named ._* are ignored", known=True)


def _paths(root: Path, session: _Session, part: str, pattern: str) -> list[Path]:
    """Files below a folder, in order; AppleDouble twins and links to nowhere are left out."""
    found = (root / session.name / part).glob(pattern)
    return sorted((path for path in found if not path.name.startswith("._") and path.is_file()), key=str)


def _where(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _of_dialogues(root: Path, session: _Session, part: str, pattern: str) -> Iterator[Path | Anomaly]:
    """The files that are named after dialogues of this session, which then have this part; the others as strays."""
    own = session.parts.setdefault(part, set())
    for path in _paths(root, session, part, pattern):
        if (match := DIALOGUE.fullmatch(path.stem)) and match["session"] == session.name[-1]:
            own.add(path.stem)
            yield path
        else:
            problem = f"'{path.name}' is named after no dialogue of {session.name}"
            yield Anomaly("stray_file", _where(root, path), problem)


def _summaries(root: Path, session: _Session) -> Iterator[Anomaly]:
    for path in _of_dialogues(root, session, SUMMARIES, "*.txt"):
        if isinstance(path, Anomaly):
            yield path
            continue
        where = _where(root, path)
        for turn in turns(path.read_bytes()):
            place = f"{where}:{turn.line}"
            if isinstance(turn, Fault):
                yield Anomaly(turn.name, place, turn.problem)
            elif turn.id in session.turns:
                yield Anomaly("second_summary", place, f"utterance {turn.id} has a second summary line")
            else:
                session.turns[turn.id] = turn
                if turn.dialogue != path.stem:
                    yield Anomaly("foreign_id", place, f"utterance {turn.id} belongs to another dialogue")
            session.judged |= {turn.id} - {""}


def _transcriptions(root: Path, session: _Session) -> Iterator[Anomaly]:
    for path in _of_dialogues(root, session, TEXTS, "*.txt"):
        if isinstance(path, Anomaly):
            yield path
            continue
        for name, verbatim in transcripts(path.read_bytes()):
            if session.texts.setdefault(name, verbatim) != verbatim:
                problem = f"utterance {name} has a second line with another text"
                yield Anomaly("second_transcription", _where(root, path), problem)


def _sounds(root: Path, session: _Session) -> Iterator[Anomaly]:
    for found in _of_dialogues(root, session, RECORDINGS, "*.wav"):
        if isinstance(found, Anomaly):
            yield found
        else:
            session.recordings[found.stem] = found
    session.parts[WAVS] = set()
    for path in _paths(root, session, WAVS, "*/*.wav"):
        session.parts[WAVS].add(path.parent.name)
        session.wavs[path.stem] = path
        if UTTERANCE.fullmatch(path.stem) is None:
            yield Anomaly("unknown_id", _where(root, path), f"'{path.stem}' is no utterance id of IEMOCAP")
        elif dialogue_of(path.stem) != path.parent.name:
            yield Anomaly("foreign_id", _where(root, path), f"utterance {path.stem} belongs to another dialogue")


def _find_tables(root: Path, session: _Session) -> None:
    session.parts[ALIGNED] = set()
    for kind in forced_alignment.TIERS:
        for path in _paths(root, session, ALIGNED, f"*/*.{kind}"):
            session.parts[ALIGNED].add(path.parent.name)
            session.tables.setdefault(path.stem, {})[kind] = path


def _dialogues(session: _Session, missing: Sequence[str], n_expected: int) -> Iterator[Anomaly]:
    found = session.dialogues
    if len(found) < n_expected:
        yield Anomaly("missing_dialogue", session.name, f"there are {len(found)} dialogues of {n_expected}")
    for name in sorted(found):
        lacking = [part for part in FOLDERS if part not in missing and name not in session.parts[part]]
        if lacking:
            yield Anomaly("incomplete_dialogue", f"{session.name}/{name}", f"nothing of it is in {', '.join(lacking)}")


def _differences(session: _Session) -> Iterator[Anomaly]:
    """The differences of three sets: who is judged, recorded, transcribed."""
    sets = {SUMMARIES: session.judged, WAVS: session.wavs.keys(), TEXTS: session.texts.keys()}
    for name in sorted(set().union(*sets.values())):
        if UTTERANCE.fullmatch(name) is None:
            continue  # told of its wav already
        judged, recorded, transcribed = (name in names or session.lacks(part, name) for part, names in sets.items())
        where = f"{session.name}/{name}"
        if not judged and name in session.wavs:
            also = "" if transcribed else ", and it is not transcribed"
            yield Anomaly("wav_without_summary", where, f"no EmoEvaluation file has a line for it{also}")
        elif not judged:
            also = "" if recorded else ", and it has no sentence wav"
            yield Anomaly("transcription_without_summary", where, f"no EmoEvaluation file has a line for it{also}")
        elif not recorded:
            also = "" if transcribed else ", and it is not transcribed"
            yield Anomaly("summary_without_wav", where, f"there is no sentence wav of this name{also}")
        elif not transcribed:
            yield Anomaly("summary_without_transcription", where, "no transcription has a line for it")


def _turns(session: _Session) -> Iterator[Anomaly]:
    for turn in session.turns.values():
        for flaw in iemocap_flaws.of_turn(turn):
            yield Anomaly(flaw.name, f"{session.name}/{turn.id}", flaw.problem, flaw.known)


def _wavs(root: Path, session: _Session) -> Iterator[Anomaly]:
    for name, path in session.wavs.items():
        duration_s, flaws = iemocap_flaws.of_wav(path, session.turns.get(name))
        if duration_s is not None:
            session.durations_s[name] = duration_s
        for flaw in flaws:
            yield Anomaly(flaw.name, _where(root, path), flaw.problem, flaw.known)


def _recordings(root: Path, session: _Session) -> Iterator[Anomaly]:
    ends_s: dict[str, float] = {}
    for turn in session.turns.values():
        ends_s[turn.dialogue] = max(turn.end_s, ends_s.get(turn.dialogue, 0.0))
    for name, path in session.recordings.items():
        for flaw in iemocap_flaws.of_recording(path, ends_s.get(name, 0.0)):
            yield Anomaly(flaw.name, _where(root, path), flaw.problem)


def _alignments(root: Path, session: _Session) -> Iterator[Anomaly]:
    names = session.judged | session.wavs.keys() | session.texts.keys()
    for name in sorted(names):
        lacking = [kind for kind in forced_alignment.TIERS if kind not in session.tables.get(name, {})]
        if lacking and UTTERANCE.fullmatch(name) and not session.lacks(ALIGNED, name):
            known = name in NO_ALIGNMENT
            yield Anomaly("missing_alignment", f"{session.name}/{name}", f"it has no {', '.join(lacking)}", known)
    for name, tables in sorted(session.tables.items()):
        if name not in names:
            yield Anomaly("stray_alignment", f"{session.name}/{name}", "nothing else is known of this utterance")
            continue
        for kind, path in tables.items():
            for flaw in iemocap_flaws.of_table(kind, path.read_bytes(), session.durations_s.get(name)):
                yield Anomaly(flaw.name, _where(root, path), flaw.problem)
