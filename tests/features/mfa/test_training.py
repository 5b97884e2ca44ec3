"""A model that MFA trains: which clips it hears, what a broken training leaves, and how rows are told apart by it."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from features.mfa import invocation, training
from features.mfa.lexicon import read_lexicon
from features.mfa.staging import scratch_in
from features.mfa.training import train
from features.plugin import RATE_HZ, Clip
from tests.features.mfa.stand_in import StandIn, write_stand_in
from warehouse.errors import MfaFailed, NothingToTrainOn

WORDS = ("hello", "there", "old", "house", "red", "coat")


def clip(text: str, duration_s: float = 1.0) -> Clip:
    return Clip(f"c{text}", np.full(round(duration_s * RATE_HZ), 0.1, np.float32), text)


CLIPS = [clip("Hello there."), clip("Old house!", 1.5), clip("red coat", 0.8)]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return write_stand_in(tmp_path / "stand_in", WORDS)


def trained(stand_in: StandIn, clips: list[Clip], adapts: bool = False) -> tuple[list[str], dict[str, str]]:
    """The words that the stand-in's model says it heard, and what it was not given."""
    place = stand_in.folder
    told = train(
        stand_in.command, clips, read_lexicon(stand_in.dictionary), adapts, partial(scratch_in, place), place / "logs",
        place / "made.zip",
    )  # fmt: skip
    assert not list((place / ".scratch").iterdir())
    with zipfile.ZipFile(place / "made.zip") as archive:
        return json.loads(archive.read("acoustic/meta.json")), told


def test_it_hears_every_clip_and_is_called_as_it_is_known_to_run(stand_in: StandIn) -> None:
    assert trained(stand_in, CLIPS) == (sorted(WORDS), {})
    trained(stand_in, CLIPS, adapts=True)
    assert stand_in.verbs() == ["validate", "train"] * 2
    _, own, _, adapting = (call["arguments"] for call in stand_in.calls())
    assert [Path(path).name for path in own[1:4]] == ["corpus", "words.dict", "made.zip"]
    assert own[4:] == ["--clean", "-q", "-j", "1", "--single_speaker"] and adapting[4:] == own[4:-1]
    roots = [call["root"] for call in stand_in.calls()]
    assert len(set(roots)) == 4


def test_what_could_only_harm_is_not_heard_and_is_told(stand_in: StandIn) -> None:
    stand_in.plan(reports={"missing_features.csv": {"old": "NAME,0.0,0.06"}})
    words, told = trained(stand_in, [*CLIPS, clip(""), clip("zork"), clip("coat", 0.05)])
    assert words == ["coat", "hello", "red", "there"]
    assert told == {
        "cOld house!": "MFA gets no features from it",
        "c": "the transcript is empty",
        "czork": "out of vocabulary: the dictionary lacks 'ZORK'",
        "ccoat": "the clip lasts 0.050 s, and MFA answers none of 0.05 s or less",
    }


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({"trains_with": 1}, "MFA ended with exit code 1 on whatever it was given"),
        ({"trains": "writes nothing"}, "MFA wrote no acoustic model on whatever it was given"),
        ({"trains": "writes text"}, "MFA wrote no acoustic model on whatever it was given"),
        ({"trains": "hangs"}, "MFA did not end within 1 s on whatever it was given"),
    ],
)
def test_a_training_that_breaks_leaves_no_model_and_its_words(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, plan: dict[str, object], sentence: str
) -> None:
    monkeypatch.setattr(training, "BEFORE_S", 1.0)
    monkeypatch.setattr(training, "PER_SECOND_S", 0.0)
    monkeypatch.setattr(invocation, "PATIENCE_S", 0.2)
    if plan.get("trains") != "hangs":
        monkeypatch.setattr(training, "BEFORE_S", 30.0)
    stand_in.plan(**plan)
    with pytest.raises(MfaFailed, match=sentence):
        trained(stand_in, CLIPS)
    assert not (stand_in.folder / "made.zip").exists() and not list((stand_in.folder / ".scratch").iterdir())
    (log,) = (stand_in.folder / "logs").glob("*/mfa.log")
    assert "said by the stand-in" in log.read_text()


def test_without_a_clip_there_is_nothing_to_train_on(stand_in: StandIn) -> None:
    sentence = r"MFA can train on none of 1 clips \(the first: out of vocabulary: the dictionary lacks 'ZORK'\)"
    with pytest.raises(NothingToTrainOn, match=sentence):
        trained(stand_in, [clip("zork")])
    with pytest.raises(NothingToTrainOn, match=r"none of 0 clips \(the first: there is none\)"):
        trained(stand_in, [])
    assert stand_in.calls() == []
