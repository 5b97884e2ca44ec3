"""Word and phone times by forced alignment with pocketsphinx and the English model that its wheel carries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from features.plugin import Clip, Interval, Needs, normalised_words
from features.pronunciation import pronounce
from features.syllables import syllables
from warehouse.errors import Untreatable

if TYPE_CHECKING:
    from pocketsphinx import Decoder

FRAMES_PER_S = 100
FRAMES_PER_PHONE = 3
"""One for each state of the model's phones: none is shorter."""

MOST_CELLS = 100_000_000
"""Of the second pass's table, states by frames, which it keeps whole at 8 bytes each: some two minutes of speech."""

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
        Untreatable: an empty transcript; a word without letters or digits; a clip that ends before its phones could
            be said, or is too long to align at once; no path from the first word to the last.
    """

    beam: float = 1e-120

    version: ClassVar[int] = 2
    needs: ClassVar[Needs] = "pair"

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

    pcm = np.rint(np.asarray(clip.wave) * 32_768).clip(-32_768, 32_767).astype("<i2").tobytes()
    no_path = Untreatable(f"no path through {clip.duration_s:.3f} s of sound says all {len(words)} words in order")
    decoder.set_align_text(" ".join(spoken))
    _decode(decoder, pcm)
    if [_base(segment.word) for segment in decoder.seg() or () if _is_word(segment.word)] != spoken:
        raise no_path
    decoder.set_alignment()
    _decode(decoder, pcm)
    found = _alignment(decoder)
    if [_base(word.name) for word, _ in found] != spoken or not all(word.duration > 0 for word, _ in found):
        raise no_path

    words_found, phones_found = [], []
    for symbol, (word, phones) in zip(words, found, strict=True):
        known = _base(word.name) not in guessed
        words_found.append(_interval("word", symbol, word, known))
        phones_found += [_interval("phone", phone.name, phone, known) for phone in phones]
    return words_found + phones_found + syllables(words_found, phones_found)


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
    if n_phones * FRAMES_PER_PHONE * clip.duration_s * FRAMES_PER_S > MOST_CELLS:
        raise Untreatable(
            f"the clip lasts {clip.duration_s:.0f} s and has {n_phones} phones: too much to align at once, "
            "cut it into utterances"
        )


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
