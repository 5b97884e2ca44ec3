"""What can be wrong with a folder of films, planted in a copy of its sandbox tree."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from features import audio
from features.plugin import RATE_HZ
from features.sandbox.films import plan
from features.sandbox.media import CONTAINER_RATE_HZ, write_film, write_wav

Cues = list[list[str]]
"""Each cue as its lines: index, times, text."""

MINUTE = "00:59:00,000 --> 00:59:02,000"
"""Times far behind the end of a sandbox film."""


def expected(seed: int = 0, scale: float = 1.0) -> Mapping[str, int]:
    """The counts of the sandbox tree, as its check names them."""
    films = plan(seed, scale)
    shown = [line.shown for film in films for line in film.lines]
    return {
        "titles": len(films),
        "titles refused": 0,
        "cues": len(shown),
        "failures": 0,
        "left out, two speakers": sum(text.startswith("- ") for text in shown),
        "left out, advert": 0,
        "left out, overlap": 0,
    }


def remux(film: Path, kind: str, packets: Sequence[tuple[int, int, bytes]], language: str = "eng") -> None:
    """Puts a stream of subtitles into a film; sound and picture stay as they are.

    Args:
        kind: format of the stream, by FFmpeg's name.
        packets: start and duration in milliseconds, and content.
    """
    import av

    written = film.with_name(f"new{film.suffix}")
    with av.open(str(film)) as source, av.open(str(written), "w", options={"fflags": "+bitexact"}) as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        subtitles = target.add_mux_stream(kind)
        subtitles.time_base = Fraction(1, 1_000)
        subtitles.metadata["language"] = language
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
        for start_ms, duration_ms, content in packets:
            packet = av.Packet(content)
            packet.stream, packet.time_base = subtitles, Fraction(1, 1_000)
            packet.pts = packet.dts = start_ms
            packet.duration = duration_ms
            target.mux(packet)
    written.replace(film)


def _subtitles(root: Path, title: int = 0) -> Path:
    return sorted(root.glob("*/*.srt"))[title]


def _film(root: Path) -> Path:
    return min(root.glob("*/*.mkv"))


def _text(root: Path, title: int = 0) -> str:
    return _subtitles(root, title).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def _cues(root: Path, title: int = 0) -> Cues:
    return [block.split("\n") for block in _text(root, title).strip().split("\n\n")]


def _changed(change: Callable[[Cues], object], title: int = 0) -> Callable[[Path], None]:
    """Plants other cues in one title, the first where it does not matter which."""

    def plant(root: Path) -> None:
        cues = _cues(root, title)
        change(cues)
        _subtitles(root, title).write_text("\n\n".join("\n".join(lines) for lines in cues) + "\n", encoding="utf-8")

    return plant


def _appended(times: str, text: str) -> Callable[[Path], None]:
    return _changed(lambda cues: cues.append([str(len(cues) + 1), times, text]))


def _line(number: int, line: int, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Plants another line in one cue: 0 is its index, 1 its times, 2 its text."""
    return _changed(lambda cues: cues[number].__setitem__(line, change(cues[number][line])))


def _milliseconds(clock: str) -> int:
    hours, minutes, seconds, thousandths = map(int, re.split("[:,]", clock))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000 + thousandths


def _clock(milliseconds: int) -> str:
    seconds, thousandths = divmod(milliseconds, 1_000)
    return f"{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{thousandths:03d}"


def _later(cues: Cues) -> None:
    """Every cue five seconds late."""
    for lines in cues:
        start, end = lines[1].split(" --> ")
        lines[1] = f"{_clock(_milliseconds(start) + 5_000)} --> {_clock(_milliseconds(end) + 5_000)}"


def _rolling(cues: Cues) -> None:
    """The first cues stay on as the first line of the one after."""
    for lines, following in list(pairwise(cues))[:3][::-1]:
        following.insert(2, lines[-1])
        lines[1] = f"{lines[1].split(' --> ')[0]} --> {following[1].split(' --> ')[0]}"


def _overlap(cues: Cues) -> None:
    cues.append([str(len(cues) + 1), cues[2][1], "Somebody else speaks at that moment."])


def _loose_file(root: Path) -> None:
    shutil.copy(_subtitles(root), root / "A film.srt")


def _no_film(root: Path) -> None:
    (root / "A folder").mkdir()


def _several_films(root: Path) -> None:
    shutil.copy(_film(root), _film(root).with_name("Part two.mkv"))


def _unpaired_subtitles(root: Path) -> None:
    shutil.copy(_subtitles(root), _subtitles(root).with_name("English.srt"))


def _unreadable_film(root: Path) -> None:
    _film(root).write_bytes(_film(root).read_bytes()[:100])


def _no_subtitles(root: Path) -> None:
    _subtitles(root).unlink()


def _picture_subtitles(root: Path) -> None:
    _subtitles(root).unlink()
    remux(_film(root), "dvd_subtitle", [(1_000, 2_000, bytes(8))])


def _forced_subtitles(root: Path) -> None:
    path = _subtitles(root)
    path.rename(path.with_suffix(".forced.srt"))


