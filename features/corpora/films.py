"""Films with subtitles: one unit per title, one utterance per cue that one speaker says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from features.audio import TOLERANCE_S
from features.plugin import RawFile, Rows, normalised_words
from features.rows import duration_of, failure_row, utterance_row
from features.subtitles import Cue, parse_srt, spoken_text
from warehouse.errors import MalformedSource, MissingFolder, Untreatable
from warehouse.schema import make_id

MEDIA = frozenset({".mkv", ".mp4", ".avi", ".wav", ".flac"})
KINDS = frozenset({"sdh", "cc", "hi", "forced"})
"""Parts of a subtitle file's name that say what it is, not its language."""

_STEP = "corpora.films"


@dataclass(frozen=True)
class Films:
    """Reads `<root>/<title>/<film>.mkv` (or .mp4, .avi, .wav, .flac) with `<film>.srt`, `<film>.en.srt`, ….

    A cue becomes an utterance when one speaker says it, it is long enough and it has enough words once markup,
    sound descriptions and speaker names are off. A cue that does not is no failure; one without times, or outside
    the soundtrack, is, and so is a film without readable subtitles.

    Args:
        min_duration_s: shorter cues are left out.
        min_words: cues of fewer words are left out.
        scene_gap_s: a longer pause between cues starts a new dialogue.
        language: of the subtitles to read, as their suffix has it; '' takes what there is.
    """

    version: ClassVar[int] = 1
    min_duration_s: float = 1.5
    min_words: int = 2
    scene_gap_s: float = 8.0
    language: str = ""

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        if not root.is_dir():
            raise MissingFolder("the film folder", root, "make it, with one folder per title in it")
        units = {}
        for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
            media = [name for name in names if Path(name).suffix.lower() in MEDIA]
            if len(media) > 1:
                raise MalformedSource(
                    folder, f"it holds {len(media)} films ({', '.join(media)}): give each a folder of its own"
                )
            if media:
                found = [*media, *_subtitles(Path(media[0]).stem, names, self.language)]
                units[folder.name] = [f"{folder.name}/{name}" for name in found]
        if not units:
            raise MissingFolder("any film", root, "put each film with its subtitles into a folder of its own there")
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = Rows()
        media = next(path for path in files if Path(path).suffix.lower() in MEDIA)
        subtitles = next((path for path in files if path != media), None)

        def fail(reason: str, *number: str) -> None:
            rows.failures.append(failure_row(_STEP, make_id(corpus, unit, *number), reason))

        if subtitles is None:
            stem = Path(media).stem
            fail(f"no subtitles {stem}.srt or {stem}.{self.language or 'en'}.srt stand beside {media}")
            return rows
        try:
            duration_s = duration_of(root, media)
            cues = parse_srt((root / subtitles).read_bytes())
        except Untreatable as error:
            fail(str(error))
            return rows
        if not cues:
            fail(f"{subtitles} holds no subtitle")
        language = self.language or _language(Path(subtitles).name, Path(media).stem)
        scenes = _scenes(cues, self.scene_gap_s)
        n_before: dict[int, int] = {}
        for cue in cues:
            number = f"{cue.number:04d}"
            if reason := _problem(cue, duration_s):
                fail(reason, number)
            elif (text := self._utterance_text(cue)) and cue.times_s:
                scene = scenes[cue.number]
                turn = n_before[scene] = n_before.get(scene, -1) + 1
                rows.utterances.append(
                    utterance_row(
                        utterance_id=make_id(corpus, unit, number),
                        corpus=corpus,
                        unit=unit,
                        recording=files[media],
                        start_s=cue.times_s[0],
                        end_s=cue.times_s[1],
                        verbatim=cue.text,
                        text=text,
                        dialogue_id=make_id(unit, f"{scene:03d}"),
                        turn=turn,
                        language=language,
                    )
                )
        return rows

    def _utterance_text(self, cue: Cue) -> str | None:
        """The words of a cue that is an utterance, else None."""
        start_s, end_s = cue.times_s or (0.0, 0.0)
        text = spoken_text(cue.text)
        if text is None or len(normalised_words(text)) < self.min_words:
            return None
        return text if round(end_s - start_s, 3) >= self.min_duration_s else None


def _problem(cue: Cue, duration_s: float) -> str | None:
    """Why a cue cannot be a span of the soundtrack, in a sentence."""
    if cue.times_s is None:
        return f"cue {cue.number} has no line of times"
    start_s, end_s = cue.times_s
    if end_s <= start_s:
        return f"cue {cue.number} ends at {end_s} s, not after its start at {start_s} s"
    if end_s > duration_s + TOLERANCE_S:
        return f"cue {cue.number} [{start_s}, {end_s}] s passes the end of the soundtrack at {duration_s:.3f} s"
    return None


def _scenes(cues: Sequence[Cue], gap_s: float) -> dict[int, int]:
    """Cue number -> scene, in order of time; every cue counts, also those that are no utterances."""
    scenes: dict[int, int] = {}
    scene, spoken_until_s = 0, None
    for (start_s, end_s), number in sorted((cue.times_s, cue.number) for cue in cues if cue.times_s):
        if spoken_until_s is not None and start_s - spoken_until_s > gap_s:
            scene += 1
        scenes[number] = scene
        spoken_until_s = max(end_s, spoken_until_s or end_s)
    return scenes


def _subtitles(stem: str, names: Sequence[str], language: str) -> list[str]:
    """The subtitle file to read, or none: full ones before forced ones, plain before SDH, then by name."""
    ranked = []
    for name in names:
        if name.startswith(stem) and name.lower().endswith(".srt"):
            found = _language(name, stem)
            if not language or found in ("", language):
                kinds = _suffixes(name, stem)
                ranked.append((found != language, "forced" in kinds, len(kinds), name))
    return [min(ranked)[-1]] if ranked else []


def _language(name: str, stem: str) -> str:
    """The language that a subtitle file's name states: 'en' for 'Film.en.sdh.srt' and 'Film.eng.srt'."""
    stated = [part for part in _suffixes(name, stem) if part not in KINDS]
    return {"eng": "en"}.get(stated[0], stated[0]) if stated else ""


def _suffixes(name: str, stem: str) -> list[str]:
    return [part for part in name[len(stem) : -len(".srt")].lower().split(".") if part]
