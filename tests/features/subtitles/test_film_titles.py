from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from features.sandbox.traps.films import remux
from features.subtitles import film_titles
from features.subtitles.cue_fates import Rules
from features.subtitles.film_titles import UNDECODABLE, Fault, Title, cues_of, read_title
from features.subtitles.subtitle_sync import Alignment, align
from features.voice_activity import FRAME_S
from warehouse.errors import UnreadableAudio

RULES = Rules(1.5, 2, 0.0, 30.0)
Read = Callable[..., Title]

_PAUSES_S = (0.4, 1.3, 0.0, 2.1, 0.7, 0.2, 3.4, 0.1, 0.9, 1.7, 0.3, 2.6, 0.5, 0.0, 1.1, 0.6, 1.9, 0.8)
_LENGTHS_S = (1.7, 2.4, 1.5, 3.1, 1.9, 2.2, 1.6, 2.8, 2.0, 1.5, 3.3, 1.8, 2.6, 1.6, 2.1, 1.7, 2.9, 1.5)
_ENDS_S = [sum(_PAUSES_S[: n + 1]) + sum(_LENGTHS_S[: n + 1]) for n in range(18)]
TIMES = [(round(end_s - length_s, 3), round(end_s, 3)) for end_s, length_s in zip(_ENDS_S, _LENGTHS_S, strict=True)]
"""Cues like no others: regular ones fit at many places."""


def srt(times: list[tuple[float, float]], text: str = "Some words, said at once.") -> str:
    def clock(seconds: float) -> str:
        return f"00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d},{round(seconds % 1 * 1000):03d}"

    return "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b) in enumerate(times, 1))


def heard(times: list[tuple[float, float]] = TIMES, duration_s: float = 60.0) -> np.ndarray:
    active = np.zeros(round(duration_s / FRAME_S), bool)
    for start_s, end_s in times:
        active[round(start_s / FRAME_S) : round(end_s / FRAME_S)] = 1
    return active


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Film").mkdir()
    soundfile.write(tmp_path / "Film" / "Film.wav", np.zeros(60 * 1_000, np.int16), 1_000)
    return tmp_path / "Film"


@pytest.fixture
def read(folder: Path) -> Read:
    """Reads the title with subtitles of this name, text and times, against a soundtrack where TIMES are spoken."""

    def read(
        text: str, name: str = "Film.srt", language: str = "", sync: str = "check", voice: np.ndarray | None = None
    ) -> Title:
        (folder / name).write_text(text)
        active = heard() if voice is None else voice
        paths = ["Film/Film.wav", f"Film/{name}"]
        return read_title(folder.parent, paths, RULES, language, sync, 0.15, lambda path: active)  # type: ignore[arg-type]

    return read


def test_subtitles_in_place_keep_their_times(read: Read) -> None:
    near = [(start_s + 0.12, end_s + 0.12) for start_s, end_s in TIMES]
    for sync in ("off", "check", "correct"):
        title = read(srt(near), sync=sync)
        assert title.fault is None and not title.is_moved
        assert [fate.cue.times_s for fate in title.fates] == [pytest.approx(span, abs=0.001) for span in near]
        assert (title.alignment is None) == (sync == "off")


@pytest.mark.parametrize(("offset_s", "ratio"), [(4.0, 1.0), (-2.5, 1.0), (1.0, 25 / 24)])
def test_subtitles_elsewhere_are_refused_or_moved(read: Read, offset_s: float, ratio: float) -> None:
    late = 5.0  # seconds of silence before, so that no time is below 0
    voice = np.pad(heard(), (round(late / FRAME_S), 0))[:6_000]
    spoken = [(start_s + late, end_s + late) for start_s, end_s in TIMES if end_s + late < 60]
    text = srt([((start_s - offset_s) / ratio, (end_s - offset_s) / ratio) for start_s, end_s in spoken])
    refused = read(text, voice=voice)
    assert refused.fault is not None and refused.fault.name == "out_of_sync"
    assert refused.fault.problem.startswith("Film/Film.srt is out of step with the soundtrack: it fits best at ")
    assert refused.fault.problem.endswith("where it is: read with sync = 'correct' to move it")
    moved = read(text, voice=voice, sync="correct")
    assert moved.fault is None and moved.is_moved
    assert moved.alignment is not None and moved.alignment.ratio == ratio
    for fate, span in zip(moved.fates, spoken, strict=True):
        assert fate.cue.times_s == pytest.approx(span, abs=0.06)
    assert [fate.cue.times_s for fate in read(text, voice=voice, sync="off").fates] != spoken


@pytest.mark.parametrize("sync", ["check", "correct"])
def test_subtitles_of_another_film_are_refused(read: Read, sync: str) -> None:
    choose = np.random.default_rng(0)
    title = read(srt(TIMES), voice=choose.random(6_000) < 0.5, sync=sync)
    assert title.fault is not None and title.fault.name == "other_soundtrack"
    assert "it agrees with the speech by -0.01, less" in title.fault.problem
    assert title.fault.problem.endswith("less than 0.15: find others, or read with sync = 'off'")
    silent = read(srt(TIMES), voice=np.zeros(6_000, bool), sync=sync)
    assert silent.fault == Fault(
        "other_soundtrack",
        "Film/Film.srt does not fit the soundtrack: no speech is heard there; read with sync = 'off' if there is",
    )


