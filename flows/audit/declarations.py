"""What checkpoints from outside were trained on, as far as somebody said: a declaration, never a measurement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
from pydantic import Field

from flows.audit.stated import Section, bare, files_of, read_stated
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.audit.tombstones import with_purged
from warehouse.merged import with_pieces

FILE = "encoders"
"""Of the list that comes with Emolake, and of a lake's own: `encoders.toml`."""

DEFERS = "as its publisher says"
"""What a recipe says of a licence when it leaves it to others to know."""

UNKNOWN = "unknown: nobody said what it was trained on"
PARTLY_KNOWN = "unknown: nobody said all that it was trained on"
CLEAN = "none of them is a test corpus by its name; their words and sounds were not compared"
"""The best that a declaration can give; it does not say that nothing is shared."""

ANY_KIND = frozenset({"table", "films"})
"""Readers whose corpora are of any kind, so that their names say nothing."""


class TrainingCorpus(Section):
    """A corpus that encoders are trained on: the readers whose corpora it holds, and whether it is `open`: drawn from
    so much that a test corpus may be in it, unpublished."""

    holds: tuple[str, ...] = ()
    open: bool = False
    source: str = Field(min_length=1)


class KnownEncoder(Section):
    """A checkpoint by its published name (and those it is `also` known by), or by the `digest` of its record."""

    also: tuple[str, ...] = ()
    digest: str = ""
    trained_on: list[str]
    licence: str = ""
    source: str = Field(min_length=1)


class Encoders(Section):
    """A file of them."""

    corpora: dict[str, TrainingCorpus] = Field(default_factory=dict)
    encoders: dict[str, KnownEncoder] = Field(default_factory=dict)


@dataclass(frozen=True)
class Declared:
    """A placed checkpoint, with what was said of it.

    Args:
        name: as its recipe has it; the beginning of its digest where no recipe of the lake does.
        trained_on: what the first of those that know said; () where nobody did.
        said_by: who that is: the lake's own file, the recipe, or the list that comes with Emolake.
        source: where they have it from.
        said_too: what the others said; no corpus is clean by it, but one voice is enough to say that a corpus is in it.
    """

    name: str
    digest: str = ""
    folder: str = ""
    revision: str = ""
    licence: str = ""
    trained_on: tuple[str, ...] = ()
    said_by: str = "nobody"
    source: str = ""
    said_too: tuple[str, ...] = ()

    @property
    def corpora(self) -> tuple[str, ...]:
        """All that anybody said."""
        return tuple(dict.fromkeys([*self.trained_on, *self.said_too]))


def placed(warehouse: Warehouse, artifacts: Iterable[Artifact]) -> list[Declared]:
    """The checkpoints from outside among some artifacts, by digest, then name, with what was said of each.

    The lake's `encoders.toml` is heard first, then the recipe's `[checkpoints.…]`, then the list that comes with
    Emolake. A published checkpoint is known by the name of its folder ('facebook/wav2vec2-base'), word vectors by that
    of their file, and any by its digest where an entry gives one; what lies in a folder of a name is not looked at.
    """
    refs = warehouse.refs("weights")
    found = []
    for digest, artifact in sorted({a.digest: a for a in artifacts if a.request.kind == "weights"}.items()):
        files = pq.read_table(artifact.path("files.parquet"), columns=["path"]).column(0).to_pylist()
        said = {name: ref for name, ref in refs.items() if ref.get("digest") == digest}
        for name, ref in said.items() or [(digest[:12], {})]:
            found.append(declared(warehouse.root, name, ref, files))
    return found


def absent(warehouse: Warehouse, artifacts: Iterable[Artifact]) -> Iterator[tuple[Artifact, str, str]]:
    """(artifact, role, digest) of all that some artifacts were made from and the lake does not have, nor what a purge
    put in its place: what reached them by it is unknown."""
    there = with_purged(warehouse.root, {a.digest: a for a in with_pieces(warehouse.artifacts())})
    for artifact in artifacts:
        for role, digests in sorted(artifact.request.inputs.items()):
            yield from ((artifact, role, digest) for digest in dict.fromkeys(digests) if digest not in there)


def lost(warehouse: Warehouse, artifacts: Iterable[Artifact]) -> dict[str, list[Declared]]:
    """Key of an artifact -> what is missing above it that may be a checkpoint from outside, or made with one; nothing
    is declared of it, for nobody can see what it was. Missing utterances are not among them: whoever learned from them
    tells of that (`flows.audit.overlap`)."""
    names = {ref.get("digest"): name for name, ref in warehouse.refs("weights").items()}
    found: dict[str, list[Declared]] = {}
    for user, role, digest in absent(warehouse, artifacts):
        if role not in _MEMBERS:
            found.setdefault(user.key, []).append(Declared(names.get(digest, digest[:12]), digest))
    return found


