"""EmotionLines, Friends: one unit per official split, one utterance per line of a dialogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import emotionlines_check
from features.releases.emotionlines_release import CLASSES, DEPTH, FILES, JOINT, find_files, read_table
from features.releases.meld_release import canonical
from features.rows import failure_row, label_row, text_row
from warehouse.errors import MalformedSource, MissingFolder
from warehouse.schema import make_id

SUMMARY, VOTES = "summary", "votes"

_STEP = "corpora.emotionlines"


@dataclass(frozen=True)
class EmotionLines:
    """Reads `friends.train.json`, `friends.dev.json` and `friends.test.json`, wherever they lie under the root.

    The label that the votes decided is the rater 'summary' of scheme 'emotion'; the votes themselves are the rater
    'votes', one row per class with the number of its votes: scheme 'emotion/joy' and so on. Texts whose typographic
    signs are Windows-1252 bytes read as control characters are repaired, and stay as they are in `verbatim`. An
    utterance that cannot be read is a failure. There is no sound. EmotionX-2019's `friends.json` is refused where it
    stands alone: it holds the test text of MELD without saying which it is.

    Source: Hsu et al. 2018; counts were made on the published files.
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = emotionlines_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = emotionlines_check.ANOMALIES

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        found = find_files(root)
        missing = [name for name in FILES.values() if name not in found]
        if missing and JOINT in found:
            problem = (
                "it joins train, dev and test, and the last is MELD's test text: "
                f"put {', '.join(missing)} there, as EmotionLines has them"
            )
            raise MalformedSource(found[JOINT].relative_to(root).as_posix(), problem)
        if missing:
            todo = f"unpack EmotionLines there (looked {DEPTH} folders deep)"
            raise MissingFolder(f"'{missing[0]}' of EmotionLines", root / missing[0], todo)
        return {split: [found[name].relative_to(root).as_posix()] for split, name in FILES.items()}

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        ((path, source),) = files.items()
        table = read_table((root / path).read_bytes())
        rows = Rows()
        for fault in table.faults:
            if not fault.where:
                raise MalformedSource(path, fault.problem)
            rows.failures.append(failure_row(_STEP, make_id(corpus, unit, fault.where), fault.problem))
        for line in table.lines:
            utterance_id = make_id(corpus, unit, line.name)
            rows.utterances.append(
                text_row(
                    utterance_id=utterance_id,
                    corpus=corpus,
                    unit=unit,
                    source=source,
                    verbatim=line.text,
                    text=canonical(line.text),
                    speaker_id=canonical(line.speaker),
                    dialogue_id=f"{unit}_dia{line.dialogue}",
                    turn=line.number,
                    split=unit,
                    language="en",
                    attributes={"line": line.name},
                )
            )
            rows.labels.append(label_row(utterance_id, "emotion", SUMMARY, line.emotion))
            for name, n in zip(CLASSES, line.votes, strict=True):
                rows.labels.append(label_row(utterance_id, f"emotion/{name}", VOTES, str(n), float(n)))
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Every utterance against what is published; see `features.releases.emotionlines_check`."""
        return emotionlines_check.check(root, self.published if expected is None else expected)
