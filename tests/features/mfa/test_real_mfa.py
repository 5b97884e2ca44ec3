"""The real command, where it is installed: EMOLAKE_MFA or PATH names it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.aligners.mfa import Mfa
from features.mfa import invocation
from features.plugin import Clip, normalised_words
from warehouse.errors import MfaMissing, Untreatable

pytestmark = pytest.mark.mfa


@pytest.fixture
def aligner(real: Path) -> Mfa:
    try:
        invocation.find()
    except MfaMissing as error:
        pytest.skip(str(error))
    model, dictionary = real / "mfa" / "tiny_acoustic_model_3.4.3.zip", real / "mfa" / "cmu_subset.dict"
    return Mfa(acoustic_model=str(model), dictionary=str(dictionary))


@pytest.fixture
def clips(real: Path) -> list[Clip]:
    found = []
    for path in sorted((real / "mfa" / "audio").rglob("*.wav")):
        wave, _ = soundfile.read(path, dtype="float32")
        text = (real / "mfa" / "corpus" / path.parent.name / f"{path.stem}.lab").read_text()
        found.append(Clip(path.stem, wave, text))
    return found


def test_real_speech_is_aligned_the_same_in_any_company(aligner: Mfa, clips: list[Clip], tmp_path: Path) -> None:
    align = aligner.load("cpu", tmp_path)
    silence = Clip("silence", np.zeros(32_000, np.float32), "go forward")
    unknown = Clip("unknown", clips[0].wave, "zorblattish")
    *answers, no_path, oov = align([*clips, silence, unknown])
    assert isinstance(no_path, Untreatable) and "no path" in str(no_path)
    assert isinstance(oov, Untreatable) and "out of vocabulary" in str(oov)
    answered = zip(clips, answers, strict=True)
    aligned = [(clip, answer) for clip, answer in answered if not isinstance(answer, Untreatable)]
    assert len(aligned) >= 10  # the model heard two minutes of speech
    for clip, answer in aligned:
        words = [i for i in answer if i.tier == "word"]
        assert [i.symbol for i in words] == normalised_words(clip.text)
        assert all(a.end_s <= b.start_s for a, b in pairwise(words))
    some = aligned[::-3]
    assert align([clip for clip, _ in some]) == [answer for _, answer in some]


def test_its_versions_are_known(aligner: Mfa) -> None:
    assert set(invocation.versions(invocation.find())) == {"mfa", "kalpy"}
