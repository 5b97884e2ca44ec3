from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import audio
from features.corpora.films import Films
from features.plugin import normalised_words
from warehouse.errors import MalformedSource, MissingFolder

Make = Callable[..., Path]


@pytest.fixture
def film(tmp_path: Path) -> Make:
    """Makes a folder with one 60 s soundtrack and these subtitles, and returns the root."""

    def make(*cues: tuple[float, float, str], title: str = "Film", name: str = "{}.en.srt", raw: bytes = b"") -> Path:
        folder = tmp_path / title
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{title}.wav", np.zeros(60 * 1_000, np.int16), 1_000)
        (folder / name.format(title)).write_bytes(raw or srt(*cues).encode())
        return tmp_path

    return make


def srt(*cues: tuple[float, float, str]) -> str:
    def clock(seconds: float) -> str:
        return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"

    return "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1))


def test_one_utterance_in_full(film: Make, read_all) -> None:
    root = film((1, 2.5, "<i>MAN:\nWell, I never!</i>"), title="A Night (1962)")
    rows = read_all(Films(), root, "films")
    (row,) = rows.utterances
    assert row["utterance_id"] == "films-A_Night_1962__4aa44f-0000"
    assert (row["start_s"], row["end_s"], row["channel"]) == (1.0, 2.5, "mix")
    assert (row["text"], row["verbatim"]) == ("Well, I never!", "<i>MAN:\nWell, I never!</i>")
    assert (row["dialogue_id"], row["turn"], row["language"]) == ("A_Night_1962__4aa44f-000", 0, "en")
    assert (row["speaker_id"], row["session"], row["split"]) == ("", "", "")
    assert not rows.labels
    assert not rows.failures


def test_the_miniature_films(small_sandbox: dict[str, Path], read_all) -> None:
    root = small_sandbox["films"]
    rows = read_all(Films(), root)
    assert not rows.failures
    assert len({row["unit"] for row in rows.utterances}) >= 3
    for row in rows.utterances:
        assert row["end_s"] - row["start_s"] >= 1.4999
        assert len(normalised_words(row["text"])) >= 2
        wave = audio.decode(root / row["path"], row["start_s"], row["end_s"])
        loud = np.abs(wave) > 0.02
        assert loud.any()
        assert loud.argmax() < 0.6 * audio.RATE_HZ  # the words are where the subtitle says, also in the late film
        assert np.abs(wave[-800:]).max() < 0.02


def test_the_real_pair(real: Path, tmp_path: Path, read_all) -> None:
    (tmp_path / "sonnet").mkdir()
    soundtrack = audio.decode(real / "movie_like" / "p001.mp3")
    soundfile.write(tmp_path / "sonnet" / "sonnet001.flac", soundtrack, audio.RATE_HZ)
    shutil.copy(real / "movie_like" / "sonnet001.srt", tmp_path / "sonnet")
    rows = read_all(Films(), tmp_path)
    assert len(rows.utterances) == 14
    assert not rows.failures
    assert rows.utterances[0]["text"] == "From fairest creatures we desire increase,"
    assert len({row["dialogue_id"] for row in rows.utterances}) == 1


def test_the_real_captions_for_the_deaf(real: Path, tmp_path: Path, read_all) -> None:
    (tmp_path / "nova").mkdir()
    soundfile.write(tmp_path / "nova" / "nova.flac", np.zeros(7_000 * 1_000, np.int16), 1_000)
    shutil.copy(real / "subtitles" / "pbs_nova_sdh_example.srt", tmp_path / "nova" / "nova.en.sdh.srt")
    rows = read_all(Films(), tmp_path)
    assert not rows.failures
    assert 1_300 < len(rows.utterances) < 1_847 - 265  # 265 are shorter than 1.5 s
    assert not any("(" in row["text"] or "MAN:" in row["text"] for row in rows.utterances)
    assert rows.utterances[0]["text"] == "When we think of E equals m c-squared,"


@pytest.mark.parametrize(
    ("cue", "kept"),
    [
        ((1, 2.499, "Long enough words"), False),
        ((1, 2.5, "Long enough words"), True),
        ((1, 3, "Word."), False),
        ((1, 3, "[laughs] Word."), False),
        ((1, 3, "- You?\n- Me."), False),
        ((1, 3, ""), False),
    ],
)
def test_what_is_no_utterance_is_no_failure(film: Make, read_all, cue: tuple[float, float, str], kept: bool) -> None:
    rows = read_all(Films(), film(cue))
    assert len(rows.utterances) == kept
    assert not rows.failures


def test_the_limits_are_fields(film: Make, read_all) -> None:
    root = film((1, 1.5, "Word."))
    assert len(read_all(Films(min_duration_s=0.5, min_words=1), root).utterances) == 1


