"""What goes with whom, and what stays because others have it too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.audit.withdrawn_lake import ANA, BEN, DIALOGUE, OWN, ROWS, SECRET, pair, told, withdrawn_lake
from tests.warehouse.small_lake import SmallLake
from warehouse import Warehouse
from warehouse.audit.errors import NoPredicate, NothingFallsUnder, NothingToPurge, ToldAgain
from warehouse.audit.purge import plan_purge, purge
from warehouse.audit.withdrawal import Asked, Withdrawal, withdrawal_of
from warehouse.schema import FAILURES, UTTERANCES, audio_id

HELLO, PLAIN, SPOILT = ROWS[:3]


@pytest.fixture
def held(tmp_path: Path) -> SmallLake:
    return withdrawn_lake(tmp_path)


def _reading(held: SmallLake, corpus: str, rows: list[dict[str, Any]]) -> None:
    tables: dict[str, Any] = {"utterances": (rows, UTTERANCES), "failures": ([], FAILURES)}
    held.rows(corpus, "utterances", "corpora.table", tables, {}, corpus=corpus, unit="one", reader={})


def test_a_speaker_goes_with_all_that_is_told_from_them(held: SmallLake) -> None:
    found = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"]))
    names = {name.replace("clips", corpus) for name in ANA for corpus in ("clips", "german", "spoken")}
    assert found.utterances == names and found.corpora == {"clips", "german", "spoken"}
    assert found.speakers == {"clips/Ana"}
    assert {row["audio_id"] for row in (HELLO, PLAIN, SPOILT)} < found.audio
    assert {pair(row) for row in (HELLO, PLAIN, SPOILT)} < found.pairs
    assert OWN in found.recordings and found.shared == {DIALOGUE}
    assert ("clips", "wav/garden.wav") in found.files


def test_a_text_that_somebody_else_says_stays(held: SmallLake) -> None:
    found = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"]))
    assert HELLO["text_id"] in found.texts and PLAIN["text_id"] not in found.texts
    assert found.heirs[PLAIN["text_id"]] == BEN[0] and HELLO["text_id"] not in found.heirs
    assert {SECRET, SECRET.title()} <= found.phrases and "so it is" not in found.phrases


def test_hours_do_not_depend_on_the_order_in_which_they_are_added(held: SmallLake) -> None:
    last = [0.1 * n + 1.1 for n in range(60)]
    first = ROWS[0]["start_s"]
    rows = [ROWS[0] | {"utterance_id": f"long{n}", "audio_id": f"a{n}", "end_s": one} for n, one in enumerate(last)]
    _reading(held, "long", rows)
    found = withdrawal_of(held.lake, Asked(utterances=[row["utterance_id"] for row in rows]))
    assert found.hours == math.fsum(one - first for one in last) / 3600


def test_who_has_a_voice_of_hers_goes_too_and_who_is_told_from_that(held: SmallLake) -> None:
    voiced = told(ROWS[3], "voiced") | {"audio_id": HELLO["audio_id"], "recording_id": OWN}
    voiced["attributes"] = {"source": BEN[0], "voice": ANA[0], "voice_speaker": "Ana"}
    _reading(held, "voiced", [voiced])
    _reading(held, "later", [told(voiced, "later") | {"utterance_id": "later-ben-plain"}])
    found = withdrawal_of(held.lake, Asked(utterances=[ANA[0]]))
    assert {"voiced-ben-plain", "later-ben-plain"} <= found.utterances and BEN[0] not in found.utterances
    assert OWN in found.recordings


def test_older_readings_count(held: SmallLake) -> None:
    older = HELLO | {
        "utterance_id": "clips-ana-older",
        "recording_id": "o" * 64,
        "audio_id": audio_id("o", 0, 1, "mix"),
    }
    _reading(held, "clips", [older])
    found = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"]))
    assert "clips-ana-older" in found.utterances and "o" * 64 in found.recordings


def test_the_same_sound_of_another_corpus_stays_and_is_told_of(held: SmallLake) -> None:
    echo = HELLO | {"utterance_id": "other-echo-1", "corpus": "other"}
    _reading(held, "other", [echo])
    found = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"]))
    assert found.echoes == ["other-echo-1"]
    assert HELLO["audio_id"] not in found.audio and OWN not in found.recordings and OWN in found.shared
    both = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"], utterances=["other-echo-1"]))
    assert both.echoes == [] and HELLO["audio_id"] in both.audio and OWN in both.recordings


def test_a_condition_and_a_recording(held: SmallLake) -> None:
    assert withdrawal_of(held.lake, Asked(where=["text LIKE '%lemons%' -- hers"])).utterances >= {ANA[0]}
    assert withdrawal_of(held.lake, Asked(recordings=[OWN])).utterances >= {ANA[0]}


def test_a_withdrawal_goes_through_a_file(held: SmallLake) -> None:
    found = withdrawal_of(held.lake, Asked(speakers=["clips/Ana"]))
    assert Withdrawal.from_json(json.loads(json.dumps(found.as_json()))) == found
    assert found.hours == pytest.approx(6 / 3600)


@pytest.mark.parametrize(
    "asked, sentence",
    [
        (Asked(speakers=["clips/Anna"]), r"no reading of the lake holds speaker 'clips/Anna' \(CORPUS/SPEAKER\); did "
         r"you mean 'clips/Ana'\?; it holds 6 of them: ask `emolake sql`"),
        (Asked(utterances=["clips-ana-helo"]), "utterance 'clips-ana-helo'; did you mean 'clips-ana-hello'"),
        (Asked(recordings=["ff"]), r"recording 'ff' \(SHA-256 of the file\); it holds 8 of them"),
    ],
)  # fmt: skip
def test_who_is_not_there_is_refused_with_the_nearest(held: SmallLake, asked: Asked, sentence: str) -> None:
    with pytest.raises(NothingToPurge, match=sentence):
        withdrawal_of(held.lake, asked)


def test_who_was_withdrawn_before_is_told_so(held: SmallLake) -> None:
    from tests.warehouse.audit.test_purge import KEY

    receipt = purge(held.lake, plan_purge(held.lake, Asked(utterances=[ANA[0]])), KEY)
    with pytest.raises(NothingToPurge, match=f"utterance '{ANA[0]}': purge {receipt['purge']} withdrew it"):
        withdrawal_of(Warehouse(held.lake.root), Asked(utterances=[ANA[0]]))


@pytest.mark.parametrize(
    "predicate, why",
    [
        ("speaker_id", "it gives string, not true or false"),
        ("nobody = 'x'", "nobody"),
        ("true); DROP TABLE utterances; --", ""),
        ("", ""),
    ],
)
def test_what_is_no_condition_is_refused(held: SmallLake, predicate: str, why: str) -> None:
    with pytest.raises(NoPredicate, match="is no condition on a row of `utterances` ") as refused:
        withdrawal_of(held.lake, Asked(where=[predicate]))
    assert why in str(refused.value) and "write one as after WHERE" in str(refused.value)


def test_a_condition_under_which_nothing_falls(held: SmallLake) -> None:
    with pytest.raises(
        NothingFallsUnder, match=r"^none of the 6 utterances of the corpora as last ingested falls under"
    ):
        withdrawal_of(held.lake, Asked(where=["language = 'fr'"]))


def test_what_is_told_again_cannot_go_without_its_source(held: SmallLake) -> None:
    with pytest.raises(
        ToldAgain, match=r"^'german-ana-hello' is told from 'clips-ana-hello', which would stay, so the next"
    ):
        withdrawal_of(held.lake, Asked(utterances=["german-ana-hello"]))
    both = withdrawal_of(held.lake, Asked(utterances=["german-ana-hello", ANA[0]]))
    assert {"german-ana-hello", ANA[0]} <= both.utterances


def test_nobody_is_not_a_speaker(held: SmallLake) -> None:
    _reading(held, "quiet", [HELLO | {"utterance_id": "quiet-1", "corpus": "quiet", "speaker_id": ""}])
    with pytest.raises(NothingToPurge, match="speaker 'quiet/'"):
        withdrawal_of(held.lake, Asked(speakers=["quiet/"]))
