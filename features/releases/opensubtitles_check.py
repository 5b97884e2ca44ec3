"""The strict check of OpenSubtitles: a Moses text line by line, or documents and their alignments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from features.check import Anomaly, Findings, counted
from features.releases import moses, opus_xml
from features.releases.moses import Moses
from features.releases.opus_xml import Sentence
from features.releases.walk import misnamed_files
from features.subtitles.subtitle_lines import COUNTED, Fate, evaluation_lines, fates_of, judged_bytes, judged_sentences
from warehouse.errors import DeclaredEntity, ForeignEntity, MissingFolder, Untreatable

PUBLISHED: Mapping[str, int] = {"lines": 11_203_286}
"""Of the English side of v2018's English and simplified Chinese; other texts have no published count here."""

PUBLISHED_TEXT = "OpenSubtitles.en-zh_cn.en"

ANOMALIES: Mapping[str, str] = {
    "missing_part": "there is neither a Moses text nor a folder of documents in the language, or it is empty",
    "two_layouts": "a Moses text and documents lie side by side: the same lines twice",
    "unequal_lines": "what is aligned by line number has another number of lines",
    "malformed_ids": "a line of the .ids file is not two documents and two lists of sentences",
    "not_utf8": "lines are not UTF-8",
    "broken_text": "lines hold control or replacement characters",
    "malformed_document": "a document is no document, not well-formed, cut off, or has an id twice",
    "declared_entity": "an XML file declares an entity, which is how small files are made to fill a memory",
    "foreign_entity": "an XML file refers to an entity that only another file could declare",
    "empty_document": "a document has no sentence",
    "malformed_alignment": "an alignment is not well-formed, cut off, or has links without two sides",
    "missing_document": "an alignment names a document that is not there",
    "missing_sentence": "an alignment names a sentence that its document has not",
    "misnamed_file": "a file or folder whose name is not UTF-8: with a document of such a name, nothing is ingested",
}

_BROKEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xef\xbf\xbd")
"""Of UTF-8."""


def check(
    root: Path, language: str, without: Sequence[str], alignment: str, expected: Mapping[str, int] | None
) -> Findings:
    """Counts what becomes of every line, duplicates of the whole text or of all documents told, and names what is
    wrong. Kept is what a reader that drops duplicates gives of a tree in which nothing is wrong.

    Args:
        alignment: the one whose sentences count; '' for all sentences. Every alignment that is there is looked at.
        expected: None for the published count where the text is the published one, and for no count elsewhere.

    Raises:
        MissingFolder: `root` itself, a list of evaluation lines, or the alignment is not there.
        MalformedSource: there are several Moses texts in the language.
    """
    if not root.is_dir():
        raise MissingFolder("OpenSubtitles", root, "name the folder that OPUS's archive unpacks to")
    evaluation = evaluation_lines(root, without)
    text, folder = moses.find_moses(root, language), opus_xml.find_language(root, language)
    found: Counter[str] = Counter()
    anomalies = list(misnamed_files(root, known=False))
    if text and folder:
        problem = f"{text.text.name} and documents in '{language}/' are there: only the former is checked"
        anomalies.append(Anomaly("two_layouts", language, problem))
    if text:
        anomalies += _text(text, language, evaluation, found)
    elif folder:
        anomalies += _documents(root, folder, language, evaluation, alignment, found)
    else:
        problem = f"neither a text such as {PUBLISHED_TEXT} nor documents such as {language}/<year>/<film>/ are there"
        anomalies.append(Anomaly("missing_part", language, problem))
    if expected is None:
        expected = PUBLISHED if text and text.text.name == PUBLISHED_TEXT else {}
    return Findings(counted(found, expected), anomalies)


# -- a Moses text ------------------------------------------------------------------------------------------------


def _text(text: Moses, language: str, evaluation: frozenset[str], found: Counter[str]) -> Iterator[Anomaly]:
    name = text.text.name
    n_lines, _ = moses.line_starts(text.text, 1 << 20)
    broken: list[int] = []

    def judgements() -> Iterator[tuple[Fate, str]]:
        for at, line in enumerate(moses.read_lines(text.text)):
            fate, _, said = judged_bytes(line, evaluation)
            if fate != Fate.NOT_UTF8 and _BROKEN.search(line):
                broken.append(at)
            yield fate, said

    if not n_lines:
        yield Anomaly("missing_part", name, "it has no line")
    fates = fates_of(judgements())
    _count(fates, found, "lines")
    yield from _some_lines("not_utf8", name, np.flatnonzero(fates == Fate.NOT_UTF8).tolist(), "are not UTF-8")
    yield from _some_lines("broken_text", name, broken, "hold control or replacement characters")
    for path in text.aligned:
        n_own, _ = moses.line_starts(path, 1 << 20)
        if n_own != n_lines:
            yield Anomaly("unequal_lines", path.name, f"it has {n_own} lines, but {name} has {n_lines}")
    if text.ids:
        yield from _ids(text.ids, language, found)