def test_a_cue_far_behind_the_film_moves_nothing(read: Read) -> None:
    title = read(srt([*TIMES, (3_500.0, 3_502.0)]))
    assert title.fault is None
    assert [fate.flaw for fate in title.fates if fate.problem] == ["outside"]


def test_where_nobody_speaks_nothing_is_measured(read: Read) -> None:
    title = read(srt(TIMES, "[wind]"))
    assert (title.fault, title.alignment) == (None, None)


def test_another_language_is_refused(read: Read) -> None:
    title = read(srt(TIMES, "Осторожно, Эмо!"), name="Film.en.srt")
    assert title.fault == Fault(
        "wrong_language",
        "Film/Film.en.srt should be in 'en', but most of its letters are CYRILLIC: find others, or name it rightly",
    )
    assert read(srt(TIMES, "Осторожно, Эмо!")).fault is None, "without a language what is there is taken"


def test_bilingual_subtitles_are_judged_by_the_lines_that_are_wanted(read: Read) -> None:
    title = read(srt(TIMES, "我们现在要回家了，因为天已经黑了，妈妈在等我们。\nWe go home."), name="Film.en.srt")
    assert title.fault is None
    assert {fate.text for fate in title.fates} == {"We go home."}


def test_a_film_that_breaks_off_is_one_fault(read: Read, folder: Path) -> None:
    def broken(path: str) -> np.ndarray:
        raise UnreadableAudio(folder / path, "it breaks off 3 s before its end")

    (folder / "Film.srt").write_text(srt(TIMES))
    title = read_title(folder.parent, ["Film/Film.wav", "Film/Film.srt"], RULES, "", "check", 0.15, broken)
    problem = "Film/Film.wav cannot be decoded as audio (it breaks off 3 s before its end)"
    assert title.fault is not None and title.fault.name == "unreadable_film"
    assert title.fault.problem.startswith(problem)


def test_the_language_is_asked_stated_by_name_or_in_the_header(read: Read) -> None:
    vtt = "WEBVTT\nLanguage: en\n\n00:01.000 --> 00:03.000\nSome words.\n"
    assert read(vtt, name="Film.vtt", sync="off").language == "en"
    assert read(vtt, name="Film.de.vtt", sync="off").language == "de"
    assert read(vtt, name="Film.vtt", language="en-GB", sync="off").language == "en-GB"
    assert read(srt(TIMES), sync="off").language == ""


def test_what_a_file_begins_with_says_its_format() -> None:
    ass = "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,S,,0,0,0,,A"
    assert cues_of(ass, "a.srt") == cues_of(ass, "a.ass") != []
    vtt = "\ufeffWEBVTT\n\nNOTE\nx\n\n00:01.000 --> 00:02.000\nA"
    assert cues_of(vtt, "a.srt") == cues_of(vtt, "a.vtt") != []
    assert len(cues_of("1\n00:00:01,000 --> 00:00:02,000\nA", "a.vtt")) == 1


@pytest.fixture
def film(folder: Path) -> Path:
    (folder / "Film.wav").unlink()
    write_film(folder / "Film.mkv", np.zeros((20 * CONTAINER_RATE_HZ, 1), np.float32), start_s=0.5)
    return folder / "Film.mkv"


def read_film(film: Path, *subtitles: str, language: str = "") -> Title:
    paths = ["Film/Film.mkv", *(f"Film/{name}" for name in subtitles)]
    return read_title(film.parents[1], paths, RULES, language, "off", 0.15, lambda path: np.zeros(0, bool))


def test_a_stream_of_the_film_is_read_where_no_file_is(film: Path) -> None:
    remux(film, "subrip", [(1_000, 2_000, b"Some words.")])
    title = read_film(film)
    assert (title.source[:8], title.language, title.encoding) == ("stream 2", "en", None)
    assert [(fate.cue.times_s, fate.text) for fate in title.fates] == [((1.0, 3.0), "Some words.")]
    (film.parent / "Film.srt").write_text(srt([(4.0, 6.0)]))
    assert read_film(film, "Film.srt").source == "Film/Film.srt"


def test_a_stream_comes_before_a_forced_file(film: Path) -> None:
    (film.parent / "Film.en.forced.srt").write_text(srt([(4.0, 6.0)]))
    alone = read_film(film, "Film.en.forced.srt")
    assert (alone.source, alone.is_forced) == ("Film/Film.en.forced.srt", True)
    remux(film, "subrip", [(1_000, 2_000, b"Some words.")])
    title = read_film(film, "Film.en.forced.srt")
    assert (title.source[:8], title.is_forced) == ("stream 2", False)


