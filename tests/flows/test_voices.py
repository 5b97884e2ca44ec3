"""Others' voices: never of another part in any fold, by an oracle that knows the splits only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.retell import own_id, retold_row
from flows.protocol import Protocol, folds_of, split_of
from flows.voices import Place, Voices, places_of, voice_works
from tests.flows.made import labels, utterance, utterances
from tests.sparing import first
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import NoOtherVoice
from warehouse.schema import FAILURES, FILES, UTTERANCES
from warehouse.tables import read_table, write_rows

CLASSES = {"calm": "calm", "loud": "loud"}
SESSIONS = {"folds": "session", "test": "session = $fold"}
PROTOCOLS = {
    "sessions": SESSIONS,
    "sessions with dev": SESSIONS | {"dev": "session = $next"},
    "sessions with a drawn dev": SESSIONS | {"dev": "drawn < 0.3"},
    "official parts": {"test": "split = 'test'", "dev": "split = 'dev'"},
    "drawn": {"test": "drawn < 0.3", "dev": "drawn < 0.3"},
    "a filter": SESSIONS | {"filter": "turn < 6"},
}


def protocol_of(name: str = "sessions", **more: Any) -> Protocol:
    return Protocol(id="mine", reader="made", title="t", labels=CLASSES, **PROTOCOLS[name] | more)


def rows_of(corpus: str = "here") -> list[dict[str, Any]]:
    """Eight utterances of each of four speakers in each of three sessions, in a random order of classes."""
    return [
        utterance(
            f"{corpus}-{session}{speaker}{turn}", corpus=corpus, speaker_id=f"{session}{speaker}", session=session,
            turn=turn, split=("train", "dev", "test")[int(session) - 1], audio_id=f"a{session}{speaker}{turn}",
        )
        for session in "123" for speaker in "abcd" for turn in range(8)
    ]  # fmt: skip


def labels_of(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {row["utterance_id"]: str(rng.choice(["calm", "loud", "other"])) for row in rows}


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def recorded(lake: Warehouse) -> Artifact:
    return lake.materialize(Request("raw", "made", 1), lambda f: write_rows(f / "files.parquet", [], FILES))


def voiced(
    lake: Warehouse, rows: Sequence[dict[str, Any]], protocol: Protocol, marked: dict[str, str] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[list[Artifact], list[Artifact]]]:
    """The utterances with voices, the failures, and the corpus that was read. The units are the sessions."""
    units = {
        session: utterances(lake, [row for row in rows if row["session"] == session], session)
        for session in sorted({row["session"] for row in rows})
    }
    corpus = list(units.values()), [labels(lake, marked or labels_of(rows))]
    works = voice_works("there", {name: (recorded(lake), own) for name, own in units.items()}, protocol, *corpus)
    made = [lake.perform(work) for work in works]
    found = [row for a in made for row in read_table(a.path("utterances.parquet"), UTTERANCES).to_pylist()]
    failures = [row for a in made for row in read_table(a.path("failures.parquet"), FAILURES).to_pylist()]
    return found, failures, corpus


@pytest.mark.parametrize("name", first(3, PROTOCOLS))
def test_what_is_trained_on_has_a_voice_that_is_trained_on_in_every_fold(lake: Warehouse, name: str) -> None:
    rows, protocol = rows_of(), protocol_of(name)
    found, failures, corpus = voiced(lake, rows, protocol)
    by_id, marked = {row["utterance_id"]: row for row in rows}, labels_of(rows)
    voices = {dict(row["attributes"])["source"]: dict(row["attributes"])["voice"] for row in found}
    assert len(voices) > 40
    folds = folds_of(protocol, corpus[0])
    members = set()
    for fold in folds:
        split = split_of(protocol, fold, folds, *corpus)[0].to_pylist()
        parts = {row["utterance_id"]: row["part"] for row in split}
        members |= parts.keys()
        for told, voice in voices.items():
            assert parts[told] == parts[voice], "not in train only: nobody hears a test voice twice either"
    assert members == voices.keys() | {row["utterance_id"] for row in failures}
    for told, voice in voices.items():
        assert by_id[told]["speaker_id"] != by_id[voice]["speaker_id"]
        assert marked[told] == marked[voice] in CLASSES


def test_a_protocol_that_leaves_a_speaker_out_has_no_voices(lake: Warehouse) -> None:
    protocol = protocol_of(folds="speaker_id", test="speaker_id = $fold")
    with pytest.raises(NoOtherVoice, match="'mine' puts no two speakers into the same part in every fold, so nobody"):
        voiced(lake, rows_of(), protocol)


def test_who_has_no_other_of_the_class_and_who_is_not_known_are_failures(lake: Warehouse) -> None:
    rows = rows_of()
    marked = {row["utterance_id"]: "calm" for row in rows} | {"here-1a0": "loud", "here-1a1": "loud"}
    rows[-1]["speaker_id"] = ""
    _, failures, _ = voiced(lake, rows, protocol_of(), marked)
    assert {row["utterance_id"]: row["reason"] for row in failures} == {
        "here-1a0": "no speaker but '1a' has the class 'loud' among those that are test in fold '1'",
        "here-1a1": "no speaker but '1a' has the class 'loud' among those that are test in fold '1'",
        "here-3d7": "its speaker is not known, so nobody is known to be another",
    }
    assert {row["step"] for row in failures} == {"features.retell"}


def test_official_parts_are_named_where_nobody_else_has_the_class(lake: Warehouse) -> None:
    rows = rows_of()
    marked = {row["utterance_id"]: "calm" for row in rows} | {"here-1a0": "loud", "here-3a1": "loud"}
    _, failures, _ = voiced(lake, rows, protocol_of("official parts"), marked)
    assert [row["reason"].partition("among ")[2] for row in failures] == [
        "those that are train in every fold", "those that are test in fold 'all'"
    ]  # fmt: skip


def test_what_cannot_be_heard_is_nobodys_voice(lake: Warehouse) -> None:
    rows = rows_of()
    for row in rows:
        if row["speaker_id"] == "1b":
            row["audio_id"] = ""
    found, _, _ = voiced(lake, rows, protocol_of(), {row["utterance_id"]: "calm" for row in rows})
    speakers = {row["speaker_id"]: set() for row in rows}
    for row in found:
        speakers[row["speaker_id"]].add(dict(row["attributes"])["voice_speaker"])
    assert not any("1b" in others for others in speakers.values()) and speakers["1b"], "but it gets one"


def test_a_choice_depends_on_ids_alone_and_not_on_what_the_corpora_are_called(lake: Warehouse, tmp_path: Path) -> None:
    rows, renamed = rows_of(), rows_of("elsewhere")
    one, _, _ = voiced(lake, rows, protocol_of())
    other = Warehouse(tmp_path / "other", create=True)
    two, _, _ = voiced(other, renamed[::-1], protocol_of(), {
        name.replace("here-", "elsewhere-"): value for name, value in labels_of(rows).items()
    })  # fmt: skip
    choices = [
        {row["utterance_id"]: dict(row["attributes"])["voice"].split("-")[1] for row in own} for own in (one, two)
    ]
    assert choices[0] == choices[1]


def test_one_utterance_more_changes_few_choices() -> None:
    rows = [row for row in rows_of() if row["session"] == "1"]
    place = Place("calm", ("train",))

    def choices(several: Sequence[dict[str, Any]]) -> dict[str, str]:
        voices = Voices({own_id(row["utterance_id"], "here"): place for row in rows}, several)
        return {row["utterance_id"]: voices.other(row, place)["utterance_id"] for row in several}

    whole = choices(rows)
    assert len(set(whole.values())) > len(rows) / 3, "they are many voices"
    for left_out in rows:
        for name, voice in choices([row for row in rows if row is not left_out]).items():
            assert voice == whole[name] or whole[name] == left_out["utterance_id"]


def test_what_is_drawn_is_drawn_alike(lake: Warehouse) -> None:
    rows, protocol = rows_of(), protocol_of("drawn")
    told = [retold_row(row, "heard", {}) for row in rows]
    splits = []
    for own, marked in ((rows, labels_of(rows)), (told, dict(zip((row["utterance_id"] for row in told),
                                                                 labels_of(rows).values(), strict=True)))):  # fmt: skip
        corpus = [utterances(lake, own)], [labels(lake, marked)]
        splits.append([
            (row["utterance_id"].split("-")[1], row["part"], row["label"])
            for row in split_of(protocol, "all", ["all"], *corpus)[0].to_pylist()
        ])  # fmt: skip
    assert splits[0] == splits[1] and len({part for _, part, _ in splits[0]}) == 3


def test_a_corpus_that_is_told_again_has_the_places_of_the_one_that_was_read(lake: Warehouse) -> None:
    """Also where an utterance was lost in between: what is drawn is drawn among those that were read."""
    rows, protocol = rows_of(), protocol_of("drawn")
    read = [utterances(lake, rows)], [labels(lake, labels_of(rows))]
    places = places_of(protocol, folds_of(protocol, read[0]), *read)
    heard = [retold_row(row, "heard", {}) for row in rows[3:]]
    own = utterances(lake, heard)
    [work] = voice_works("there", {"u": (recorded(lake), own)}, protocol, *read)
    for row in read_table(lake.perform(work).path("utterances.parquet"), UTTERANCES).to_pylist():
        voice = dict(row["attributes"])["voice"]
        assert voice.startswith("heard-")
        assert places[own_id(voice, "heard")] == places[own_id(row["utterance_id"], "there")]
