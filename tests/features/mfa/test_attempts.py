"""A stand-in hangs, crashes, swaps labels, drops files and writes nonsense: no clip gets a wrong interval, and none is
lost."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.mfa import attempts, invocation
from features.mfa.attempts import Answer, Asked, answer_all
from features.mfa.lexicon import read_lexicon
from features.plugin import RATE_HZ, Clip
from tests.features.mfa.stand_in import PHONES, StandIn, write_stand_in
from warehouse.errors import MfaFailed, Untreatable

WORDS = ("hello", "there", "old", "house", "red", "coat")
counter = itertools.count()


def clip(text: str, duration_s: float = 1.0) -> Clip:
    n_samples = round(duration_s * RATE_HZ)
    return Clip(f"c{text}", np.full(n_samples, 0.1, np.float32), text)


CLIPS = [clip("Hello there."), clip("Old house!", 1.5), clip("red coat", 0.8)]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return write_stand_in(tmp_path / "stand_in", WORDS)


def folder(place: Path) -> Path:
    made = place / f"run{next(counter)}"
    made.mkdir(parents=True)
    return made


def ask(stand_in: StandIn, clips: Sequence[Clip], **changes: Any) -> list[Answer]:
    return ask_in(stand_in, clips, stand_in.folder / "runs", **changes)


def ask_in(stand_in: StandIn, clips: Sequence[Clip], place: Path, **changes: Any) -> list[Answer]:
    fields: dict[str, Any] = {
        "command": stand_in.command, "model": stand_in.model, "lexicon": read_lexicon(stand_in.dictionary), "beam": 10,
        "retry_beam": 40, "adapts": False, "scratch": partial(folder, place), "logs": stand_in.folder / "logs",
    }  # fmt: skip
    answers = answer_all(Asked(**fields | changes), clips)
    assert not place.exists() or not list(place.iterdir())
    return answers


def told(answers: Sequence[Answer]) -> list[str]:
    """The reason of each clip, '' for one that has intervals."""
    return [str(answer) if isinstance(answer, Untreatable) else "" for answer in answers]


def first_word(answer: Answer) -> str:
    assert not isinstance(answer, Untreatable)
    return answer[0].symbol


def test_all_clips_are_answered_by_one_run_in_order(stand_in: StandIn) -> None:
    answers = ask(stand_in, CLIPS)
    assert [first_word(answer) for answer in answers] == ["HELLO", "OLD", "RED"]
    words = [i for i in answers[1] if i.tier == "word"]  # type: ignore[union-attr]
    phones = [i.symbol for i in answers[1] if i.tier == "phone"]  # type: ignore[union-attr]
    assert [(i.symbol, i.start_s, i.end_s) for i in words] == [("OLD", 0.15, 0.75), ("HOUSE", 0.75, 1.35)]
    assert phones == [*PHONES, *PHONES]
    assert len(stand_in.calls()) == 1


def test_it_is_called_as_it_is_known_to_run(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFA_PROFILE", "mine")
    ask(stand_in, CLIPS)
    ask(stand_in, CLIPS, adapts=True)
    default, adapting = stand_in.calls()
    verb, corpus, words, model, output, *flags = default["arguments"]
    assert (verb, model) == ("align", str(stand_in.model))
    assert [Path(path).name for path in (corpus, words, output)] == ["corpus", "words.dict", "aligned"]
    told = ["--clean", "-q", "-j", "1", "--output_format", "json", "--beam", "10", "--retry_beam", "40"]
    assert flags == [*told, "--single_speaker"]
    assert adapting["arguments"][5:] == told
    assert default["told"] == [] and default["threads"] == "1" and default["path"] == str(stand_in.command.parent)


def test_every_run_has_a_root_of_its_own(stand_in: StandIn) -> None:
    stand_in.plan(no_path={"old": 1000})
    for _ in range(3):
        ask(stand_in, CLIPS)
    roots = [call["root"] for call in stand_in.calls()]
    assert len(roots) == len(set(roots)) == 6


def test_without_clips_or_words_nothing_runs(stand_in: StandIn) -> None:
    assert ask(stand_in, []) == []
    reasons = told(ask(stand_in, [clip(""), clip("hello", 0.05), clip("hello zork")]))
    assert reasons == [
        "the transcript is empty",
        "the clip lasts 0.050 s, and MFA answers none of 0.05 s or less",
        "out of vocabulary: the dictionary lacks 'ZORK'",
    ]
    assert stand_in.calls() == []


# -- no path ---------------------------------------------------------------------------------------------------


def test_what_has_no_path_is_run_once_more_alone_with_a_wider_beam(stand_in: StandIn) -> None:
    stand_in.plan(no_path={"old": 50})
    assert told(ask(stand_in, CLIPS)) == ["", "", ""]
    assert stand_in.beams() == [10, 100]
    assert stand_in.calls()[1]["arguments"][-3:] == ["--retry_beam", "400", "--single_speaker"]


def test_what_has_no_path_with_the_wider_beam_is_recorded(stand_in: StandIn) -> None:
    stand_in.plan(no_path={"old": 5000})
    assert told(ask(stand_in, CLIPS)) == ["", "no path through 1.500 s of sound says its words", ""]
    assert stand_in.beams() == [10, 100]


def test_a_corpus_of_nothing_but_such_clips_is_no_broken_run(stand_in: StandIn) -> None:
    silence = [Clip("s", np.zeros(RATE_HZ, np.float32), "hello"), clip("hello there", 0.06)]
    reasons = [f"no path through {duration} s of sound says its words" for duration in ("1.000", "0.060")]
    assert told(ask(stand_in, silence)) == reasons
    assert stand_in.beams() == [10, 100]


REFUSED = {
    "no output": "MFA wrote no alignment of it",
    "no word": "MFA found no word in it",
    "unmentioned": "MFA says nothing of it",
    "unmentioned output": "MFA says nothing of it, but wrote an alignment",
    "blank": "no path through 1.500 s of sound says its words",
    "twice": "MFA says 2 things of it",
    "of another": "what MFA says of it is of another clip",
    "late": "word 2 ('house') of MFA's alignment ends at 2.000 s, but the clip at 1.500 s",
    "early": "word 1 ('{word}') of MFA's alignment goes from -0.020 s to 0.750 s",
    "backwards": "word 1 ('{word}') of MFA's alignment goes from 0.750 s to 0.150 s",
    "overlap": "word 2 ('house') of MFA's alignment begins at 0.700 s, before the last one ends",
    "hole": "the phones of MFA's alignment do not fill the word '{word}'",
    "outside": "phone 'AH0' of MFA's alignment is in no word",
    "spn": "MFA does not know the word '{word}'",
    "fewer": "MFA's alignment has 1 words, the transcript 2",
    "nan": "MFA's alignment cannot be read (ValueError)",
    "text time": "MFA's alignment cannot be read (ValueError)",
    "no phones": "MFA's alignment cannot be read (ValueError)",
    "truncated": "MFA's alignment cannot be read (JSONDecodeError)",
    "empty": "MFA's alignment cannot be read (JSONDecodeError)",
    "not text": "MFA's alignment cannot be read (UnicodeDecodeError)",
    "list": "MFA's alignment cannot be read (TypeError)",
    "deep": "MFA's alignment cannot be read (RecursionError)",
}
"""What befalls a clip of two words -> what is told of it; `{word}` is its first."""


def test_an_alignment_that_does_not_hold_together_is_refused_and_its_neighbours_are_kept(tmp_path: Path) -> None:
    first_words = [f"w{number}" for number in range(len(REFUSED))]
    stand_in = write_stand_in(tmp_path / "stand_in", [*WORDS, *first_words])
    stand_in.plan(damage=dict(zip(first_words, REFUSED, strict=True)))
    clips = [one for word in first_words for one in (clip(f"{word} house", 1.5), clip("red coat"))]
    reasons = told(ask(stand_in, clips))
    expected = [reason.format(word=word) for word, reason in zip(first_words, REFUSED.values(), strict=True)]
    assert dict(zip(REFUSED, reasons[::2], strict=True)) == dict(zip(REFUSED, expected, strict=True))
    assert set(reasons[1::2]) == {""}
    assert stand_in.beams() == [10, 100]


def test_the_validator_is_asked_why_the_aligner_says_nothing(stand_in: StandIn) -> None:
    stand_in.plan(
        damage={"old": "unmentioned", "red": "unmentioned", "house": "no output"},
        reports={"utf8_read_errors.csv": {"old": "There was an error decoding NAME.lab, maybe try re-saving it?"}},
    )
    assert told(ask(stand_in, [*CLIPS, clip("house")])) == [
        "", "MFA says nothing of it: MFA cannot decode its transcript", "MFA says nothing of it",
        "MFA wrote no alignment of it",
    ]  # fmt: skip
    assert stand_in.verbs() == ["align", "align", "validate"]


def test_without_such_clips_no_validator_runs(stand_in: StandIn) -> None:
    stand_in.plan(no_path={"old": 5000})
    ask(stand_in, CLIPS)
    assert stand_in.verbs() == ["align", "align"]


def test_labels_swapped_between_files_are_refused(stand_in: StandIn) -> None:
    stand_in.plan(swap=True)
    reasons = told(ask(stand_in, CLIPS))
    assert reasons[0] == "word 2 ('house') of MFA's alignment ends at 1.350 s, but the clip at 1.000 s"
    assert reasons[1:] == [
        "word 1 of MFA's alignment is 'red', of the transcript 'old'",
        "word 2 ('there') of MFA's alignment ends at 0.900 s, but the clip at 0.800 s",
    ]


@pytest.mark.parametrize("table", ["stem\nu000000\n", "file,end\n\udcff\n"])
def test_without_a_table_that_can_be_read_nothing_is_accepted(stand_in: StandIn, table: str) -> None:
    stand_in.plan(table=table)
    reasons = told(ask(stand_in, CLIPS))
    assert {reason.partition(" (")[0] for reason in reasons} == {"MFA's table of alignments cannot be read"}


def test_without_any_table_nothing_is_accepted(stand_in: StandIn) -> None:
    stand_in.plan(table="")
    assert set(told(ask(stand_in, CLIPS))) == {"MFA says nothing of it, but wrote an alignment"}


# -- runs that break -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 143])  # an unreadable wav, a SIGTERM
def test_a_clip_that_breaks_the_run_is_found_and_the_others_are_answered(stand_in: StandIn, code: int) -> None:
    stand_in.plan(crash={"old": code})
    assert told(ask(stand_in, CLIPS)) == ["", f"MFA ended with exit code {code}, given this clip alone", ""]


def test_what_an_exporter_wrote_before_it_died_is_not_accepted(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BEFORE_S", 0.6)
    monkeypatch.setattr(invocation, "PATIENCE_S", 0.2)
    stand_in.plan(exporter_dies=True)
    with pytest.raises(MfaFailed, match="MFA did not end within 1 s on whatever it was given"):
        ask(stand_in, [clip("hello", 0.2), clip("old", 0.2)])


def test_three_at_once_share_nothing_and_all_answer(stand_in: StandIn) -> None:
    with ThreadPoolExecutor(3) as pool:
        several = list(pool.map(lambda _: ask_in(stand_in, CLIPS, stand_in.folder / f"runs{next(counter)}"), range(3)))
    assert several == [several[0]] * 3 and told(several[0]) == ["", "", ""]
    assert len({call["root"] for call in stand_in.calls()}) == 3


def test_a_clip_on_which_mfa_hangs_is_found_and_its_group_ended(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BEFORE_S", 0.6)
    monkeypatch.setattr(invocation, "PATIENCE_S", 0.2)
    stand_in.plan(hang={"hello": "deaf"})
    reasons = told(ask(stand_in, [clip("hello", 0.2), clip("old", 0.2)]))
    assert reasons == ["MFA did not end within 1 s, given this clip alone", ""]
    pids = [call["pid"] for call in stand_in.calls()] + [int((stand_in.command.parent / "child").read_text())]
    time.sleep(0.2)  # the last ones are not our children: whoever adopted them takes them away
    for pid in pids:
        assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert os.getpid() not in pids


@pytest.mark.parametrize("clips", [CLIPS, CLIPS[:1]])
def test_an_mfa_that_breaks_on_everything_stops_the_run_and_keeps_its_words(
    stand_in: StandIn, clips: list[Clip]
) -> None:
    stand_in.plan(crash=dict.fromkeys(WORDS, 70))
    with pytest.raises(MfaFailed, match=r"MFA ended with exit code 70 on whatever it was given: its own words are in "):
        ask(stand_in, clips)
    logs = list((stand_in.folder / "logs").glob("*/mfa.log"))
    assert logs and all("said by the stand-in\nTraceback" in log.read_text() for log in logs)
    assert len(stand_in.calls()) == len(logs) == (4 if len(clips) > 1 else 1)
    with pytest.raises(MfaFailed) as error:
        ask(stand_in, clips)
    assert any(str(log) in str(error.value) for log in (stand_in.folder / "logs").glob("*/mfa.log"))


def test_a_broken_mfa_is_given_up_long_before_every_clip_was_tried(stand_in: StandIn) -> None:
    stand_in.plan(crash={"hello": 1})
    with pytest.raises(MfaFailed):
        ask(stand_in, [clip("hello", 0.1)] * 64)
    assert len(stand_in.calls()) == 8


# -- rows and batches ------------------------------------------------------------------------------------------


def test_an_answer_is_the_same_in_every_company(stand_in: StandIn) -> None:
    stand_in.plan(no_path={"old": 50}, damage={"red": "hole"}, crash={"there": 1})
    alone = [ask(stand_in, [CLIPS[1]])[0], ask(stand_in, [clip("house"), CLIPS[2]])[1]]
    clips = [*CLIPS, clip("coat")]
    for order in (clips, clips[::-1], clips[1:]):
        answers = dict(zip([c.input_id for c in order], ask(stand_in, order), strict=True))
        assert answers[CLIPS[1].input_id] == alone[0]
        assert str(answers[CLIPS[2].input_id]) == str(alone[1])