def _ids(path: Path, language: str, found: Counter[str]) -> Iterator[Anomaly]:
    documents: set[str] = set()
    malformed = []
    for at, line in enumerate(moses.read_lines(path)):
        if origin := moses.origin_of(line, language):
            documents.add(origin.document)
        else:
            malformed.append(at)
    found["documents"] = len(documents)
    yield from _some_lines("malformed_ids", path.name, malformed, "are not two documents and two lists of sentences")


def _some_lines(name: str, where: str, places: Sequence[int], problem: str) -> Iterator[Anomaly]:
    if places:
        yield Anomaly(name, where, f"{len(places)} lines {problem} (first: line {places[0] + 1})")


def _count(fates: np.ndarray, found: Counter[str], what: str) -> None:
    found[what] += len(fates)
    for fate, name in COUNTED.items():
        found[f"{what}, {name}"] += int((fates == fate).sum())


# -- documents ---------------------------------------------------------------------------------------------------


def _documents(
    root: Path, folder: Path, language: str, evaluation: frozenset[str], alignment: str, found: Counter[str]
) -> list[Anomaly]:
    anomalies: list[Anomaly] = []
    wanted: dict[str, dict[str, str]] = {}  # alignment -> document -> ids
    named = [opus_xml.named_alignment(root, alignment)] if alignment else []
    for path in dict.fromkeys([*named, *opus_xml.find_alignments(root)]):
        where = path.relative_to(root).as_posix()
        try:
            wanted[where] = opus_xml.links(path, language)
        except Untreatable as error:
            anomalies.append(Anomaly(_fault(error, "malformed_alignment"), where, str(error)))
    there = {name: path for name, path in opus_xml.documents(folder).items() if _is_utf8(name)}
    if not there:
        anomalies.append(Anomaly("missing_part", language, "its folder holds no document"))
    found["documents"] = len(there)
    found["films"] = len({name.rpartition("/")[0] for name in there})
    for where, documents in wanted.items():
        for name in sorted(documents.keys() - there.keys()):
            anomalies.append(Anomaly("missing_document", where, f"it names {name}.xml, which is not there"))
    chosen = wanted.get(PurePosixPath(alignment).as_posix(), {}) if alignment else None

    def judgements() -> Iterator[tuple[Fate, str]]:
        for name, path in sorted(there.items()):
            aligned = {where: set(documents.get(name, "").split()) for where, documents in wanted.items()}
            sentences, odd = _document(name, path, aligned)
            anomalies.extend(odd)
            ids = None if chosen is None else set(chosen.get(name, "").split())
            if ids is None or ids <= {sentence.id for sentence in sentences}:  # else the reader refuses the document
                yield from ((fate, said) for _, fate, said in judged_sentences(sentences, ids, evaluation))

    _count(fates_of(judgements()), found, "sentences")
    return anomalies


def _document(name: str, path: Path, aligned: Mapping[str, set[str]]) -> tuple[list[Sentence], list[Anomaly]]:
    """The sentences of a document, and what is wrong with it or with what is aligned of it."""
    try:
        sentences = opus_xml.sentences(path)
    except Untreatable as error:
        return [], [Anomaly(_fault(error, "malformed_document"), name, str(error))]
    found = [] if sentences else [Anomaly("empty_document", name, "it has no sentence")]
    broken = [at for at, sentence in enumerate(sentences) if _BROKEN.search(sentence.text.encode())]
    found += _some_lines("broken_text", name, broken, "hold control or replacement characters")
    own = {sentence.id for sentence in sentences}
    for where, ids in aligned.items():
        if missing := sorted(ids - own):
            problem = f"it names sentence '{missing[0]}' of {name}.xml, which has none"
            found.append(Anomaly("missing_sentence", where, problem))
    return sentences, found


def _is_utf8(name: str) -> bool:
    return name.encode("utf-8", "replace").decode() == name


def _fault(error: Untreatable, otherwise: str) -> str:
    """The name of an anomaly."""
    if isinstance(error, DeclaredEntity):
        return "declared_entity"
    return "foreign_entity" if isinstance(error, ForeignEntity) else otherwise