def test_a_long_pause_starts_a_new_dialogue(film: Make, read_all) -> None:
    cues = [(0, 2), (9.9, 12), (13, 13.5), (21.4, 24), (32.1, 34), (2, 4)]
    rows = read_all(Films(), film(*((a, b, "Some words.") for a, b in cues))).utterances
    assert [(row["start_s"], row["dialogue_id"][-1], row["turn"]) for row in rows] == [
        (0.0, "0", 0), (9.9, "0", 1), (21.4, "0", 2), (32.1, "1", 0), (2.0, "0", 3)
    ]  # fmt: skip
    wide = read_all(Films(scene_gap_s=9), film(*((a, b, "Some words.") for a, b in cues))).utterances
    assert {row["dialogue_id"][-1] for row in wide} == {"0"}


@pytest.mark.parametrize(
    ("cue", "reason"),
    [
        ((58, 60.1, "Past the end"), "cue 1 [58.0, 60.1] s passes the end of the soundtrack at 60.000 s"),
        ((5, 5, "No time"), "cue 1 ends at 5.0 s, not after its start at 5.0 s"),
        ((6, 5, "Less than none"), "cue 1 ends at 5.0 s, not after its start at 6.0 s"),
    ],
)
def test_cues_that_are_no_span_are_failures(film: Make, read_all, cue: tuple[float, float, str], reason: str) -> None:
    root = film((1, 3, "Some words."), cue) if cue[1] < 60 else film((1, 3, "Some words."), (58, 59.99, cue[2]))
    if cue[1] > 60:
        path = root / "Film" / "Film.en.srt"
        path.write_text(path.read_text().replace("00:00:59,990", "00:01:00,100"))
    rows = read_all(Films(), root)
    assert rows.failures == [{"input_id": "", "utterance_id": "c-Film-0001", "step": "corpora.films", "reason": reason}]
    assert len(rows.utterances) == 1


def test_a_cue_without_times_is_a_failure(film: Make, real: Path, read_all) -> None:
    raw = (real / "subtitles" / "webvtt_py_missing_timeframe.srt").read_bytes()
    rows = read_all(Films(), film(raw=raw))
    assert [row["reason"] for row in rows.failures] == ["cue 1 has no line of times"]
    assert len(rows.utterances) == 4


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "Film.en.srt").unlink(), "no subtitles Film.srt or Film.en.srt stand beside"),
        (lambda folder: (folder / "Film.en.srt").write_text("plain text\n"), "Film/Film.en.srt holds no subtitle"),
        (lambda folder: (folder / "Film.en.srt").write_bytes(b"\x81\x8d"), "the subtitles are neither UTF-8"),
        (lambda folder: (folder / "Film.wav").write_bytes(b"none"), "Film/Film.wav cannot be decoded as audio"),
    ],
)
def test_a_film_that_cannot_be_read_is_one_failure(film: Make, read_all, spoil, reason: str) -> None:
    root = film((1, 3, "Some words."))
    film((1, 3, "Some words."), title="Other")
    spoil(root / "Film")
    rows = read_all(Films(), root)
    assert [row["utterance_id"] for row in rows.failures] == ["c-Film"]
    assert rows.failures[0]["reason"].startswith(reason)
    assert [row["unit"] for row in rows.utterances] == ["Other"]


@pytest.mark.parametrize(
    ("names", "language", "chosen", "stated"),
    [
        (["Film.srt"], "", "Film.srt", ""),
        (["Film.eng.sdh.srt", "Film.en.srt", "Film.en.forced.srt"], "", "Film.en.srt", "en"),
        (["Film.eng.sdh.srt"], "en", "Film.eng.sdh.srt", "en"),
        (["Film.de.srt", "Film.en.srt"], "de", "Film.de.srt", "de"),
        (["Film.en.srt", "Film.srt"], "de", "Film.srt", "de"),
        (["Film.en.srt"], "de", None, None),
        (["Other.srt"], "", None, None),
    ],
)
def test_which_subtitles_are_read(
    film: Make, read_all, names: list[str], language: str, chosen: str | None, stated: str | None
) -> None:
    for name in names:
        root = film((1, 3, f"Said in {name.replace('.', ' ')}."), name=name)
    reader = Films(language=language)
    assert reader.units(root)["Film"] == ["Film/Film.wav", *([f"Film/{chosen}"] if chosen else [])]
    assert [row["language"] for row in read_all(reader, root).utterances] == ([stated] if chosen else [])


def test_a_new_film_touches_no_other_unit(film: Make) -> None:
    before = dict(Films().units(film((1, 3, "Some words."))))
    after = Films().units(film((1, 3, "Some words."), title="Second"))
    assert {unit: after[unit] for unit in before} == before
    assert set(after) == {"Film", "Second"}


def test_folders_that_are_no_film_library(film: Make, tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match=r"the film folder is not at .*nowhere"):
        Films().units(tmp_path / "nowhere")
    with pytest.raises(MissingFolder, match=r"any film is not at .*: put each film with its subtitles into a folder"):
        Films().units(tmp_path)
    root = film((1, 3, "Some words."))
    (root / "Film" / "Part two.mkv").write_bytes(b"")
    with pytest.raises(MalformedSource, match=r"it holds 2 films \(Film.wav, Part two.mkv\): give each a folder"):
        Films().units(root)
