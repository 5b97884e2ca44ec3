from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.mfa.staging import Stage, name_of, refusal, write_stage
from features.plugin import RATE_HZ, Clip

LEXICON = {"WELL": ("W EH1 L",), "I'M": ("AY1 M",), "HERE": ("HH IY1 R",), "AWAY": ("AH0 W EY1",)}


def clip(text: str, n_samples: int = RATE_HZ, value: float = 0.5) -> Clip:
    return Clip("c", np.full(n_samples, value, np.float32), text)


def test_each_clip_is_a_speaker_with_one_wav_and_one_transcript(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    write_stage(stage, [clip("Well -- I’m here!"), clip("HERE", 1000, -1.0)], LEXICON)
    written = sorted(path.relative_to(stage.corpus).as_posix() for path in stage.corpus.rglob("*.*"))
    assert written == [f"{n}/{n}.{kind}" for n in ("u000000", "u000001") for kind in ("lab", "wav")]
    assert (stage.corpus / name_of(0) / f"{name_of(0)}.lab").read_bytes() == b"well i'm here\n"
    assert stage.dictionary.read_text() == "here\tHH IY1 R\ni'm\tAY1 M\nwell\tW EH1 L\n"
    assert not list(stage.root.iterdir())


def test_the_sound_is_the_clip_to_half_a_step(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1.2, 1.2, 5000).astype(np.float32)
    write_stage(Stage(tmp_path), [Clip("c", noise, "here")], LEXICON)
    wave, rate_hz = soundfile.read(tmp_path / "corpus" / name_of(0) / f"{name_of(0)}.wav")
    assert rate_hz == RATE_HZ
    assert np.abs(wave - noise.clip(-1, 1 - 2**-15)).max() <= 2**-16


def test_neither_corpus_nor_output_begins_with_the_path_of_the_root(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert not any(str(path).startswith(str(stage.root)) for path in (stage.corpus, stage.output))
    assert stage.log.parent == tmp_path


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (clip(""), "the transcript is empty"),
        (clip("  \t "), "the transcript is empty"),
        (clip("... --- ?!"), "the transcript is empty"),
        (clip("here", 0), "the clip lasts 0.000 s, and MFA answers none of 0.05 s or less"),
        (clip("here", 160), "the clip lasts 0.010 s, and MFA answers none of 0.05 s or less"),
        (clip("here", 800), "the clip lasts 0.050 s, and MFA answers none of 0.05 s or less"),
        (clip("here", value=np.nan), "its sound holds values that are not finite"),
        (clip("zork here 12 zork"), "out of vocabulary: the dictionary lacks 'ZORK', '12'"),
    ],
)
def test_what_mfa_drops_in_silence_is_not_given_to_it(refused: Clip, reason: str) -> None:
    assert refusal(refused, LEXICON) == reason


def test_what_is_just_long_enough_is_given() -> None:
    assert refusal(clip("here", 801), LEXICON) == ""
