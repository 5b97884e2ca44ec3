"""Laws of every aligner: a new file of `features/aligners` is tested by existing.

MFA is a program of another environment: a stand-in takes its place here, so its laws are those of everything around
it, and `tests/features/mfa/test_real_mfa.py` has those of the program itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import soxr

from features.audio import decode
from features.plugin import RATE_HZ, Clip, Interval, Needs, normalised_words
from features.sandbox.voices import MEN, WOMEN, resampled, say
from tests.features.mfa.stand_in import write_stand_in
from warehouse import catalog
from warehouse.errors import UnknownField, Untreatable

ROOM = "features.aligners"
NAMES = catalog.names(ROOM)
HEARING = [name for name in NAMES if not getattr(catalog.plugin_class(ROOM, name), "is_shipped", False)]
"""The others take what a corpus brings: they have no `load`, and tests of their own."""
OF_MANY = [name for name in HEARING if getattr(catalog.plugin_class(ROOM, name), "aligns_many", False)]
SENTENCES = (
    "The train leaves at seven, as usual.",
    "I can't believe that Zbrik took 12 tickets!",
    "Well -- where is the red coat?",
    "She wants to talk about the old house.",
)
OTHER_TONGUES = (
    "Ich freue mich so sehr für dich!",
    "我今天很高兴。",
    "أنا حزين جدا",
    "Ты злишься?",
    "¿Qué? 😀 … ½",
    "İ ß ŉ Ⅷ",
)
TICK_S = 1e-9

Align = Callable[[Clip], Sequence[Interval]]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    choose = random.Random(0)
    found = []
    for n, (text, speaker) in enumerate(zip(SENTENCES, (*WOMEN[:2], *MEN[:2]), strict=True)):
        take = say(text, speaker, "neutral", 1.0, choose)
        found.append(Clip(f"c{n}", resampled(take.wave, RATE_HZ).astype(np.float32), text))
    return found


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Name of an aligner -> the aligner, with the fields that it cannot do without."""
    words = {word for text in (*SENTENCES, "hello there") for word in normalised_words(text)}
    stand_in = write_stand_in(tmp_path_factory.mktemp("contract") / "mfa", sorted(words))
    fields = {"mfa": {"acoustic_model": str(stand_in.model), "dictionary": str(stand_in.dictionary)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOLAKE_MFA", str(stand_in.command))
        yield lambda name: catalog.build(ROOM, name, fields.get(name, {}), "the contract")


@pytest.fixture(scope="module", params=HEARING)
def plugin(request: pytest.FixtureRequest, build: Callable[[str], Any]) -> Any:
    return build(request.param)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake")


def loaded(plugin: Any, lake: Path) -> Align:
    """The aligner for one clip at a time, whether or not it answers many."""
    if not getattr(plugin, "aligns_many", False):
        return plugin.load("cpu")
    align = plugin.load("cpu", lake)

    def align_one(clip: Clip) -> Sequence[Interval]:
        [answer] = align([clip])
        if isinstance(answer, Untreatable):
            raise answer
        return answer

    return align_one


@pytest.fixture(scope="module")
def align(plugin: Any, lake: Path) -> Align:
    return loaded(plugin, lake)


def check(intervals: Sequence[Interval], clip: Clip) -> None:
    """Words are those of the transcript in order; the intervals of a tier follow one another within the clip."""
    assert [i.symbol for i in intervals if i.tier == "word"] == normalised_words(clip.text)
    assert all(i.symbol for i in intervals)
    for tier in {i.tier for i in intervals}:
        own = [i for i in intervals if i.tier == tier]
        assert all(0 <= i.start_s < i.end_s <= clip.duration_s for i in own)
        assert all(a.end_s <= b.start_s + TICK_S for a, b in pairwise(own))


def answered(align: Align, clip: Clip) -> str:
    """The reason why there are no intervals, or '' where there are some, which hold together."""
    try:
        intervals = align(clip)
    except Untreatable as error:
        assert str(error)
        return str(error)
    check(intervals, clip)
    return ""


def test_the_folder_has_aligners() -> None:
    assert {"mfa", "pocketsphinx"} <= set(HEARING)


@pytest.mark.parametrize("name", NAMES)
def test_identity_is_canonical_and_frozen(name: str, build: Callable[[str], Any]) -> None:
    plugin = build(name)
    assert type(plugin).__dataclass_params__.frozen
    assert type(plugin).__doc__
    assert plugin.needs in get_args(Needs)
    assert len(catalog.plugin_key("aligners.x", plugin)) == 32


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(UnknownField, match="no field 'colour'"):
        catalog.build(ROOM, name, {"colour": "red"}, "recipe")


def test_what_is_said_is_aligned(align: Align, clips: list[Clip]) -> None:
    for clip in clips:
        check(align(clip), clip)


def test_phones_fill_the_words(align: Align, clips: list[Clip]) -> None:
    for clip in clips:
        intervals = align(clip)
        phones = [i for i in intervals if i.tier == "phone"]
        within = 0
        for word in (i for i in intervals if i.tier == "word"):
            own = [p for p in phones if word.start_s - TICK_S <= p.start_s and p.end_s <= word.end_s + TICK_S]
            assert (own[0].start_s, own[-1].end_s) == pytest.approx((word.start_s, word.end_s))
            within += len(own)
        assert within == len(phones)


def test_a_clip_is_aligned_the_same_whatever_came_before(plugin: Any, lake: Path, clips: list[Clip]) -> None:
    fresh = [list(loaded(plugin, lake)(clip)) for clip in clips]
    align = loaded(plugin, lake)
    for order in ((3, 1, 0, 2), (0, 0, 2, 3), (2, 1, 1, 3)):
        for position in order:
            assert list(align(clips[position])) == fresh[position]


@pytest.mark.parametrize("name", OF_MANY)
def test_a_clip_is_aligned_the_same_in_any_company(
    name: str, build: Callable[[str], Any], lake: Path, clips: list[Clip]
) -> None:
    plugin = build(name)
    align, alone = plugin.load("cpu", lake), loaded(plugin, lake)
    bad = Clip("short", np.zeros(320, np.float32), "hello there")
    expected = {clip.input_id: list(alone(clip)) for clip in clips}
    for order in ((0, 1, 2, 3), (3, 1, 0)):
        *answers, refused = align([*(clips[n] for n in order), bad])
        assert [list(answer) for answer in answers] == [expected[clips[n].input_id] for n in order]
        assert isinstance(refused, Untreatable)
    assert align([]) == []


def test_a_failure_leaves_no_trace(plugin: Any, lake: Path, clips: list[Clip]) -> None:
    align = loaded(plugin, lake)
    before = list(align(clips[0]))
    for bad in (Clip("short", clips[0].wave[:320], clips[0].text), Clip("empty", clips[0].wave, "")):  # type: ignore[index]
        with pytest.raises(Untreatable):
            align(bad)
    assert list(align(clips[0])) == before


@pytest.mark.parametrize("text", ["", "  ", "?!"])
def test_an_empty_transcript_is_untreatable(align: Align, clips: list[Clip], text: str) -> None:
    with pytest.raises(Untreatable, match="the transcript is empty"):
        align(Clip("e", clips[0].wave, text))


@pytest.mark.parametrize("n_samples", [0, 320])
def test_a_clip_too_short_for_its_words_is_untreatable(align: Align, n_samples: int) -> None:
    with pytest.raises(Untreatable, match=r"the clip lasts 0\.0[02]0 s"):
        align(Clip("e", np.zeros(n_samples, np.float32), "hello there"))


def test_silence_and_noise_are_answered(align: Align) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE_HZ).astype(np.float32)
    for wave in (np.zeros(2 * RATE_HZ, np.float32), noise):
        answered(align, Clip("s", wave, "hello there"))


def test_clipped_sound_is_aligned_and_more_than_full_scale_is_full_scale(align: Align, clips: list[Clip]) -> None:
    assert clips[0].wave is not None
    loud = clips[0].wave * np.float32(30)
    clipped, beyond = (Clip("c", np.clip(loud, -most, most), clips[0].text) for most in (1.0, 1.5))
    check(align(clipped), clipped)
    assert list(align(beyond)) == list(align(clipped))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_untreatable(align: Align, clips: list[Clip], value: float) -> None:
    assert clips[0].wave is not None
    wave = clips[0].wave.copy()
    wave[8_000:8_003] = value
    with pytest.raises(Untreatable, match="not finite"):
        align(Clip("b", wave, clips[0].text))


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(8_000, 1), (48_000, 1), (16_000, 6), (44_100, 2)])
def test_every_rate_and_number_of_channels(
    align: Align, clips: list[Clip], tmp_path: Path, rate_hz: int, n_channels: int
) -> None:
    assert clips[3].wave is not None
    path = tmp_path / "recording.wav"
    wave = soxr.resample(clips[3].wave, RATE_HZ, rate_hz)
    soundfile.write(path, np.repeat(wave[:, None], n_channels, axis=1), rate_hz, subtype="FLOAT")
    heard = Clip("h", decode(path), clips[3].text)
    intervals, expected = align(heard), align(clips[3])
    check(intervals, heard)
    own, wanted = ([i.start_s for i in found if i.tier == "word"] for found in (intervals, expected))
    assert float(np.median(np.abs(np.subtract(own, wanted)))) <= 0.02


@pytest.mark.parametrize("text", OTHER_TONGUES)
def test_other_tongues_are_aligned_or_said_to_be_unknown(align: Align, clips: list[Clip], text: str) -> None:
    before = list(align(clips[0]))
    reason = answered(align, Clip("o", clips[1].wave, text))
    assert not reason or "dictionary" in reason
    assert list(align(clips[0])) == before


@pytest.mark.parametrize("length_s", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_a_long_clip_is_answered(align: Align, clips: list[Clip], length_s: int) -> None:
    wave = np.zeros(length_s * RATE_HZ, np.float32)
    spoken = np.concatenate([clip.wave for clip in clips if clip.wave is not None])
    wave[: len(spoken)] = spoken
    assert answered(align, Clip("l", wave, " ".join(SENTENCES))) == ""


def test_nothing_appears_on_the_terminal(
    plugin: Any, lake: Path, clips: list[Clip], capfd: pytest.CaptureFixture[str]
) -> None:
    align = loaded(plugin, lake)
    align(clips[0])
    with pytest.raises(Untreatable):
        align(Clip("e", np.zeros(320, np.float32), "hello there"))
    assert capfd.readouterr() == ("", "")
