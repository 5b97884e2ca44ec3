"""Films with subtitles: one unit per title, one utterance per cue that one speaker says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import films_check
from features.rows import failure_row, utterance_row
from features.subtitles.cue_fates import Fate, Rules
from features.subtitles.film_titles import Sync, Title, read_title
from features.subtitles.subtitle_files import is_utf8, title_folders, title_paths
from features.voice_activity import voice_of_file
from warehouse.catalog import CountOrZero, Positive, PositiveOrZero
from warehouse.errors import MissingFolder
from warehouse.schema import make_id

_STEP = "corpora.films"


@dataclass(frozen=True)
class Films:
    """Reads `<root>/<title>/<film>.mkv` (or another of MEDIA) with `<film>.srt`, `<film>.en.vtt`, `<film>.ass`, ….

    Where no such file stands beside a film, or only a forced one, its own stream of text is read. A cue becomes an
    utterance when one speaker says it, it is long enough and it has enough words once markup, sound descriptions and
    speaker names are off. A cue that does not is no failure (`cue_fates.LEFT_OUT`); one without times, or outside the
    soundtrack, is, and so is a title without readable subtitles, in another language than it should be, or whose
    subtitles do not lie where its speech is, a folder that holds two films, and a title whose name is not UTF-8. None
    of these touches another title.

    Args:
        min_duration_s: shorter cues are left out.
        min_words: cues of fewer words are left out.
        scene_gap_s: a longer pause between cues starts a new dialogue.
        language: of the subtitles to read (BCP 47); '' takes what there is.
        merge_gap_s: a cue that does not end a sentence takes in the next one after a pause shorter than this; 0 for
            one utterance per cue, as in Li et al. 2021.
        merge_max_s: no cue is taken in that would make an utterance longer: captions without punctuation never end a
            sentence, and would become one utterance per scene.
        sync: what to do about the soundtrack's voice activity: 'off' does not look, 'check' refuses titles whose
            subtitles are elsewhere, 'correct' moves them.
        min_sync_score: correlation of subtitles and speech below which a title is refused. So is one whose cues may
            agree as well with sound that is not theirs: a few always may (`subtitle_sync.align`).
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = {}
    anomalies: ClassVar[Mapping[str, str]] = films_check.ANOMALIES
    min_duration_s: PositiveOrZero = 1.5
    min_words: CountOrZero = 2
    scene_gap_s: PositiveOrZero = 8.0
    language: str = ""
    merge_gap_s: PositiveOrZero = 0.0
    merge_max_s: Positive = 30.0
    sync: Sync = "check"
    min_sync_score: Annotated[float, Field(ge=-1, le=1)] = 0.15

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        if not root.is_dir():
            raise MissingFolder("the film folder", root, "make it, with one folder per title in it")
        units = {}
        for folder, title, names in title_folders(root):
            if paths := title_paths(folder, names, self.language):
                units[title] = paths if all(map(is_utf8, paths)) else []
        if not units:
            raise MissingFolder("a film in a folder of its own", root, "put each with its subtitles into one there")
        return units

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        title = self._title(root, list(files), {path: file.sha256 for path, file in files.items()})
        rows = Rows()
        if title.fault:
            rows.failures.append(failure_row(_STEP, make_id(corpus, unit), title.fault.problem))
            return rows
        for fate in title.fates:
            if fate.problem:
                utterance_id = make_id(corpus, unit, f"{fate.cue.number:04d}")
                rows.failures.append(failure_row(_STEP, utterance_id, fate.problem))
        rows.utterances += self._utterances(title, corpus, unit, files[title.media])
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Counts per title and of all, and every anomaly; reads all subtitles and hears all soundtracks."""

        def read(paths: Sequence[str]) -> Title:
            return self._title(root, paths, {})

        return films_check.check(root, self.language, read, self.published if expected is None else expected)

    def _title(self, root: Path, paths: Sequence[str], digests: Mapping[str, str]) -> Title:
        def voice(path: str) -> np.ndarray:
            return voice_of_file(root / path, digests.get(path, ""))

        rules = Rules(self.min_duration_s, self.min_words, self.merge_gap_s, self.merge_max_s)
        return read_title(root, paths, rules, self.language, self.sync, self.min_sync_score, voice)

    def _utterances(self, title: Title, corpus: str, unit: str, film: RawFile) -> Iterator[dict[str, Any]]:
        places = _places(title.fates, self.scene_gap_s)
        for fate in title.fates:
            if not fate.is_utterance or fate.cue.times_s is None:
                continue
            scene, turn = places[fate.cue.number]
            yield utterance_row(
                utterance_id=make_id(corpus, unit, f"{fate.cue.number:04d}"),
                corpus=corpus,
                unit=unit,
                recording=film,
                start_s=fate.cue.times_s[0],
                end_s=fate.cue.times_s[1],
                verbatim=fate.cue.text,
                text=fate.text,
                speaker_id=make_id(unit, fate.cue.speaker.casefold()) if fate.cue.speaker else "",
                dialogue_id=make_id(unit, f"{scene:03d}"),
                turn=turn,
                language=title.language,
                attributes=_attributes(title, fate),
            )


def _attributes(title: Title, fate: Fate) -> Mapping[str, str]:
    """What is told of an utterance only where it is not as the file has it."""
    attributes = {}
    if title.alignment is not None and title.is_moved:
        attributes["offset_s"] = f"{title.alignment.offset_s:.2f}"
        attributes["ratio"] = f"{title.alignment.ratio:.6f}"
        attributes["score"] = f"{title.alignment.score:.3f}"
    if len(fate.members) > 1:
        attributes["cues"] = " ".join(f"{number:04d}" for number in fate.members)
    return attributes


def _places(fates: Sequence[Fate], gap_s: float) -> dict[int, tuple[int, int]]:
    """Cue number of each utterance -> its scene and turn, in order of time, whatever that of the file is.

    Cues that are no utterances hold a scene together too, but for failures, whose times mean nothing, and for what
    nobody in the film says or does: adverts and signs.
    """
    places: dict[int, tuple[int, int]] = {}
    scene, turn, spoken_until_s = 0, 0, None
    shown = {f.cue.number: f for f in fates if not f.problem and f.left_out not in ("advert", "placed")}
    for (start_s, end_s), number in sorted((f.cue.times_s, n) for n, f in shown.items() if f.cue.times_s):
        if spoken_until_s is not None and start_s - spoken_until_s > gap_s:
            scene, turn = scene + 1, 0
        if shown[number].is_utterance:
            places[number] = scene, turn
            turn += 1
        spoken_until_s = max(end_s, spoken_until_s or end_s)
    return places