def declared(lake: Path, name: str, said: Mapping[str, Any], files: Iterable[str] = ()) -> Declared:
    """What is known of one checkpoint.

    Args:
        said: what a recipe, or the ref `weights/<name>`, says of it: folder, revision, licence, trained_on, digest.
        files: that it consists of.
    """
    folder, digest = str(said.get("folder", "")), str(said.get("digest", ""))
    names = list(_names(folder, files))
    own, shipped = (_known(_read(path), names, digest) for path in files_of(lake, FILE))
    by_recipe = list(said.get("trained_on", ()))
    stated = [
        ("the lake's encoders.toml", own.trained_on if own else [], own.source if own else ""),
        ("its recipe", by_recipe, ""),
        ("the list of published ones", shipped.trained_on if shipped else [], shipped.source if shipped else ""),
    ]
    told = [one for one in stated if not all(map(_is_unsaid, one[1]))]
    who, corpora, source = told[0] if told else ("nobody", [], "")
    licence = str(said.get("licence", ""))
    licences = [own.licence if own else "", "" if licence == DEFERS else licence, shipped.licence if shipped else ""]
    return Declared(
        name, digest, folder, str(said.get("revision", "")), next(filter(None, licences), ""), tuple(corpora), who,
        source, tuple(one for _, others, _ in told[1:] for one in others),
    )  # fmt: skip


def verdict(lake: Path, one: Declared, tested: Mapping[str, str]) -> str:
    """What a declaration says of some test corpora: that one is in it, that one may be, or no more than that none is
    by its name. Names are compared without marks and case: 'CMU-MOSEI' is what the reader 'mosei' reads. Who says
    'unknown' said nothing.

    Args:
        tested: corpus of the lake -> its reader, such as 'mosei'.
    """
    if all(map(_is_unsaid, one.corpora)):
        return UNKNOWN
    readers = set(tested.values()) - ANY_KIND
    names = [name for name in map(bare, [*tested, *readers]) if len(name) > 2]
    facts = _facts(lake)
    hits, opened = [], []
    for said in one.corpora:
        held = sorted({r for name, fact in facts.items() if bare(name) in bare(said) for r in fact.holds} & readers)
        if any(name in bare(said) for name in names):
            hits.append(said)
        elif held:
            hits.append(f"{said} (which holds what '{', '.join(held)}' reads)")
        elif any(fact.open and bare(name) in bare(said) for name, fact in facts.items()):
            opened.append(said)
    if hits:
        return f"declared to have learned from the test corpus: {', '.join(hits)}"
    if opened:
        return f"unknown: {', '.join(opened)} may hold it, for nobody published whether it does"
    return PARTLY_KNOWN if any(map(_is_unsaid, one.corpora)) else CLEAN


# -- inside ----------------------------------------------------------------------------------------------------------

_MEMBERS = ("raw", "labels", "utterances", "told")  # roles that say whose words these are


def _read(path: Path) -> Encoders:
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_once(path, stamp)


@lru_cache(maxsize=8)
def _read_once(path: Path, stamp: int) -> Encoders:
    return read_stated(path, Encoders)


def _is_unsaid(corpus: str) -> bool:
    return bare(corpus) in ("", "unknown")


def _facts(lake: Path) -> dict[str, TrainingCorpus]:
    """Name of a training corpus -> what is known of it; the lake's own word counts."""
    own, shipped = (_read(path).corpora for path in files_of(lake, FILE))
    return {**shipped, **own}


def _names(folder: str, files: Iterable[str]) -> Iterator[str]:
    """What a checkpoint may be published as: publisher and name, or the name alone where a folder has no more, or the
    file of word vectors."""
    parts = PurePosixPath(folder).parts
    if parts:
        yield "/".join(parts[-2:])
    yield from (path.stem for path in map(PurePosixPath, files) if path.suffix == ".txt")


def _known(table: Encoders, names: Iterable[str], digest: str) -> KnownEncoder | None:
    for entry in table.encoders.values():
        if digest and entry.digest == digest:
            return entry
    wanted = set(map(bare, names))
    for name, entry in table.encoders.items():
        published = [name, *entry.also]
        alone = [one.rpartition("/")[2] for one in published]
        if wanted & set(map(bare, published + alone)):
            return entry
    return None
