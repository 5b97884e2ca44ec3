"""Each utterance's words beside the sound of another speaker of the same class, who is never a test speaker.

A voice comes from the utterances that the protocol puts into the same part as its utterance in every fold. So whatever
fold is trained on: where an utterance is learned from, so is the one whose voice it was given.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from features.retell import STEP, VERSION, Units, own_id, retold_row
from features.rows import failure_row
from flows.protocol import Protocol, folds_of, rules_of, split_of
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import NoOtherVoice
from warehouse.hashing import short_digest
from warehouse.schema import FAILURES, UTTERANCES
from warehouse.tables import read_table, write_rows

_SOUND = ("recording_id", "path", "start_s", "end_s", "channel", "audio_id")


class Place(NamedTuple):
    """Where a protocol puts an utterance: its class, and its part in every fold ('' where it is in none)."""

    label: str | None
    parts: tuple[str, ...]


def voice_works(
    corpus: str, units: Units, protocol: Protocol, utterances: Sequence[Artifact], labels: Sequence[Artifact]
) -> list[Work]:
    """One work per unit: its utterances of a class, each with another's sound.

    The voices are those of all units. An utterance without a class in the protocol is not told again: it is neither
    trained on nor tested. One whose class has no other speaker at its place is a failures row.

    Args:
        corpus: the name of what is told.
        units: of the corpus it is told from.
        utterances, labels: of the corpus that was read, from which all is told: they say who is where.
    """
    folds = folds_of(protocol, utterances)
    source = {"voices": {"protocol": protocol.id, "rules": rules_of(protocol), "folds": folds}}
    candidates = [own for _, own in units.values()]
    inputs = {
        "raw": tuple(dict.fromkeys(recorded.digest for recorded, _ in units.values())),
        "candidates": tuple(a.digest for a in candidates),
        "utterances": tuple(a.digest for a in utterances),
        "labels": tuple(a.digest for a in labels),
    }
    works = []
    for unit, (_, own) in units.items():
        params = {"corpus": corpus, "unit": unit, "source": source}
        request = Request("utterances", STEP, VERSION, params, inputs | {"source": (own.digest,)})
        arguments = {
            "corpus": corpus, "source": own, "candidates": candidates, "protocol": protocol, "folds": folds,
            "utterances": utterances, "labels": labels,
        }  # fmt: skip
        works.append(Work(request, write_voices, arguments))
    return works


def write_voices(
    folder: Path, corpus: str, source: Artifact, candidates: Sequence[Artifact], protocol: Protocol,
    folds: Sequence[str], utterances: Sequence[Artifact], labels: Sequence[Artifact],
) -> None:  # fmt: skip
    """Writes a unit's utterances with the sound of others, and for which of them there is no voice.

    Raises:
        NoOtherVoice: the protocol leaves no two speakers together, as one that leaves a speaker out.
    """
    places = places_of(protocol, folds, utterances, labels)
    voices = Voices(places, [row for artifact in candidates for row in _rows(artifact)])
    if not voices.has_two_together:
        raise NoOtherVoice(protocol.id)
    found, failures = [], []
    for row in _rows(source):
        place = places.get(own_id(row["utterance_id"], row["corpus"]))
        if place is None:
            continue
        voice = voices.other(row, place)
        if voice is None:
            failures.append(failure_row(STEP, row["utterance_id"], _unvoiced(row, place, folds)))
            continue
        attributes = {"voice": voice["utterance_id"], "voice_speaker": voice["speaker_id"]}
        found.append(retold_row(row, corpus, attributes, **{name: voice[name] for name in _SOUND}))
    write_rows(folder / "utterances.parquet", found, UTTERANCES)
    write_rows(folder / "failures.parquet", failures, FAILURES)


def places_of(
    protocol: Protocol, folds: Sequence[str], utterances: Sequence[Artifact], labels: Sequence[Artifact]
) -> dict[str, Place]:
    """Own id of every utterance of the protocol -> its place."""
    own = {row["utterance_id"]: own_id(row["utterance_id"], row["corpus"]) for a in utterances for row in _rows(a)}
    parts: dict[str, list[str]] = {}
    classes: dict[str, str | None] = {}
    for number, fold in enumerate(folds):
        table, _ = split_of(protocol, fold, folds, utterances, labels)
        for row in table.to_pylist():
            parts.setdefault(own[row["utterance_id"]], [""] * len(folds))[number] = row["part"]
            classes[own[row["utterance_id"]]] = row["label"]
    return {name: Place(classes[name], tuple(several)) for name, several in parts.items()}


class Voices:
    """The utterances that can be heard, in a circle for each place, in the order of their ids' digests.

    An utterance takes the first that lies behind its own digest and is of another speaker. So a choice depends on ids
    alone, and one utterance more in a corpus changes the few choices that it lies before.

    Args:
        places: own id -> its place.
        rows: of UTTERANCES; those without a place, without sound or without a known speaker are nobody's voice.
    """

    def __init__(self, places: Mapping[str, Place], rows: Sequence[Mapping[str, Any]]) -> None:
        self._circles: dict[Place, list[tuple[str, Mapping[str, Any]]]] = {}
        self._without: dict[tuple[Place, str], list[tuple[str, Mapping[str, Any]]]] = {}
        for row in rows:
            name = own_id(row["utterance_id"], row["corpus"])
            if name in places and row["audio_id"] and row["speaker_id"]:
                self._circles.setdefault(places[name], []).append((short_digest(["voice", name]), row))
        for circle in self._circles.values():
            circle.sort(key=_digest_of)

    @property
    def has_two_together(self) -> bool:
        """Whether any two speakers are in the same part in every fold."""
        speakers: dict[tuple[str, ...], set[str]] = {}
        for place, circle in self._circles.items():
            speakers.setdefault(place.parts, set()).update(row["speaker_id"] for _, row in circle)
        return any(len(several) > 1 for several in speakers.values())

    def other(self, row: Mapping[str, Any], place: Place) -> Mapping[str, Any] | None:
        """The voice of an utterance; None where no other speaker can be heard at its place, or its own is unknown."""
        speaker = row["speaker_id"]
        if (place, speaker) not in self._without:
            others = [one for one in self._circles.get(place, ()) if speaker and one[1]["speaker_id"] != speaker]
            self._without[place, speaker] = others
        circle = self._without[place, speaker]
        if not circle:
            return None
        behind = short_digest(["voice", own_id(row["utterance_id"], row["corpus"])])
        return circle[bisect.bisect(circle, behind, key=_digest_of) % len(circle)][1]


def _digest_of(one: tuple[str, Mapping[str, Any]]) -> str:
    return one[0]


def _rows(artifact: Artifact) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(artifact.path("utterances.parquet"), UTTERANCES).to_pylist()
    return rows


def _unvoiced(row: Mapping[str, Any], place: Place, folds: Sequence[str]) -> str:
    if not row["speaker_id"]:
        return "its speaker is not known, so nobody is known to be another"
    told = zip(place.parts, folds, strict=True)
    group = ", ".join(f"{part} in fold '{fold}'" for part, fold in told if part not in ("", "train"))
    return f"no speaker but '{row['speaker_id']}' has the class '{place.label}' among those that are " + (
        group or "train in every fold"
    )
