"""Documents and alignments of OPUS, read as streams: XML in which no entity may be declared."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from features.releases.walk import walk
from warehouse.errors import DeclaredEntity, ForeignEntity, MissingFolder, Untreatable

DEPTH = 3
DOCUMENTS = 50
"""Documents per unit; a film has some thousand lines."""

YEARS = frozenset(map(str, range(1850, 2150)))
"""Names of folders with thousands of films each: not entered where only the folder of a language is looked for."""

_BLOCK = 1 << 16
_ENDING = re.compile(r"\.xml(?:\.gz)?$")
_XCES = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]+)?-[a-z]{2,3}(?:_[A-Za-z]+)?\.xml(?:\.gz)?")


@dataclass(frozen=True)
class Sentence:
    """One sentence; `is_tokenised` where the document has each word and mark as an element of its own."""

    id: str
    text: str
    is_tokenised: bool


def document_name(path: str) -> str:
    """What a document is called: its path below the folder of its language, without the ending of its file.

    Example:
        >>> document_name("1968/62622/5157083.xml.gz")
        '1968/62622/5157083'
    """
    return _ENDING.sub("", path)


def find_language(root: Path, language: str) -> Path | None:
    """The folder `<language>/<year>/<film>/…` of the documents: the nearest, then the first by name."""
    for path in walk(root, DEPTH, closed=YEARS):
        if path.name == language and path.is_dir() and any(child.name.isdecimal() for child in path.iterdir()):
            return path
    return None


def find_alignments(root: Path) -> list[Path]:
    """Files that are named like alignments: 'en-zh_cn.xml.gz'."""
    return [path for path in walk(root, DEPTH, closed=YEARS) if _XCES.fullmatch(path.name) and path.is_file()]


def named_alignment(root: Path, name: str) -> Path:
    """The alignment that a reader is told of.

    Raises:
        MissingFolder: there is no such file.
    """
    if not (root / name).is_file():
        todo = "name it relative to the root of the corpus"
        raise MissingFolder(f"the alignment '{name}'", root / name, todo)
    return root / name


def documents(folder: Path) -> dict[str, Path]:
    """Document such as '1968/62622/5157083' -> its file, in order of name; the plain one where it is there packed
    too. A folder is none, whatever its name."""
    found: dict[str, Path] = {}
    for year in sorted(os.listdir(folder)):
        for film in sorted(os.listdir(folder / year)) if (folder / year).is_dir() else ():
            if not (folder / year / film).is_dir():
                continue
            with os.scandir(folder / year / film) as entries:
                names = sorted(entry.name for entry in entries if _ENDING.search(entry.name) and not entry.is_dir())
            for name in names:
                if not name.startswith("."):
                    found.setdefault(document_name(f"{year}/{film}/{name}"), folder / year / film / name)
    return found


def groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Unit -> documents that are read as one: those of a year, cut into pieces, named after their first."""
    years: dict[str, list[str]] = {}
    for name in sorted(names):
        years.setdefault(name.partition("/")[0], []).append(name)
    pieces = (own[at : at + DOCUMENTS] for own in years.values() for at in range(0, len(own), DOCUMENTS))
    return {piece[0].replace("/", "-"): piece for piece in pieces}


def sentences(path: Path) -> list[Sentence]:
    """The sentences of a document in its order; times and all else between words say nothing here.

    Raises:
        Untreatable: it is no document, not well-formed or cut off.
        DeclaredEntity, ForeignEntity.
    """
    found: list[Sentence] = []
    depth: list[str] = []
    words: list[str] = []
    pieces: list[str] = []
    ids: list[str] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if not depth and name != "document":
            raise Untreatable(f"it begins with <{name}>, not with <document>")
        depth.append(name)
        if name == "s":
            if "s" in depth[:-1]:
                raise Untreatable(f"sentence {len(found) + 1} holds another one")
            if "id" not in attributes:
                raise Untreatable(f"sentence {len(found) + 1} has no id")
            ids.append(attributes["id"])
            words.clear()
            pieces.clear()
        elif name == "w":
            words.append("")

    def text(characters: str) -> None:
        if "w" in depth:
            words[-1] += characters
        elif "s" in depth:
            pieces.append(characters)

    def end(name: str) -> None:
        depth.pop()
        if name == "s":
            whole = " ".join(words) if words else "".join(pieces)
            found.append(Sentence(ids[-1], " ".join(whole.split()), bool(words)))

    _parse(path, start, text, end)
    twice, n_times = max(Counter(ids).items(), key=lambda pair: pair[1], default=("", 0))
    if n_times > 1:
        raise Untreatable(f"it has {n_times} sentences of id '{twice}'")
    return found


def links(path: Path, language: str) -> dict[str, str]:
    """Document -> ids of its aligned sentences, parted by spaces: the side of this language of an XCES alignment.

    Ids stay text, because that is the least memory for millions of them.

    Raises:
        Untreatable: it is no alignment with this language, not well-formed or cut off.
        DeclaredEntity, ForeignEntity.
    """
    found: dict[str, str] = {}
    document, side = "", 0
    ids: list[str] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal document, side
        if name == "linkGrp":
            document = ""
            for number, attribute in enumerate(("fromDoc", "toDoc")):
                folder, _, rest = attributes.get(attribute, "").partition("/")
                if folder == language:
                    document, side = document_name(rest), number
        elif name == "link" and document:
            targets = attributes.get("xtargets", "").split(";")
            if len(targets) != 2:
                raise Untreatable(f"a link of {document} has not two sides ('{';'.join(targets)}')")
            if all(targets):  # else these sentences have no partner
                ids.append(targets[side])

    def end(name: str) -> None:
        if name == "linkGrp" and document:
            found[document] = " ".join([found[document], *ids] if document in found else ids)
        if name == "linkGrp":
            ids.clear()

    _parse(path, start, lambda characters: None, end)
    if not found:
        raise Untreatable(f"it aligns no document in '{language}'")
    return found


def _parse(
    path: Path,
    start: Callable[[str, Mapping[str, str]], None],
    text: Callable[[str], None],
    end: Callable[[str], None],
) -> None:
    """Expat over a plain or packed file. A declared entity is refused before it can be expanded, and so is one that
    expat would pass over, because a DTD elsewhere could declare it."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EndElementHandler = start, text, end
    parser.EntityDeclHandler, parser.SkippedEntityHandler = _refuse_entity, _refuse_foreign_entity
    try:
        with gzip.open(path) if path.name.endswith(".gz") else open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                parser.Parse(block, False)
            parser.Parse(b"", True)
    except (LookupError, ValueError) as error:  # Python's, of encodings that expat does not know itself
        raise Untreatable(f"it is in an encoding that cannot be read ({error})") from error
    except expat.ExpatError as error:
        raise Untreatable(f"it is not well-formed XML ({error})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Untreatable(f"it cannot be unpacked ({error})") from error


def _refuse_entity(name: str, *_: object) -> None:
    raise DeclaredEntity(name)


def _refuse_foreign_entity(name: str, *_: object) -> None:
    raise ForeignEntity(name)
