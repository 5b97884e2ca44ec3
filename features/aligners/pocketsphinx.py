"""Word and phone times by forced alignment with pocketsphinx and the English model that its wheel carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from features.plugin import RATE_HZ, Clip, Interval, Needs, heard, normalised_words
from features.pronunciation import pronounce
from features.syllables import syllables
from warehouse.errors import InvalidField, Untreatable

if TYPE_CHECKING:
    from pocketsphinx import Decoder

FRAMES_PER_S = 100
FRAMES_PER_PHONE = 3
"""One for each state of the model's phones: none is shorter."""

MOST_CELLS = 100_000_000
"""Of the second pass's table, states by frames, which it keeps whole at 8 bytes each: some two minutes of speech."""

LONGEST_S = 600.0
"""Longer sound is refused: at 900 s pocketsphinx was seen to kill its process, and the first pass takes ever longer."""

CUT_S = 0.1
"""The shortest silence at which long sound is cut."""

BYTES_PER_FRAME = 2 * RATE_HZ // FRAMES_PER_S

SCORE_UNIT = 1024 * math.log(1.0001)
"""Nats of one step of the decoder's integer scores: its logarithms have base 1.0001 and lose their last ten bits."""


@dataclass(frozen=True)
class PocketSphinx:
    """Words, phones and syllables of an English clip.

    Two passes over the same sound: the first finds the words, the silences between them and the pronunciation that
    fits best; the second, held to those words, finds their phones. Silences and noises are gaps between intervals.
    Words are those of `normalised_words`, phones those of the model (ARPAbet without stress), syllables those of
    `features.syllables`.

    A word that the dictionary lacks is said as `features.pronunciation` guesses. Its score, and those of its phones,
    is None. Other scores are log likelihoods per frame, in nats, relative to the best model that the search had
    active at that frame: comparable within an utterance, no probability that the transcript is right.

    What is too much for the second pass at once is cut at the widest silence that the first one found in its middle
    half, and both parts are aligned anew, each by itself: 300 s of sandbox speech (885 words) took 25 s of one core and
    0.8 GB.

    A clip's answer does not depend on the clips before it: the estimate of background noise that pocketsphinx carries
    from one utterance to the next is forgotten before each pass.

    What it is worth (`benchmarks/alignment.py`): against the synthesiser's own times, 144 sandbox clips of 16 voices
    in 9 moods, the begin or end of a word is off by 13 ms in the median, 50 ms at the 90th percentile, and 7 ms early
    on average; the begin of a phone by 13 and 47 ms, 17 ms early. Human speech with hand-made times was not at hand:
    against one MFA alignment of 3 words, 4 and 20 ms for words, 10 and 40 ms for phones. It refused 42 of 143 wrong
    transcripts, so an aligned transcript is not thereby a true one. Both passes together run at some 35 times real
    time on one core; the decoder holds Python's lock, so only processes run side by side.

    Args:
        beam: paths this much less likely than the best are given up. The decoder's own 1e-48 lost 2 true sandbox
            sentences of 320 (15 of 45 at other paces and pitches), 1e-120 none. The price: of 80 wrong transcripts
            1e-48 refused 62, 1e-120 refuses 24. The speed is about the same.

    Raises:
        InvalidField: a beam that is no share.
        Untreatable: an empty transcript; a word without letters or digits; a clip that ends before its phones could
            be said, is longer than ten minutes, holds what is no number, or is long and has no silence to cut it at; no
            path from the first word to the last.
    """

    beam: float = 1e-120

    version: ClassVar[int] = 3
    needs: ClassVar[Needs] = "pair"

    def __post_init__(self) -> None:
        if not 0 < self.beam < 1:
            raise InvalidField("aligner 'pocketsphinx'", "beam", f"is {self.beam:g}, but must be above 0 and below 1")

    def load(self, device: str) -> Callable[[Clip], list[Interval]]:
        from pocketsphinx import Decoder

        beams = {"beam": self.beam, "pbeam": self.beam, "wbeam": self.beam}
        decoder = Decoder(lm=None, bestpath=False, loglevel="FATAL", **beams)
        guessed: set[str] = set()
        return lambda clip: _align(decoder, guessed, clip)


class _Entry(NamedTuple):
    """What is read off one word or phone of an alignment while the decoder still holds it."""

    name: str
    start: int
    duration: int
    score: int


