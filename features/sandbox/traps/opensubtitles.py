"""What can be wrong with OpenSubtitles, planted in a copy of one of its sandbox trees."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from features.sandbox.opensubtitles import ALIGNMENT, FILMS, IDS, TEXT, TRANSLATION

_DOCUMENT = f"xml/en/{FILMS[2]}.xml"


def _changed(path: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    """Plants other bytes where some stand first, packed files too."""

    def plant(root: Path) -> None:
        raw = (root / path).read_bytes()
        packed = path.endswith(".gz")
        raw = (gzip.decompress(raw) if packed else raw).replace(old, new, 1)
        (root / path).write_bytes(gzip.compress(raw, mtime=0) if packed else raw)

    return plant


def _no_text(root: Path) -> None:
    (root / TEXT).unlink()


def _documents_beside(root: Path) -> None:
    (root / "xml/en/1999/1").mkdir(parents=True)


def _shorter(root: Path) -> None:
    lines = (root / TRANSLATION).read_bytes().split(b"\n")
    (root / TRANSLATION).write_bytes(b"\n".join(lines[:-2]))


def _no_documents(root: Path) -> None:
    shutil.rmtree(root / "xml")


def _cut_off(root: Path) -> None:
    path = root / f"xml/en/{FILMS[0]}.xml.gz"
    path.write_bytes(path.read_bytes()[:-20])


def _entity(root: Path) -> None:
    """Nine lines of it would be gigabytes."""
    doctype = b'<!DOCTYPE document [<!ENTITY a "laugh"><!ENTITY b "&a;&a;&a;&a;&a;">]>\n<document'
    _changed(_DOCUMENT, b"<document", doctype)(root)


def _foreign(root: Path) -> None:
    _changed(_DOCUMENT, b"<document", b'<!DOCTYPE document SYSTEM "marks.dtd">\n<document')(root)
    _changed(_DOCUMENT, b", and this", b"&hellip; and this")(root)


def _empty(root: Path) -> None:
    (root / "xml/en/1994/1").mkdir()
    (root / "xml/en/1994/1/1.xml").write_bytes(b'<document id="1"></document>')


def _misnamed(root: Path) -> None:
    """A document under a name in an old code page."""
    name = os.fsdecode("Café.xml".encode("cp1252"))
    (root / _DOCUMENT).with_name(name).write_bytes(b'<document><s id="1">Never.</s></document>')


MOSES_TRAPS: Mapping[str, Callable[[Path], None]] = {
    "missing_part": _no_text,
    "two_layouts": _documents_beside,
    "unequal_lines": _shorter,
    "malformed_ids": _changed(IDS, b"\t", b" "),
    "not_utf8": _changed(TEXT, b"\nYes.", b"\nY\xe9s."),
    "broken_text": _changed(TEXT, b", and this", b"\xc2\x85 and this"),
}
"""Anomaly -> what plants it, and nothing else, in a copy of the Moses tree."""

DOCUMENT_TRAPS: Mapping[str, Callable[[Path], None]] = {
    "missing_part": _no_documents,
    "broken_text": _changed(_DOCUMENT, b", and this", b"\xef\xbf\xbd and this"),
    "malformed_document": _cut_off,
    "declared_entity": _entity,
    "foreign_entity": _foreign,
    "empty_document": _empty,
    "malformed_alignment": _changed(ALIGNMENT, b"2;2", b"2"),
    "missing_document": _changed(ALIGNMENT, FILMS[1].encode(), b"1968/62622/1"),
    "missing_sentence": _changed(ALIGNMENT, b'xtargets="4;', b'xtargets="4 900;'),
    "misnamed_file": _misnamed,
}
"""The same for the tree of documents."""
