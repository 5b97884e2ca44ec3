"""espeak-ng through ctypes: text to sound, with the times of its words and phones.

The library keeps state from one utterance to the next, so each is spoken by a freshly loaded one: the same words
in the same voice are the same samples whatever was said before. It is not thread-safe: one thread at a time.
"""

from __future__ import annotations

import _ctypes
import ctypes
import itertools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.ctrl_c import ctrl_c_waits

RATE_HZ = 22_050
"""What espeak-ng's formant synthesiser speaks at."""

_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_END, _WORD, _PHONEME = 0, 1, 7
_SPEED, _PITCH, _RANGE = 1, 3, 4

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """How a speaker speaks.

    Args:
        name: an espeak-ng voice with its variant, 'en-us+m3'. Variants with a `breath` line are not repeatable:
            their noise comes from memory that nothing has set.
        rate_wpm: words per minute.
        pitch: 0 to 99, where 50 is the variant's own.
        pitch_range: 0 to 99.
    """

    name: str
    rate_wpm: int
    pitch: int
    pitch_range: int


@dataclass(frozen=True)
class Speech:
    """What was spoken: int16 [n_samples] at RATE_HZ, and (symbol, start_s, end_s) of its words and phones.

    Phones are espeak-ng's mnemonics without stress marks; pauses are left out.
    """

    wave: np.ndarray
    words: tuple[tuple[str, float, float], ...]
    phones: tuple[tuple[str, float, float], ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(text: str, voice: Voice) -> Speech:
    """Speaks a sentence.

    Raises:
        ValueError: there is no such voice.
    """
    import espeakng_loader

    parts: list[np.ndarray] = []
    events: list[tuple[int, int, float, str]] = []  # type, text position, seconds, phone

    def collect(wave: Any, n_samples: int, event: Any) -> int:
        if n_samples > 0:
            parts.append(np.ctypeslib.as_array(wave, (n_samples,)).copy())
        position = 0
        while (one := event[position]).type != _END:
            symbol = one.id.string.decode("ascii") if one.type == _PHONEME else ""
            events.append((one.type, one.text_position, one.sample / RATE_HZ, symbol))
            position += 1
        return 0

    with _ONE_AT_A_TIME, ctrl_c_waits():
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            callback = _CALLBACK(collect)
            library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _PHONEME_EVENTS)
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice '{voice.name}'")
            for parameter, value in ((_SPEED, voice.rate_wpm), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
                library.espeak_SetParameter(parameter, value, 0)
            raw = text.encode()
            library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None)
            library.espeak_Synchronize()
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)
    return _timed(text, np.concatenate(parts), events)


def _timed(text: str, wave: np.ndarray, events: list[tuple[int, int, float, str]]) -> Speech:
    """Words and phones with their times; a word ends with its last phone."""
    starts: list[tuple[str, float, int]] = []  # word, start, its place in the text
    phones: list[tuple[str, float, float]] = []
    marks = [(symbol, start_s) for kind, _, start_s, symbol in events if kind == _PHONEME]
    marks.append(("_", len(wave) / RATE_HZ))
    for (symbol, start_s), (_, end_s) in itertools.pairwise(marks):
        plain = symbol.lstrip("',%=|")
        if not plain or plain.startswith("_"):
            continue
        if end_s == start_s and phones and phones[-1][2] == start_s:  # melted into the phone before: half of it
            name, begin_s, _ = phones.pop()
            start_s = (begin_s + end_s) / 2
            phones.append((name, begin_s, start_s))
        phones.append((plain, start_s, end_s))
    found = {position: start_s for kind, position, start_s, _ in reversed(events) if kind == _WORD}
    place = 1
    for word in text.split():
        end = place + len(word)
        at = next((found[position] for position in range(place, end) if position in found), None)
        if at is not None:
            starts.append((word, at, place))
        elif starts:  # spoken as one with the word before
            starts[-1] = (f"{starts[-1][0]} {word}", *starts[-1][1:])
        place = end + 1
    words: list[tuple[str, float, float]] = []
    limits = [start_s for _, start_s, _ in starts[1:]] + [len(wave) / RATE_HZ]
    for (word, start_s, _), limit_s in zip(starts, limits, strict=True):
        own = [phone for phone in phones if start_s - 1e-9 <= phone[1] < limit_s - 1e-9]
        words += _shared(word.split(), start_s, own[-1][2] if own else limit_s)
    return Speech(wave, tuple(words), tuple(phones))


def _shared(names: list[str], start_s: float, end_s: float) -> list[tuple[str, float, float]]:
    """Words that were spoken as one, each given time by its letters."""
    n_letters = sum(map(len, names))
    spans, done = [], 0
    for name in names:
        span = [start_s + (end_s - start_s) * n / n_letters for n in (done, done + len(name))]
        spans.append((name, span[0], span[1]))
        done += len(name)
    return spans
