"""OpenSubtitles as OPUS publishes it: lines of film subtitles, tens of millions, in text only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from features.check import Findings
from features.plugin import RawFile, Rows
from features.releases import moses, opensubtitles_check, opus_xml
from features.releases.moses import Moses
from features.releases.untokenised import untokenised
from features.rows import failure_row, text_row
from features.subtitles.subtitle_lines import Fate, evaluation_lines, fates_of, judged, judged_bytes
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
        duplicates: 'drop' keeps the first of the lines with the same words, case and marks: of the whole Moses
            text, or of one unit of documents, whose rows may depend on its own files only.
        without: text files, relative to the root: a line that has the words of one of theirs, whatever its case and
            punctuation, is left out. For the test texts of whatever is trained on this.
        alignment: an XCES file, relative to the root: only documents and sentences that it aligns are read. This
            also decides which of a film's several subtitles count.
        lines_per_unit: of a Moses text.

    Source: Lison and Tiedemann 2016; the layouts are OPUS's.
    """

    version: ClassVar[int] = 1
    published: ClassVar[Mapping[str, int]] = opensubtitles_check.PUBLISHED
    anomalies: ClassVar[Mapping[str, str]] = opensubtitles_check.ANOMALIES
    language: str = "en"
    duplicates: Literal["drop", "keep"] = "drop"
    without: tuple[str, ...] = ()
    alignment: str = ""
    lines_per_unit: int = 50_000

    def __post_init__(self) -> None:
        where = "reader 'opensubtitles'"
        if self.lines_per_unit < 1:
            raise InvalidField(where, "lines_per_unit", f"is {self.lines_per_unit}, but must be at least 1")
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

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        text, _ = self._found(root)
        digests = tuple(files[path].sha256 for path in self.without)
        evaluation = _evaluation(root, self.without, digests)
        rows = Rows()
        if text:
            self._read_piece(root, text, unit, files, corpus, evaluation, rows)
        else:
            self._read_documents(root, unit, files, corpus, evaluation, rows)
        return rows

    def check(self, root: Path, expected: Mapping[str, int] | None = None) -> Findings:
        """Every line or document; see `features.releases.opensubtitles_check`."""
        return opensubtitles_check.check(root, self.language, self.without, expected)

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

    # -- a Moses text ------------------------------------------------------------------------------------------

    def _read_piece(
        self, root: Path, text: Moses, unit: str, files: Mapping[str, RawFile], corpus: str,
        evaluation: frozenset[str], rows: Rows,
    ) -> None:  # fmt: skip
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
        path = root / self.alignment
        if not path.is_file():
            raise MissingFolder(f"the alignment '{self.alignment}'", path, "name it relative to the root of the corpus")
        stat = path.stat()
        return _links(path, self.alignment, self.language, (stat.st_size, stat.st_ino, stat.st_mtime_ns))

    def _read_documents(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str, evaluation: frozenset[str], rows: Rows
    ) -> None:
        folder = opus_xml.find_language(root, self.language) or root
        links = self._links(root) if self.alignment else None
        own = {
            opus_xml.document_name((root / path).relative_to(folder).as_posix()): path
            for path in files if path != self.alignment and path not in self.without
        }  # fmt: skip
        seen: set[str] = set()
        for document in sorted(own) if links is None else opus_xml.groups(list(links))[unit]:
            utterance_id = make_id(corpus, *document.split("/"))
            try:
                if document not in own:
                    raise Untreatable(f"the alignment names {document}.xml, which is not there")
                wanted = None if links is None else set(links[document].split())
                found = opus_xml.sentences(root / own[document])
                if missing := sorted((wanted or set()) - {sentence.id for sentence in found}):
                    raise Untreatable(f"the alignment names sentence '{missing[0]}', which {document}.xml has not")
            except Untreatable as error:
                rows.failures.append(failure_row(_STEP, utterance_id, f"{document}: {error}"))
                continue
            for turn, sentence in enumerate(found):
                if wanted is not None and sentence.id not in wanted:
                    continue
                fate, said = judged(untokenised(sentence.text) if sentence.is_tokenised else sentence.text, evaluation)
                if fate != Fate.KEPT or (self.duplicates == "drop" and said in seen):
                    continue
                seen.add(said)
                year, film, name = document.split("/")
                rows.utterances.append(
                    text_row(
                        utterance_id=make_id(corpus, year, film, name, sentence.id), corpus=corpus, unit=unit,
                        source=files[own[document]], verbatim=sentence.text, text=said,
                        dialogue_id=make_id(year, film, name), turn=turn, language=_bcp47(self.language),
                        attributes={"sentence": sentence.id},
                    )
                )  # fmt: skip


@lru_cache(maxsize=1)
def _fates(path: Path, sha256: str, evaluation: frozenset[str]) -> np.ndarray:
    n_lines, _ = moses.line_starts(path, 1 << 20)
    judgements = (judged_bytes(line, evaluation) for line in islice(moses.read_lines(path), n_lines))
    return fates_of(((fate, said) for fate, _, said in judgements), n_lines)


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