def test_why_no_subtitles_are_read(film: Path) -> None:
    missing = "no subtitles Film.srt or Film.en.srt stand beside Film/Film.mkv"
    assert read_film(film).fault == Fault("no_subtitles", missing)
    bare = film.read_bytes()
    remux(film, "subrip", [(1_000, 2_000, b"Some words.")], language="fre")
    title = read_film(film, language="de")
    assert title.fault == Fault("no_subtitles", f"{missing.replace('.en.', '.de.')}, and its own are in fr")
    film.write_bytes(bare)
    remux(film, "dvd_subtitle", [(1_000, 2_000, bytes(8))])
    title = read_film(film)
    assert title.fault is not None and title.fault.name == "picture_subtitles"
    assert title.fault.problem.startswith(f"{missing}, and its own subtitles are no text (dvd")


def test_files_that_cannot_be_read(film: Path) -> None:
    (film.parent / "Film.srt").write_bytes(bytes(range(128, 256)))
    title = read_film(film, "Film.srt")
    assert title.fault is not None and title.fault.name == "unreadable_subtitles"
    (film.parent / "Film.srt").write_text("plain text\n")
    assert read_film(film, "Film.srt").fault == Fault("empty_subtitles", "Film/Film.srt holds no subtitle")
    film.write_bytes(b"none")
    title = read_film(film, "Film.srt")
    assert title.fault is not None and title.fault.name == "unreadable_film"
    assert title.fault.problem.startswith("Film/Film.mkv cannot be decoded as audio (")


def test_the_real_film_with_a_stream_of_its_own(real: Path, tmp_path: Path) -> None:
    (tmp_path / "Film").mkdir()
    shutil.copy(real / "movie_like" / "sample_MP4_SRT.mp4", tmp_path / "Film" / "Film.mp4")
    title = read_title(tmp_path, ["Film/Film.mp4"], RULES, "", "off", 0.15, lambda path: np.zeros(0, bool))
    assert (title.source, title.language) == ("stream 2 (mov_text)", "")
    first, second = title.fates
    assert (first.cue.times_s, first.text) == ((1.0, 3.0), "Line 1")
    assert second.problem == "cue 1 [3.024, 5.024] s passes the end of the soundtrack at 4.967 s"


def test_a_mistyped_end_is_not_looked_for_in_the_soundtrack(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[float] = []

    def seen(spans_s: list[tuple[float, float]], voice: np.ndarray) -> Alignment:
        looked_at.extend(end_s for _, end_s in spans_s)
        return align(spans_s, voice)

    monkeypatch.setattr(film_titles, "align", seen)
    mistyped = "\n\n99\n00:00:58,000 --> 999:00:59,000\nIts end is mistyped.\n"
    title = read(srt(TIMES) + mistyped)
    assert title.fault is None and [fate.flaw for fate in title.fates if fate.problem] == ["outside"]
    assert max(looked_at) == max(end_s for _, end_s in TIMES)


@pytest.mark.parametrize("sync", ["check", "correct"])
def test_a_few_cues_cannot_be_told_from_any(read: Read, sync: str) -> None:
    title = read(srt(TIMES[:2]), sync=sync)
    assert title.fault is not None and title.fault.name == "other_soundtrack"
    assert title.fault.problem.startswith("Film/Film.srt cannot be told from another film's: at +0.00 s, 1.0000 of its")
    assert ", and 2 such cues may by 0." in title.fault.problem
    assert title.fault.problem.endswith("find others, or read with sync = 'off' if they are this film's")
    assert read(srt(TIMES[:2]), sync="off").fault is None


def test_several_films_and_names_that_are_not_utf8(folder: Path) -> None:
    rest = (folder.parent, RULES, "", "off", 0.15, lambda path: np.zeros(0, bool))
    title = read_title(rest[0], ["Film/Film.wav", "Film/Part two.mkv"], *rest[1:])  # type: ignore[arg-type]
    problem = "Film holds 2 films (Film.wav, Part two.mkv): give each a folder of its own"
    assert title.fault == Fault("several_films", problem)
    assert read_title(rest[0], [], *rest[1:]).fault == Fault("misnamed_file", UNDECODABLE)  # type: ignore[arg-type]


def test_a_part_that_fits_elsewhere_is_a_fault(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Alignment(20.0, 1.0, 0.5, 0.01, 0.1)
    monkeypatch.setattr(film_titles, "part_elsewhere", lambda *_: (30.2, 57.9, there))
    problem = (
        "Film/Film.srt fits the soundtrack at several places: from 30 to 58 s it fits best at +20.00 s, 1.0000 of its "
        "length, by 0.50 against 0.01 where the whole does: find others, or read with sync = 'off'"
    )
    assert read(srt(TIMES)).fault == Fault("changing_shift", problem)
    assert read(srt(TIMES), sync="off").fault is None


def test_utf16_that_was_cut_off_is_a_fault(read: Read, folder: Path) -> None:
    (folder / "Film.srt").write_bytes(srt(TIMES).encode("utf-16")[:-1])
    paths = ["Film/Film.wav", "Film/Film.srt"]
    title = read_title(folder.parent, paths, RULES, "", "off", 0.15, lambda path: np.zeros(0, bool))
    assert title.fault is not None and title.fault.name == "unreadable_subtitles"
    assert title.fault.problem.startswith("the subtitles are UTF-16 with 1 broken letter, the first at byte ")
