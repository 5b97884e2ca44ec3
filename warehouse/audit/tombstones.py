"""What was withdrawn from a lake, as digests: so that it can be known again and not be read.

    refs/tombstones/<purge>.json   SHA-256 of the ids of what was withdrawn (`Tombstone`); no name stands in clear
    refs/purged/<purge>.json       digest of each artifact that went -> that of the one in its place, '' where none is
    refs/tainted/<key>.json        a model that learned from it, why, and how to have one that did not

The ids are guessable, and whoever guesses one can prove the guess: a digest hides what it is of from readers, not from
those who know it. It must, or what comes back could not be known.

A tombstone concerns a reading of a corpus (`concerned`) by the name of the corpus, or by a raw file, so that the same
sound does not come back under another name. Its id then enters the request of that reading, and readings that no
tombstone concerns keep their keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from warehouse.audit.errors import UnfinishedPurge
from warehouse.copies import REMOTES
from warehouse.errors import UnreadableRef
from warehouse.hashing import short_digest
from warehouse.refs import read_ref

T = TypeVar("T")

TOMBSTONES, PURGED, TAINTED = "tombstones", "purged", "tainted"
"""Groups of refs."""

JOURNALS = ".purge"
"""Folder of the lake with one file per purge that is not done."""

WITHDRAWN = "withdrawn"
"""The field of a reading's params that names the tombstones that concern it."""


def hashed(text: str) -> str:
    """SHA-256 of a text, as SQL's `sha256` and `sha256sum` have it.

    Example:
        >>> hashed("iemocap-Ses01F_impro01_F000")[:12]
        'fd24ba0ac2a9'
    """
    return hashlib.sha256(text.encode()).hexdigest()


def hashed_all(texts: Iterable[str]) -> frozenset[str]:
    """`hashed` of each that is not empty."""
    return frozenset(hashed(text) for text in texts if text)


def speaker_name(corpus: str, speaker: str) -> str:
    """How a speaker is called where corpora meet.

    Example:
        >>> speaker_name("iemocap", "Ses01F")
        'iemocap/Ses01F'
    """
    return f"{corpus}/{speaker}"


@dataclass(frozen=True)
class Tombstone:
    """What one purge withdrew; every set is of `hashed` ids.

    Args:
        corpora: those that it was found in.
        speakers: `speaker_name` of those that were withdrawn as such.
        utterances, audio: ids of utterances and of their sounds that nobody who stays has too.
        pairs: ids of sound and words together.
        recordings: raw files of which nothing stays.
        shared: raw files of which something stays.
    """

    corpora: frozenset[str] = frozenset()
    speakers: frozenset[str] = frozenset()
    utterances: frozenset[str] = frozenset()
    audio: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()
    recordings: frozenset[str] = frozenset()
    shared: frozenset[str] = field(default=frozenset())

    @property
    def id(self) -> str:
        """Of the tombstone and of its purge: the same withdrawal has the same one."""
        return short_digest(["tombstone", self.as_json()])

    def as_json(self) -> dict[str, list[str]]:
        return {one.name: sorted(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tombstone:
        return cls(**{one.name: frozenset(value.get(one.name, ())) for one in fields(cls)})

    def concerns(self, corpus: str, recordings: Iterable[str]) -> bool:
        """Whether a unit of this corpus with these raw files (SHA-256) may hold what was withdrawn."""
        known = self.recordings | self.shared
        return hashed(corpus) in self.corpora or any(hashed(one) in known for one in recordings)

    def covers(self, utterance: Mapping[str, Any]) -> bool:
        """Whether a row of UTTERANCES is of what was withdrawn."""
        return (
            hashed(utterance["utterance_id"]) in self.utterances
            or hashed(utterance["audio_id"]) in self.audio
            or hashed(utterance["recording_id"]) in self.recordings
            or hashed(speaker_name(utterance["corpus"], utterance["speaker_id"])) in self.speakers
        )


def tombstones(lake: Path) -> dict[str, Tombstone]:
    """The tombstones of a lake, by id.

    Raises:
        UnreadableRef: one is damaged, so that nobody knows what must not be read. StoreFails.
    """
    if (remote := REMOTES.get(lake)) is not None:  # a process may live longer than what it found when it began
        remote.bring_refs()
    return {path.stem: Tombstone.from_json(read_ref(path)) for path in _refs(lake, TOMBSTONES)}


def concerned(known: Mapping[str, Tombstone], corpus: str, recordings: Collection[str]) -> tuple[str, ...]:
    """The ids of the tombstones that concern a unit of a corpus with these raw files, in the order of a request."""
    return tuple(sorted(own for own, one in known.items() if one.concerns(corpus, recordings)))


def withdrawn_recordings(known: Mapping[str, Tombstone], recordings: Iterable[str]) -> frozenset[str]:
    """Those of these raw files (SHA-256) of which nothing may be read."""
    gone = frozenset[str]().union(*(one.recordings for one in known.values()))
    return frozenset(one for one in recordings if hashed(one) in gone) if gone else frozenset()


def successors(lake: Path) -> dict[str, str]:
    """Digest of each artifact that a purge took -> that of what stands in its place now, '' where nothing does."""
    found: dict[str, str] = {}
    for path in _refs(lake, PURGED):
        found |= read_ref(path)["digests"]
    for old in found:
        seen = {old}
        while (new := found[old]) in found and new not in seen:
            seen.add(new)
            found[old] = found[new]
    return found


def with_purged(lake: Path, by_digest: Mapping[str, T]) -> dict[str, T]:
    """A mapping by digest, in which the digest of what a purge took means what stands in its place."""
    return {old: by_digest[new] for old, new in successors(lake).items() if new in by_digest} | dict(by_digest)


def purged_digests(lake: Path) -> set[str]:
    """The digests of all artifacts that purges took: what cites one was made from it, and nothing is missing. A name
    that cannot be read says nothing here; whoever looks at the names tells of it."""
    found: set[str] = set()
    for path in _refs(lake, PURGED):
        with suppress(UnreadableRef):
            found |= read_ref(path)["digests"].keys()
    return found


def unfinished(lake: Path) -> list[str]:
    """The ids of the purges of a lake that are not done; of one on a store there is one at most.

    Raises:
        StoreFails.
    """
    if (remote := REMOTES.get(lake)) is not None:
        return [one] if (one := remote.purging()) else []
    return sorted(path.stem for path in (lake / JOURNALS).glob("[!.]*.json"))


def refuse_unfinished(lake: Path) -> None:
    """Raises UnfinishedPurge where a purge of the lake is not done."""
    for purge_id in unfinished(lake):
        raise UnfinishedPurge(purge_id)


def taint_of(lake: Path, key: str) -> str:
    """What must be said of a model that learned from what was withdrawn; '' of every other artifact."""
    path = lake / "refs" / TAINTED / f"{key}.json"
    return taint_sentence(read_ref(path)) if path.exists() else ""


def taint_sentence(ref: Mapping[str, Any]) -> str:
    """A taint in words."""
    return (
        f"tainted by purge {', '.join(ref['purges'])}: {ref['why']}. A purge cannot un-train a model: do not use it; "
        f"{ref['retrain']}"
    )


def _refs(lake: Path, group: str) -> Iterator[Path]:
    yield from sorted((lake / "refs" / group).glob("[!.]*.json"))