def _align(decoder: Decoder, guessed: set[str], clip: Clip) -> list[Interval]:
    words = normalised_words(clip.text)
    if not words:
        raise Untreatable("the transcript is empty")
    spoken = [word.lower() for word in words]
    for name in spoken:
        if decoder.lookup_word(name) is None:
            decoder.add_word(name, pronounce(name, decoder.lookup_word), update=False)
            guessed.add(name)
    _check_size(decoder, clip, spoken)

    pcm = np.rint(heard(clip) * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()
    no_path = Untreatable(f"no path through {clip.duration_s:.3f} s of sound says all {len(words)} words in order")
    found = _two_passes(decoder, pcm, spoken)
    if not found:
        raise no_path

    words_found, phones_found = [], []
    for symbol, (word, phones) in zip(words, found, strict=True):
        known = _base(word.name) not in guessed
        words_found.append(_interval("word", symbol, word, known))
        phones_found += [_interval("phone", phone.name, phone, known) for phone in phones]
    return words_found + phones_found + syllables(words_found, phones_found)


def _two_passes(decoder: Decoder, pcm: bytes, spoken: Sequence[str]) -> list[tuple[_Entry, list[_Entry]]]:
    """Words with their phones; none where there is no path."""
    decoder.set_align_text(" ".join(spoken))
    _decode(decoder, pcm)
    said = [(one.word, one.start_frame, one.end_frame + 1) for one in decoder.seg() or () if _is_word(one.word)]
    if [_base(word) for word, _, _ in said] != list(spoken):
        return []
    n_frames = len(pcm) // BYTES_PER_FRAME
    n_phones = sum(_least_phones(decoder, word) for word in spoken)
    if n_phones * FRAMES_PER_PHONE * n_frames > MOST_CELLS:
        n_before, cut = _widest_silence([(begin, end) for _, begin, end in said], n_frames, n_phones)
        before = _two_passes(decoder, pcm[: cut * BYTES_PER_FRAME], spoken[:n_before])
        after = _two_passes(decoder, pcm[cut * BYTES_PER_FRAME :], spoken[n_before:])
        return [*before, *_later(after, cut)] if before and after else []
    decoder.set_alignment()
    _decode(decoder, pcm)
    found = _alignment(decoder)
    aligned = [_base(word.name) for word, _ in found] == list(spoken) and all(word.duration > 0 for word, _ in found)
    return found if aligned else []


def _widest_silence(said: Sequence[tuple[int, int]], n_frames: int, n_phones: int) -> tuple[int, int]:
    """How many words lie before the widest silence of the middle half, and the frame of its middle."""
    silences = [
        (after - before, n, (before + after) // 2)
        for n, ((_, before), (after, _)) in enumerate(pairwise(said), start=1)
        if n_frames / 4 <= (before + after) / 2 <= 3 * n_frames / 4
    ]
    width, n_before, cut = max(silences, key=lambda silence: silence[0], default=(0, 0, 0))
    if width < CUT_S * FRAMES_PER_S:
        raise Untreatable(
            f"{n_frames / FRAMES_PER_S:.0f} s of the clip have {n_phones} phones: too much to align at once, and no "
            f"silence of {CUT_S} s to cut them at: cut the clip into utterances"
        )
    return n_before, cut


def _later(found: Sequence[tuple[_Entry, list[_Entry]]], n_frames: int) -> list[tuple[_Entry, list[_Entry]]]:
    """The same so many frames later."""
    return [
        (word._replace(start=word.start + n_frames), [one._replace(start=one.start + n_frames) for one in phones])
        for word, phones in found
    ]


def _decode(decoder: Decoder, pcm: bytes) -> None:
    decoder.reinit_feat()  # or the noise estimate of the last utterance goes on: other scores, sometimes other times
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _alignment(decoder: Decoder) -> list[tuple[_Entry, list[_Entry]]]:
    """Words with their phones. Each is copied while the iteration stands on it: kept longer, it is freed memory."""
    alignment = decoder.get_alignment()
    if alignment is None:
        return []
    found = []
    for word in alignment:
        if _is_word(word.name):
            phones = [_Entry(phone.name, phone.start, phone.duration, phone.score) for phone in word]
            found.append((_Entry(word.name, word.start, word.duration, word.score), phones))
    return found


def _interval(tier: Literal["word", "phone"], symbol: str, entry: _Entry, known: bool) -> Interval:
    score = entry.score * SCORE_UNIT / entry.duration if known else None
    return Interval(tier, symbol, entry.start / FRAMES_PER_S, (entry.start + entry.duration) / FRAMES_PER_S, score)


def _check_size(decoder: Decoder, clip: Clip, spoken: Sequence[str]) -> None:
    n_phones = sum(_least_phones(decoder, word) for word in spoken)
    least_s = n_phones * FRAMES_PER_PHONE / FRAMES_PER_S
    if clip.duration_s < least_s:
        words = "word takes" if len(spoken) == 1 else "words take"
        raise Untreatable(
            f"the clip lasts {clip.duration_s:.3f} s, but its {len(spoken)} {words} {least_s:.3f} s at least "
            f"({n_phones} phones of {FRAMES_PER_PHONE} frames)"
        )
    if clip.duration_s > LONGEST_S:
        raise Untreatable(f"the clip lasts {clip.duration_s:.0f} s, more than {LONGEST_S:.0f}: cut it into utterances")


def _least_phones(decoder: Decoder, word: str) -> int:
    """Phones of the shortest pronunciation; the dictionary has variants as 'word(2)', 'word(3)' and so on."""
    counts, variant = [], word
    while (phones := decoder.lookup_word(variant)) is not None:
        counts.append(len(phones.split()))
        variant = f"{word}({len(counts) + 1})"
    return min(counts)


def _is_word(name: str) -> bool:
    return name[0] not in "<["


def _base(name: str) -> str:
    """Without the number of the pronunciation: 'was' for 'was(2)'."""
    return name.partition("(")[0]
