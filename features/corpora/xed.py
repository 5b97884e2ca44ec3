"""XED, English: emotions of film subtitles in text, several labels per line, and neutral lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from features.check import Findings
from features.plugin import RawFile, Rows, normalised_words
from features.releases import xed_check
from features.releases.xed_release import DEPTH, FILES, Line, find_files, plain_text, read_table, single_label
from features.rows import failure_row, label_row, text_row
from warehouse.errors import MalformedSource, MissingFolder
from warehouse.schema import make_id

_STEP = "corpora.xed"


@dataclass(frozen=True)
class Xed:
    """Reads `en-annotated.tsv` and `neu_en.txt`, wherever they lie under the root: a unit each.

    Lines keep their text verbatim; the normalised text has punctuation at its words, no music marks, and
    placeholders such as [PERSON] as they are. A line that cannot be read is a failure, but for the one that is blank
    in every copy. There is no sound.

    Args:
        rows: what an utterance is. 'label': one label of a line, so that a line of two labels is two utterances with
            the same words. It is the default because MCED's counts come out so, and because a protocol takes one
            label per utterance. 'single': a line of two words or more with letters, its one label chosen by the
            group's later rule (`features.releases.xed_release.single_label`). 'line': a line with all its labels,
            as XED means it; a protocol of one label per utterance refuses it.

    Source: Öhman et al. 2020; counts were made on the files of its repository.
    """

    version: ClassVar[int] = 1
    published: ClassVar[Mapping[str, int]] = xed_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = xed_check.ANOMALIES
    rows: Literal["label", "single", "line"] = "label"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        found = find_files(root)
        for unit, name in FILES.items():
            if unit not in found:
                todo = f"copy the folder AnnotatedData of XED there (looked {DEPTH} folders deep)"
                raise MissingFolder(f"'{name}' of XED", root / name, todo)
        return {unit: [path.relative_to(root).as_posix()] for unit, path in sorted(found.items())}

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        ((path, source),) = files.items()
        try:
            table = read_table(unit, (root / path).read_bytes())
        except UnicodeDecodeError as error:
            raise MalformedSource(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
        rows = Rows()
        for fault in table.faults:
            if fault.name != "blank_line" or fault.number not in xed_check.KNOWN_BLANK[unit]:
                rows.failures.append(failure_row(_STEP, make_id(corpus, unit, _name(fault.number)), fault.problem))
        for line in table.lines:
            text = plain_text(line.text)
            for name, labels in self._utterances(line, text):
                utterance_id = make_id(corpus, unit, *name)
                rows.utterances.append(
                    text_row(
                        utterance_id=utterance_id,
                        corpus=corpus,
                        unit=unit,
                        source=source,
                        verbatim=line.text,
                        text=text,
                        language="en",
                        attributes={"line": str(line.number), "labels": " ".join(line.labels)},
                    )
                )
                rows.labels += [label_row(utterance_id, "emotion", "summary", label) for label in labels]
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Every line against what is published; see `features.releases.xed_check`."""
        return xed_check.check(root, self.published if expected is None else expected)

    def _utterances(self, line: Line, text: str) -> list[tuple[tuple[str, ...], Sequence[str]]]:
        """Names and labels of the utterances that a line is."""
        name = _name(line.number)
        if self.rows == "label":
            return [((name, label), [label]) for label in line.labels]
        if self.rows == "line":
            return [((name,), line.labels)]
        is_speech = len(normalised_words(text)) > 1 and any(map(str.isalpha, text))
        return [((name,), [single_label(line.labels)])] if is_speech else []


def _name(number: int) -> str:
    return f"l{number:05d}"
