from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import audio
from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from features.sandbox.traps.films import remux
from features.subtitles.cues import Cue
from features.subtitles.subtitle_streams import Embedded, SubtitleStream, embedded
from warehouse.errors import UnreadableAudio


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mkv"
    write_film(path, np.zeros((4 * CONTAINER_RATE_HZ, 1), np.float32), start_s=0.5)
    return path


def test_subrip_in_matroska(film: Path) -> None:
    remux(film, "subrip", [(1_000, 500, b"<i>A</i>\r\nB"), (2_000, 1_000, "é".encode())], language="ger")
    (stream,) = embedded(film).texts
    assert (stream.index, stream.language, stream.is_forced) == (2, "de", False)
    assert stream.cues == (Cue(0, (1.0, 1.5), "<i>A</i>\nB"), Cue(1, (2.0, 3.0), "é"))
    assert stream.name == f"stream 2 ({stream.kind})"


def test_ass_in_matroska(film: Path) -> None:
    remux(film, "ass", [(1_000, 500, b"0,0,Default,Ann,0,0,0,,{\\i1}A,\\Nb"), (2_000, 500, b"no event")])
    (stream,) = embedded(film).texts
    assert stream.cues == (Cue(0, (1.0, 1.5), "{\\i1}A,\nb", "Ann"), Cue(1, (2.0, 2.5), "no event"))


def test_a_voice_tag_names_the_speaker(film: Path) -> None:
    remux(film, "webvtt", [(1_000, 500, b"<v Ann>A")])
    assert embedded(film).texts[0].cues == (Cue(0, (1.0, 1.5), "<v Ann>A", "Ann"),)


def test_a_cue_without_duration_has_no_end(film: Path) -> None:
    remux(film, "subrip", [(1_000, 0, b"A"), (2_000, 500, b"B")])
    assert embedded(film).texts[0].cues == (Cue(0, None, "A", problem="has no end"), Cue(1, (2.0, 2.5), "B"))


def test_pictures_are_only_named(film: Path) -> None:
    remux(film, "dvd_subtitle", [(1_000, 500, bytes(8))])
    assert embedded(film).texts == ()
    assert [name[:3] for name in embedded(film).pictures] == ["dvd"]


def test_sound_alone_holds_nothing(tmp_path: Path, film: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8_000)
    assert embedded(tmp_path / "a.wav") == embedded(film) == Embedded()


def test_a_container_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"none")
    with pytest.raises(UnreadableAudio, match=r"a.mkv cannot be decoded as audio \("):
        embedded(tmp_path / "a.mkv")
    with pytest.raises(UnreadableAudio, match=r"b.mkv cannot be decoded as audio \(No such file"):
        embedded(tmp_path / "b.mkv")


def test_times_are_those_of_the_sound(real: Path) -> None:
    path = real / "movie_like" / "sample_MP4_SRT.mp4"
    (stream,) = embedded(path).texts
    assert (stream.name, stream.language) == ("stream 2 (mov_text)", "")
    assert stream.cues == (Cue(0, (1.0, 3.0), "Line 1"), Cue(1, (3.024, 5.024), "Line 2"))
    assert audio.probe(path).duration_s == pytest.approx(4.967, abs=0.001)
    assert embedded(real / "movie_like" / "sample_MKV_delayed.mkv") == Embedded()


def stream(index: int, language: str, n_cues: int, is_forced: bool = False) -> SubtitleStream:
    cues = tuple(Cue(n, (n, n + 1.0), "A") for n in range(n_cues))
    return SubtitleStream(index, "subrip", language, is_forced, cues)


@pytest.mark.parametrize(
    ("streams", "language", "chosen"),
    [
        ([stream(0, "en", 3), stream(1, "en", 5), stream(2, "de", 9)], "en", 1),
        ([stream(0, "en", 3), stream(1, "de", 5)], "", 1),
        ([stream(0, "en", 9, is_forced=True), stream(1, "en", 5)], "en", 1),
        ([stream(0, "en", 9, is_forced=True)], "en", 0),
        ([stream(0, "", 9), stream(1, "en", 5)], "en", 1),
        ([stream(0, "", 9), stream(1, "de", 5)], "en", 0),
        ([stream(0, "pt", 9)], "pt-BR", 0),
        ([stream(0, "en", 5), stream(1, "en", 5)], "en", 0),
        ([stream(0, "en", 0), stream(1, "de", 5)], "en", None),
        ([], "", None),
    ],
)
def test_which_stream_is_read(streams: list[SubtitleStream], language: str, chosen: int | None) -> None:
    found = Embedded(tuple(streams)).chosen(language)
    assert (found.index if found else None) == chosen


def test_letters_that_cannot_be_decoded_are_told_with_their_cue(film: Path) -> None:
    remux(film, "subrip", [(1_000, 500, "Voilà".encode("cp1252")), (2_000, 500, b"B")])
    broken = Cue(0, None, "Voil\ufffd", problem="has letters that cannot be decoded")
    assert embedded(film).texts[0].cues == (broken, Cue(1, (2.0, 2.5), "B"))


def test_tags_of_a_container_need_not_be_utf8(film: Path) -> None:
    remux(film, "subrip", [(1_000, 500, b"A")], language="eng")
    film.write_bytes(film.read_bytes().replace(b"eng", b"\xe9ng"))
    assert [stream.language for stream in embedded(film).texts] == [""]
    assert audio.probe(film).duration_s > 4
    assert len(audio.open_recording(film).wave) > 4 * audio.RATE_HZ
