"""OpenSubtitles as OPUS publishes it: lines of film subtitles, tens of millions, in text only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import moses, opensubtitles_check, opus_xml
from features.releases.moses import Moses
from features.releases.opus_xml import Sentence
from features.rows import failure_row, text_row
from features.subtitles.subtitle_lines import Fate, evaluation_lines, fates_of, judged_bytes, judged_sentences
from warehouse.catalog import Count
from warehouse.errors import InvalidField, MalformedSource, MissingFolder, Untreatable
from warehouse.schema import make_id

_STEP = "corpora.opensubtitles"


@dataclass(frozen=True)
class OpenSubtitles:
    """Reads a Moses text such as `OpenSubtitles.en-zh_cn.en`, or a folder of XML documents
    `en/<year>/<film>/<document>.xml.gz`, wherever either lies under the root.

    An utterance is a line, or a sentence of a document, that is one speaker's speech once dashes, songs, sound
    descriptions and names are off; adverts are none. What is left out so is no failure; a line that is not UTF-8 is
    one, and so is a document that cannot be read. There is no sound.

    A Moses text is read in pieces of `lines_per_unit`. Where the other language or the `.ids` file lies beside it,
    they must have as many lines; the latter says which document a line comes from.

    Args:
        language: of the text, as OPUS writes it: 'en', 'zh_cn'.
        duplicates: 'drop' keeps the first of all lines with the same words, case and marks. Documents, whose order
            is that of their names, are surveyed for that before any is read; so one more document has all of them
            surveyed and read again, because it may have the first of any line. What gives the same rows then has
            nothing made again behind it.
        without: text files, relative to the root: a line that has the words of one of theirs, whatever its case and
            punctuation, is left out. For the test texts of whatever is trained on this.
        alignment: an XCES file, relative to the root: only documents and sentences that it aligns are read. This
            also decides which of a film's several subtitles count.
        lines_per_unit: of a Moses text.

    Source: Lison and Tiedemann 2016; the layouts are OPUS's, which asks for a link to www.opensubtitles.org.
    """

    version: ClassVar[int] = 2
    published: ClassVar[Mapping[str, int]] = opensubtitles_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = opensubtitles_check.ANOMALIES
    language: str = "en"
    duplicates: Literal["drop", "keep"] = "drop"
    without: tuple[str, ...] = ()
    alignment: str = ""
    lines_per_unit: Count = 50_000

    def __post_init__(self) -> None:
        where = "reader 'opensubtitles'"
        for name, paths in (("without", self.without), ("alignment", (self.alignment,))):
            for path in paths:
                if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                    raise InvalidField(where, name, f"is '{path}', but must be a path below the root of the corpus")

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        text, folder = self._found(root)
        evaluation_lines(root, self.without)  # which are there, and readable
        if text:
            _check_lengths(text)
            own = [path.relative_to(root).as_posix() for path in (text.text, *text.aligned)]
            _, starts = moses.line_starts(text.text, self.lines_per_unit)
            if not starts:
                raise MalformedSource(text.text.name, "it has no line: unpack OPUS's archive again")
            return {_piece(number, self.lines_per_unit): [*own, *self.without] for number in range(len(starts))}
        there = opus_xml.documents(folder)
        if not there:
            raise MissingFolder(f"any document in '{self.language}'", folder, "unpack OPUS's archive again")
        names = self._links(root) if self.alignment else there
        listed = [self.alignment] if self.alignment else []
        return {
            unit: [
                *(there[name].relative_to(root).as_posix() for name in group if name in there), *listed, *self.without
            ]
            for unit, group in opus_xml.groups(list(names)).items()
        }  # fmt: skip

    def wants_survey(self, root: Path) -> bool:
        """Only documents whose repeats are dropped: a Moses text is one file, which every piece of it rests on."""
        return self.duplicates == "drop" and self._found(root)[0] is None

    def survey(self, root: Path, units: Mapping[str, Mapping[str, RawFile]]) -> list[dict[str, Any]]:
        """Which sentences are repeats of earlier ones: a row per document that can be read, a bit per sentence."""
        marked: list[tuple[str, str, int]] = []

        def judgements() -> Iterator[tuple[Fate, str]]:
            for unit, files in units.items():
                for document, found in self._documents(root, unit, files):
                    if not isinstance(found, Untreatable):
                        marked.append((unit, document, len(found)))
                        yield from ((fate, said) for _, fate, said in found)

        repeated = fates_of(judgements()) == Fate.DUPLICATE
        rows, at = [], 0
        for unit, document, n_sentences in marked:
            marks = np.packbits(repeated[at : at + n_sentences]).tobytes()
            rows.append({"unit": unit, "name": document, "marks": marks})
            at += n_sentences
        return rows

    def read(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str,
        survey: Mapping[str, bytes] | None = None,
    ) -> Rows:  # fmt: skip
        text, _ = self._found(root)
        rows = Rows()
        if text:
            self._read_piece(root, text, unit, files, corpus, rows)
        elif self.duplicates == "drop" and survey is None:
            raise TypeError(f"unit '{unit}' cannot be read without repeats unless 'survey' has said which they are")
        else:
            self._read_documents(root, unit, files, corpus, survey or {}, rows)
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Every line or document; see `features.releases.opensubtitles_check`."""
        return opensubtitles_check.check(root, self.language, self.without, self.alignment, expected)

    def _found(self, root: Path) -> tuple[Moses | None, Path]:
        """The Moses text, or the folder of documents."""
        if not root.is_dir():
            raise MissingFolder("OpenSubtitles", root, "name the folder that OPUS's archive unpacks to")
        text, folder = moses.find_moses(root, self.language), opus_xml.find_language(root, self.language)
        if text and folder:
            there = f"{text.text.name} and the documents of {folder.relative_to(root).as_posix()}/"
            raise MalformedSource(root, f"it holds {there}, the same lines twice: give each a folder of its own")
        if text and self.alignment:
            raise MalformedSource(self.alignment, f"it aligns documents, but {text.text.name} is aligned already")
        if not text and not folder:
            name = f"OpenSubtitles.en-zh_cn.{self.language}"
            todo = f"unpack OPUS's Moses text ({name}) or its documents ({self.language}/<year>/…) there"
            raise MissingFolder(f"any text in '{self.language}'", root, todo)
        return text, folder or root

    def _evaluation(self, root: Path, files: Mapping[str, RawFile]) -> frozenset[str]:
        return _evaluation(root, self.without, tuple(files[path].sha256 for path in self.without))

    # -- a Moses text ------------------------------------------------------------------------------------------

    def _read_piece(
        self, root: Path, text: Moses, unit: str, files: Mapping[str, RawFile], corpus: str, rows: Rows
    ) -> None:
        evaluation = self._evaluation(root, files)
        path = text.text.relative_to(root).as_posix()
        first = int(unit.rpartition("-")[2]) - 1
        fates = None
        if self.duplicates == "drop":
            fates = _fates(text.text, files[path].sha256, evaluation)
        for at, (line, origin) in enumerate(self._lines(text, first), start=first):
            number = str(at + 1)
            utterance_id = make_id(corpus, f"{number:0>8}")
            fate = Fate.KEPT if fates is None else Fate(fates[at])
            if fate in (Fate.KEPT, Fate.NOT_UTF8):
                fate, verbatim, said = judged_bytes(line, evaluation)
            if fate == Fate.NOT_UTF8:
                rows.failures.append(failure_row(_STEP, utterance_id, f"line {number} is not UTF-8"))
            if fate != Fate.KEPT:
                continue
            columns: dict[str, Any] = {"attributes": {"line": number}}
            if origin is not None:
                found = moses.origin_of(origin, self.language)
                if found is None:
                    reason = f"line {number} of the .ids file is not two documents and two lists of sentences"
                    rows.failures.append(failure_row(_STEP, utterance_id, reason))
                    continue
                columns["dialogue_id"] = make_id(*found.document.split("/"))
                columns["turn"] = found.sentence - 1
            rows.utterances.append(
                text_row(
                    utterance_id=utterance_id, corpus=corpus, unit=unit, source=files[path], verbatim=verbatim,
                    text=said, language=_bcp47(self.language), **columns,
                )
            )  # fmt: skip

    def _lines(self, text: Moses, first: int) -> Iterator[tuple[bytes, bytes | None]]:
        """The lines of the piece that begins with the line numbered `first`, each with its line of the .ids file."""

        def piece(path: Path) -> Iterator[bytes]:
            _, starts = moses.line_starts(path, self.lines_per_unit)
            return moses.read_lines(path, starts[first // self.lines_per_unit], self.lines_per_unit)

        lines = piece(text.text)
        if text.ids is None:
            return ((line, None) for line in lines)
        return zip(lines, piece(text.ids), strict=True)

    # -- documents ---------------------------------------------------------------------------------------------

    def _links(self, root: Path) -> dict[str, str]:
        path = opus_xml.named_alignment(root, self.alignment)
        stat = path.stat()
        return _links(path, self.alignment, self.language, (stat.st_size, stat.st_ino, stat.st_mtime_ns))

    def _own(self, root: Path, files: Mapping[str, RawFile]) -> dict[str, RawFile]:
        """Document -> its file."""
        folder = opus_xml.find_language(root, self.language) or root
        return {
            opus_xml.document_name((root / path).relative_to(folder).as_posix()): file
            for path, file in files.items() if path != self.alignment and path not in self.without
        }  # fmt: skip

    def _documents(
        self, root: Path, unit: str, files: Mapping[str, RawFile]
    ) -> Iterator[tuple[str, list[tuple[Sentence, Fate, str]] | Untreatable]]:
        """The documents of a unit in order: each sentence with its fate and words, or why there is none."""
        own = self._own(root, files)
        links = self._links(root) if self.alignment else None
        evaluation = self._evaluation(root, files)
        for document in sorted(own) if links is None else opus_xml.groups(list(links))[unit]:
            try:
                if document not in own:
                    raise Untreatable(f"the alignment names {document}.xml, which is not there")
                wanted = None if links is None else set(links[document].split())
                found = opus_xml.sentences(root / own[document].path)
                if missing := sorted((wanted or set()) - {sentence.id for sentence in found}):
                    raise Untreatable(f"the alignment names sentence '{missing[0]}', which {document}.xml has not")
            except Untreatable as error:
                yield document, error
            else:
                yield document, list(judged_sentences(found, wanted, evaluation))

    def _read_documents(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str, survey: Mapping[str, bytes], rows: Rows
    ) -> None:
        own = self._own(root, files)
        for document, found in self._documents(root, unit, files):
            name = document.split("/")
            if isinstance(found, Untreatable):
                rows.failures.append(failure_row(_STEP, make_id(corpus, *name), f"{document}: {found}"))
                continue
            repeated = _bits(survey.get(document, b""), len(found))
            for turn, (sentence, fate, said) in enumerate(found):
                if fate != Fate.KEPT or repeated[turn]:
                    continue
                rows.utterances.append(
                    text_row(
                        utterance_id=make_id(corpus, *name, sentence.id), corpus=corpus, unit=unit,
                        source=own[document], verbatim=sentence.text, text=said,
                        dialogue_id=make_id(*name), turn=turn, language=_bcp47(self.language),
                        attributes={"sentence": sentence.id},
                    )
                )  # fmt: skip


def _bits(marks: bytes, n: int) -> np.ndarray:
    """What `np.packbits` packed, zeros where it is too short; filled up here, because NumPy leaves what it does not
    reach of an empty array as the memory was.

    Example:
        >>> _bits(np.packbits([0, 1, 1]).tobytes(), 3).tolist(), _bits(b"", 2).tolist()
        ([0, 1, 1], [0, 0])
    """
    return np.unpackbits(np.frombuffer(marks.ljust(-(-n // 8), b"\0"), np.uint8), count=n)


@lru_cache(maxsize=1)
def _fates(path: Path, sha256: str, evaluation: frozenset[str]) -> np.ndarray:
    judgements = (judged_bytes(line, evaluation) for line in moses.read_lines(path))
    return fates_of((fate, said) for fate, _, said in judgements)


@lru_cache(maxsize=1)
def _evaluation(root: Path, paths: tuple[str, ...], digests: tuple[str, ...]) -> frozenset[str]:
    return evaluation_lines(root, paths)


@lru_cache(maxsize=1)
def _links(path: Path, name: str, language: str, stamp: tuple[int, ...]) -> dict[str, str]:
    try:
        return opus_xml.links(path, language)
    except Untreatable as error:
        raise MalformedSource(name, str(error)) from error


def _check_lengths(text: Moses) -> None:
    n_lines, _ = moses.line_starts(text.text, 1 << 20)
    for path in text.aligned:
        n_own, _ = moses.line_starts(path, 1 << 20)
        if n_own != n_lines:
            problem = f"it has {n_own} lines, but {text.text.name} has {n_lines}: they are aligned by line number"
            raise MalformedSource(path.name, problem)


def _piece(number: int, n_lines: int) -> str:
    """The name of a piece: of its first line, from 1."""
    return f"lines-{number * n_lines + 1:08d}"


def _bcp47(language: str) -> str:
    return language.replace("_", "-")