def _packets(root: Path) -> list[tuple[int, int, bytes]]:
    packets = []
    for _, times, *text in _cues(root):
        start_ms, end_ms = map(_milliseconds, times.split(" --> "))
        packets.append((start_ms, end_ms - start_ms, "\n".join(text).encode()))
    return packets


def _embedded_subtitles(root: Path) -> None:
    packets = _packets(root)
    _subtitles(root).unlink()
    remux(_film(root), "subrip", packets)


def _broken_text(root: Path) -> None:
    """A letter of an old code page in a stream, which should be UTF-8."""
    packets = _packets(root)
    start_ms, duration_ms, text = packets[2]
    packets[2] = start_ms, duration_ms, text + " Voilà!".encode("cp1252")
    _subtitles(root).unlink()
    remux(_film(root), "subrip", packets)


def _misnamed_file(root: Path) -> None:
    """A name written under an old code page."""
    path = _subtitles(root)
    path.rename(path.with_name(os.fsdecode(f"{path.stem}.français.srt".encode("cp1252"))))


def _unreadable_subtitles(root: Path) -> None:
    _subtitles(root).write_bytes(bytes(range(128, 256)))


def _guessed_encoding(root: Path) -> None:
    _subtitles(root).write_bytes(_text(root).encode("utf-16-le"))


def _empty_subtitles(root: Path) -> None:
    _subtitles(root).write_text("Not here.\n")


def _wrong_language(root: Path) -> None:
    path = _subtitles(root)
    path.rename(path.with_name(path.name.replace(".en.", ".de.")))


def _other_soundtrack(root: Path) -> None:
    write_film(_film(root), np.zeros((60 * CONTAINER_RATE_HZ, 1), np.float32))


def _changing_shift(root: Path) -> None:
    """One more title, long enough to have parts: what is said in the others, in any order. Of its 120 cues the last 50
    come five seconds late."""
    choose, spoken = random.Random(0), []
    for number, film in enumerate(sorted(root.glob("*/*.mkv"))):
        for _, times, *text in _cues(root, number):
            start_s, end_s = (_milliseconds(clock) / 1_000 for clock in times.split(" --> "))
            if text[0][0] not in "[(♪":
                spoken.append((audio.decode(film, start_s, end_s), text))
    waves, blocks, at = [], [], 0
    for number in range(120):
        wave, text = choose.choice(spoken)
        pause = np.zeros(round(choose.uniform(0.2, 3) * RATE_HZ), np.float32)
        waves += [pause, wave]
        start, at = at + len(pause), at + len(pause) + len(wave)
        late_s = 5 if number >= 70 else 0
        clocks = (_clock(round((place / RATE_HZ + late_s) * 1_000)) for place in (start, at))
        blocks.append("\n".join([str(number + 1), " --> ".join(clocks), *text]))
    write_wav(root / "Two reels" / "Two reels.wav", np.concatenate([*waves, np.zeros(10 * RATE_HZ)]), RATE_HZ)
    (root / "Two reels" / "Two reels.en.srt").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "loose_file": _loose_file,
    "no_film": _no_film,
    "several_films": _several_films,
    "misnamed_file": _misnamed_file,
    "unpaired_subtitles": _unpaired_subtitles,
    "unreadable_film": _unreadable_film,
    "no_subtitles": _no_subtitles,
    "picture_subtitles": _picture_subtitles,
    "forced_subtitles": _forced_subtitles,
    "embedded_subtitles": _embedded_subtitles,
    "unreadable_subtitles": _unreadable_subtitles,
    "guessed_encoding": _guessed_encoding,
    "empty_subtitles": _empty_subtitles,
    "wrong_language": _wrong_language,
    "other_soundtrack": _other_soundtrack,
    "out_of_sync": _changed(_later, 1),  # the first has too few cues to be found elsewhere
    "changing_shift": _changing_shift,
    "missing_times": _changed(lambda cues: cues[2].pop(1)),
    "missing_end": _line(2, 1, lambda times: times.split("-->")[0] + "-->"),
    "malformed_times": _line(2, 1, lambda times: times.replace("00:00:", "00:OO:")),
    "broken_text": _broken_text,
    "reversed_times": _line(2, 1, lambda times: " --> ".join(times.split(" --> ")[::-1])),
    "outside": _appended(MINUTE, "This is said when it is over."),
    "missing_text": _line(2, 2, lambda text: ""),
    "hidden_cue": _appended("00:00:04,000 --> 00:00:04,000", "Nobody can see this."),
    "overlap": _changed(_overlap),
    "advert": _appended(MINUTE, "Subtitles by nobody at all"),
    "placed_text": _line(2, 2, lambda text: f"{{\\pos(190,230)}}{text}"),
    "bilingual": _line(2, 2, lambda text: f"我们回家吧。\n{text}"),
    "rolling": _changed(_rolling),
    "scanner_letters": _line(2, 2, lambda text: f"{text} l think."),
    "odd_index": _line(2, 0, lambda index: "0"),
    "short_times": _line(2, 1, lambda times: times.replace("00:00:", "0:00:")),
    "entities": _line(2, 2, lambda text: f"{text} &amp; more."),
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree."""
