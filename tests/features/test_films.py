from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import audio
from features.corpora.films import Films
from features.ingest import raw_works, write_utterances
from features.plugin import normalised_words
from features.raw import RawDigests
from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from features.sandbox.traps.films import TRAPS, remux
from features.subtitles.spoken_text import plain, spoken_text
from features.subtitles.subrip import parse_srt
from warehouse.errors import MissingFolder
from warehouse.schema import FAILURES, UTTERANCES, make_id
from warehouse.tables import read_table

Make = Callable[..., Path]
UNHEARD = Films(sync="off")
"""Most films here are silent."""


@pytest.fixture
def film(tmp_path: Path) -> Make:
    """Makes a folder with one silent 60 s soundtrack and these subtitles, and returns the root."""

    def make(*cues: tuple[float, float, str], title: str = "Film", name: str = "{}.en.srt", raw: bytes = b"") -> Path:
        folder = tmp_path / title
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{title}.wav", np.zeros(60 * 1_000, np.int16), 1_000)
        (folder / name.format(title)).write_bytes(raw or srt(*cues).encode())
        return tmp_path

    return make


def srt(*cues: tuple[float, float, str]) -> str:
    def clock(seconds: float) -> str:
        return f"00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d},{round(seconds % 1 * 1000):03d}"

    return "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1))


def test_one_utterance_in_full(film: Make, read_all) -> None:
    root = film((1, 2.5, "<i>MAN:\nWell, I never!</i>"), title="A Night (1962)")
    rows = read_all(UNHEARD, root, "films")
    (row,) = rows.utterances
    assert row["utterance_id"] == "films-A_Night_1962__4aa44f-0000"
    assert (row["start_s"], row["end_s"], row["channel"]) == (1.0, 2.5, "mix")
    assert (row["text"], row["verbatim"]) == ("Well, I never!", "<i>MAN:\nWell, I never!</i>")
    assert (row["dialogue_id"], row["turn"], row["language"]) == ("A_Night_1962__4aa44f-000", 0, "en")
    assert (row["speaker_id"], row["session"], row["split"], row["attributes"]) == ("", "", "", {})
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


def test_listening_changes_no_row_of_films_in_place(small_sandbox: dict[str, Path], read_all) -> None:
    root = small_sandbox["films"]
    assert read_all(Films(), root) == read_all(UNHEARD, root) == read_all(Films(sync="correct"), root)


def test_a_film_out_of_place_is_refused_or_moved_to_where_it_was(
    small_sandbox: dict[str, Path], tmp_path: Path, read_all
) -> None:
    root = Path(shutil.copytree(small_sandbox["films"], tmp_path / "films"))
    good = [row for row in read_all(Films(), root).utterances if row["unit"] == "Monday at the Station"]
    TRAPS["out_of_sync"](root)
    rows = read_all(Films(), root)
    (failure,) = rows.failures
    assert failure["utterance_id"] == make_id("c", "Monday at the Station")
    assert "is out of step with the soundtrack: it fits best at -5.0" in failure["reason"]
    assert "Monday at the Station" not in {row["unit"] for row in rows.utterances}
    moved = [row for row in read_all(Films(sync="correct"), root).utterances if row["unit"] == "Monday at the Station"]
    for row, before in zip(moved, good, strict=True):
        assert (row["utterance_id"], row["text"]) == (before["utterance_id"], before["text"])
        assert row["start_s"] == pytest.approx(before["start_s"], abs=0.15)
        assert float(row["attributes"]["offset_s"]) == pytest.approx(-5, abs=0.15)
        assert (row["attributes"]["ratio"], float(row["attributes"]["score"]) > 0.5) == ("1.000000", True)


def test_a_corrected_subtitle_decodes_no_sound_again(
    small_sandbox: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(small_sandbox["films"], tmp_path / "films"))
    unit, paths = next(iter(Films().units(root).items()))

    def ingested(folder: Path) -> list[str]:
        folder.mkdir()
        digests = RawDigests(tmp_path / "lake")
        files = tuple(digests.raw_files(root, paths).values())
        digests.close()
        reading = {"lake": tmp_path / "lake", "reader": Films(), "root": root, "unit": unit, "corpus": "c"}
        write_utterances(folder, files=files, **reading)
        return read_table(folder / "utterances.parquet", UTTERANCES).column("text").to_pylist()

    texts = ingested(tmp_path / "one")
    monkeypatch.setattr(audio, "_open_recording", lambda *_: pytest.fail("it is decoded again"))
    subtitles = root / paths[1]
    subtitles.write_bytes(subtitles.read_bytes().replace(texts[0].split()[0].encode(), b"Nevertheless", 1))
    corrected = ingested(tmp_path / "two")
    assert corrected[0].startswith("Nevertheless") and corrected[1:] == texts[1:]


def test_the_real_pair(real: Path, tmp_path: Path, read_all) -> None:
    """Each cue but the first, which is a '1', is an utterance with its text and times; all in one dialogue."""
    (tmp_path / "sonnet").mkdir()
    shutil.copy(real / "movie_like" / "p001.mp3", tmp_path / "sonnet" / "sonnet001.mp3")
    for name in ("sonnet001.srt", "sonnet001.vtt"):
        shutil.copy(real / "movie_like" / name, tmp_path / "sonnet")
        for sync in ("off", "check", "correct"):
            rows = read_all(Films(sync=sync), tmp_path)
            cues = parse_srt((real / "movie_like" / "sonnet001.srt").read_text())[1:]
            assert [((row["start_s"], row["end_s"]), row["text"]) for row in rows.utterances] == [
                (cue.times_s, cue.text) for cue in cues
            ]
            assert len(rows.utterances) == 14
            assert not rows.failures
            assert {row["dialogue_id"] for row in rows.utterances} == {"sonnet-000"}
        (tmp_path / "sonnet" / name).unlink()


def test_the_real_captions_for_the_deaf(real: Path, tmp_path: Path, read_all) -> None:
    """The counts of this file in the notes on corpora: 1,847 cues, 124 that begin with a speaker's label, 265 shorter
    than 1.5 s, 71 of one word with markup and descriptions counted, 801 that end in mid-sentence, 1,507 that touch the
    next one, 69 that are one bracket and nothing else. One more consists of two brackets, so 70 have no speech.
    """
    path = real / "subtitles" / "pbs_nova_sdh_example.srt"
    cues = parse_srt(path.read_text())
    spans = [cue.times_s for cue in cues if cue.times_s]
    lines = [cue.text.split("\n") for cue in cues]
    assert len(cues) == len(spans) == 1_847
    assert sum(round(end_s - start_s, 3) < 1.5 for start_s, end_s in spans) == 265
    assert sum(one[1] == two[0] for one, two in pairwise(spans)) == 1_507
    assert sum(len(plain(cue.text).split()) == 1 for cue in cues) == 71
    assert sum(line[0].partition(":")[1] == ":" and line[0].partition(":")[0].isupper() for line in lines) == 124
    assert sum(plain(cue.text).rstrip("\"”'’)]")[-1:] not in ".?!…" for cue in cues) == 801
    assert sum(bool(re.fullmatch(r"\([^)]*\)", cue.text)) for cue in cues) == 69
    assert [cue.text for cue in cues if re.fullmatch(r"(\([^)]*\)\s*){2}", cue.text)] == ["( groaning )\n( giggling )"]
    assert sum(spoken_text(cue.text) == "" for cue in cues) == 70

    (tmp_path / "nova").mkdir()
    soundfile.write(tmp_path / "nova" / "nova.flac", np.zeros(7_000 * 1_000, np.int16), 1_000)
    shutil.copy(path, tmp_path / "nova" / "nova.en.sdh.srt")
    found = {count.what: count.found for count in UNHEARD.check(tmp_path).counts}
    reasons = {what[10:]: n for what, n in found.items() if what.startswith("left out, ") and n and "nova" not in what}
    assert reasons == {"advert": 1, "no speech": 70, "two speakers": 1, "short": 192, "few words": 77}
    rows = read_all(UNHEARD, tmp_path)
    assert not rows.failures
    assert len(rows.utterances) == found["utterances"] == 1_847 - sum(reasons.values()) == 1_506
    assert not any("(" in row["text"] or "MAN:" in row["text"] for row in rows.utterances)
    assert rows.utterances[0]["text"] == "When we think of E equals m c-squared,"
    wide = read_all(Films(sync="off", merge_gap_s=0.3), tmp_path)
    assert not wide.failures and len(wide.utterances) < len(rows.utterances)
    assert sum(row["text"].endswith((".", "?", "!")) for row in wide.utterances) > 0.95 * len(wide.utterances)


REAL = {
    "ableplayer_wwa_captions_en.vtt": (14, 0, "en"), "elephantsdream_captions.en.vtt": (56, 0, "en"),
    "elephantsdream_captions.ru.vtt": (52, 0, "ru"), "gb2312.srt": (2, 0, ""),
    "pbs_nova_sdh_example.srt": (1_506, 0, ""), "webvtt_py_invalid_timeframe.srt": (5, 0, ""),
    "webvtt_py_missing_caption_text.srt": (4, 0, ""), "webvtt_py_missing_timeframe.srt": (4, 1, ""),
    "webvtt_py_styles.vtt": (1, 0, ""), "webvtt_py_youtube_dl.vtt": (0, 0, "en"),
}  # fmt: skip
"""File -> utterances, failures, language stated by its name or header."""


def test_every_real_subtitle_file(real: Path, tmp_path: Path, read_all) -> None:
    assert {path.name for path in (real / "subtitles").iterdir()} == set(REAL)
    for name, (n_utterances, n_failures, language) in REAL.items():
        root = tmp_path / name
        (root / "Film").mkdir(parents=True)
        soundfile.write(root / "Film" / f"{name.partition('.')[0]}.flac", np.zeros(7_000 * 1_000, np.int16), 1_000)
        shutil.copy(real / "subtitles" / name, root / "Film")
        rows = read_all(UNHEARD, root)
        assert (len(rows.utterances), len(rows.failures)) == (n_utterances, n_failures), name
        assert {row["language"] for row in rows.utterances} <= {language}, name


def test_real_films_with_and_without_a_stream_of_text(real: Path, tmp_path: Path, read_all) -> None:
    for path in sorted((real / "movie_like").glob("*.mp4")) + sorted((real / "movie_like").glob("*.mkv")):
        (tmp_path / path.stem).mkdir()
        shutil.copy(path, tmp_path / path.stem)
    rows = read_all(UNHEARD, tmp_path)
    assert [(row["unit"], row["text"], row["start_s"], row["end_s"]) for row in rows.utterances] == [
        ("sample_MP4_SRT", "Line 1", 1.0, 3.0)
    ]
    assert Counter(row["reason"].partition(" ")[0] for row in rows.failures) == {"no": 2, "cue": 1}


@pytest.mark.parametrize("language", ["en", "de"])
def test_russian_captions_are_refused_where_another_language_is_wanted(
    real: Path, tmp_path: Path, read_all, language: str
) -> None:
    (tmp_path / "Film").mkdir()
    soundfile.write(tmp_path / "Film" / "Film.flac", np.zeros(700 * 1_000, np.int16), 1_000)
    shutil.copy(real / "subtitles" / "elephantsdream_captions.ru.vtt", tmp_path / "Film" / "Film.vtt")
    (failure,) = read_all(Films(sync="off", language=language), tmp_path).failures
    assert f"should be in '{language}', but most of its letters are CYRILLIC: find others" in failure["reason"]
    assert len(read_all(Films(sync="off", language="ru"), tmp_path).utterances) == 52


def test_a_voice_tag_is_the_speaker(film: Make, read_all) -> None:
    raw = b"WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann Lee>Some words.\n\n00:04.000 --> 00:06.000\nNo name.\n"
    rows = read_all(UNHEARD, film(raw=raw, name="{}.vtt"))
    assert [row["speaker_id"] for row in rows.utterances] == [make_id("Film", "ann lee"), ""]


def test_what_is_no_utterance_is_no_failure(film: Make, read_all) -> None:
    root = film((1, 3, "Word."), (4, 6, "- You?\n- Me."), (7, 7, "Hidden"), (8, 10, "[door]"), (11, 13, ""))
    rows = read_all(UNHEARD, root)
    assert (rows.utterances, rows.failures) == ([], [])


def test_the_limits_are_fields(film: Make, read_all) -> None:
    root = film((1, 1.5, "Word."))
    assert len(read_all(Films(min_duration_s=0.5, min_words=1, sync="off"), root).utterances) == 1


def test_merged_cues_tell_what_they_consist_of(film: Make, read_all) -> None:
    root = film((1, 2, "This is"), (2.1, 3, "one sentence."), (3, 5, "This is another."))
    first, second = read_all(Films(merge_gap_s=0.3, sync="off"), root).utterances
    assert (first["text"], first["verbatim"]) == ("This is one sentence.", "This is\none sentence.")
    assert (first["start_s"], first["end_s"], first["turn"]) == (1.0, 3.0, 0)
    assert first["attributes"] == {"cues": "0000 0001"}
    assert (second["utterance_id"], second["turn"], second["attributes"]) == ("c-Film-0002", 1, {})


def test_a_long_pause_starts_a_new_dialogue(film: Make, read_all) -> None:
    cues = [(0, 2), (9.9, 12), (13, 13.5), (21.4, 24), (32.1, 34), (2, 4)]
    rows = read_all(UNHEARD, film(*((a, b, "Some words.") for a, b in cues))).utterances
    assert [(row["start_s"], row["dialogue_id"][-1], row["turn"]) for row in rows] == [
        (0.0, "0", 0), (9.9, "0", 2), (21.4, "0", 3), (32.1, "1", 0), (2.0, "0", 1)
    ]  # fmt: skip
    wide = read_all(Films(scene_gap_s=9, sync="off"), film(*((a, b, "Some words.") for a, b in cues))).utterances
    assert {row["dialogue_id"][-1] for row in wide} == {"0"}


@pytest.mark.parametrize(
    "other", [(0, 90, "Its end is mistyped."), (0, 59, "{\\pos(1,1)}A sign."), (0, 59, "Subtitles by nobody")]
)
def test_what_is_no_part_of_the_film_holds_no_dialogue_together(
    film: Make, read_all, other: tuple[float, float, str]
) -> None:
    rows = read_all(UNHEARD, film(other, (1, 3, "Some words."), (30, 33, "Some words."))).utterances
    assert [row["dialogue_id"] for row in rows] == ["Film-000", "Film-001"]


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ("00:00:58,000 --> 00:01:00,100", "cue 1 [58.0, 60.1] s passes the end of the soundtrack at 60.000 s"),
        ("00:00:06,000 --> 00:00:05,000", "cue 1 ends at 5.0 s, not after its start at 6.0 s"),
        ("00:00:06,000 -->", "cue 1 has no end"),
        ("00:00:06.x --> 00:00:07,000", "cue 1 has times that cannot be read ('00:00:06.x --> 00:00:07,000')"),
    ],
)
def test_malformed_cues_are_failures(film: Make, read_all, times: str, reason: str) -> None:
    raw = f"1\n00:00:01,000 --> 00:00:03,000\nSome words.\n\n2\n{times}\nOther words.\n".encode()
    rows = read_all(UNHEARD, film(raw=raw))
    assert rows.failures == [{"input_id": "", "utterance_id": "c-Film-0001", "step": "corpora.films", "reason": reason}]
    assert len(rows.utterances) == 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "Film.en.srt").unlink(), "no subtitles Film.srt or Film.en.srt stand beside"),
        (lambda folder: (folder / "Film.en.srt").write_text("plain text\n"), "Film/Film.en.srt holds no subtitle"),
        (lambda folder: (folder / "Film.en.srt").write_bytes(bytes(range(128, 256))), "the subtitles are neither"),
        (lambda folder: (folder / "Film.wav").write_bytes(b"none"), "Film/Film.wav cannot be decoded as audio"),
    ],
)
def test_a_film_that_cannot_be_read_is_one_failure(film: Make, read_all, spoil, reason: str) -> None:
    root = film((1, 3, "Some words."))
    film((1, 3, "Some words."), title="Other")
    spoil(root / "Film")
    rows = read_all(UNHEARD, root)
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
    reader = Films(language=language, sync="off")
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
    with pytest.raises(MissingFolder, match=r"a film in a folder of its own is not at .*: put each with its"):
        Films().units(tmp_path)


def test_a_folder_with_two_films_costs_no_other(film: Make, read_all) -> None:
    root = film((1, 3, "Some words."))
    film((1, 3, "Some words."), title="Other")
    (root / "Film" / "Part two.mkv").write_bytes(b"")
    rows = read_all(UNHEARD, root)
    (failure,) = rows.failures
    assert failure["utterance_id"] == "c-Film"
    assert failure["reason"] == "Film holds 2 films (Film.wav, Part two.mkv): give each a folder of its own"
    assert [row["unit"] for row in rows.utterances] == ["Other"]
    assert UNHEARD.units(root)["Film"] == ["Film/Film.wav", "Film/Part two.mkv"]


@pytest.mark.parametrize("odd", ["Film.srt", "Film.wav", "Film"])
def test_a_name_that_is_not_utf8_costs_no_other(film: Make, tmp_path: Path, read_all, odd: str) -> None:
    root = tmp_path / "films"
    for title in ("Film", "Other"):
        (root / title).parent.mkdir(exist_ok=True)
        (film((1, 3, "Some words."), name="{}.srt", title=title) / title).rename(root / title)
    path = root / odd if odd == "Film" else root / "Film" / odd
    stem = b"Film.fran\xe7ais" if odd == "Film.srt" else b"Caf\xe9"
    path.rename(path.with_name(os.fsdecode(stem) + path.suffix))
    rows = read_all(UNHEARD, root)
    (failure,) = rows.failures
    assert failure["utterance_id"] == make_id("c", "Caf\\udce9" if odd == "Film" else "Film")
    assert failure["reason"] == "its name, or that of its film or its subtitles, is not UTF-8: rename it"
    assert [row["unit"] for row in rows.utterances] == ["Other"]
    findings = UNHEARD.check(root)
    (anomaly,) = (anomaly for anomaly in findings.anomalies if anomaly.name != "unpaired_subtitles")
    assert (anomaly.name, anomaly.problem) == ("misnamed_file", "its name is not UTF-8: rename it")
    assert "\\udce" in anomaly.where
    assert {count.what: count.found for count in findings.counts}["titles refused"] == 1
    json.dumps(findings.as_json(), ensure_ascii=False).encode()


def test_a_title_whose_name_is_not_utf8_takes_the_place_of_no_other(film: Make, tmp_path: Path, read_all) -> None:
    root = tmp_path / "films"
    root.mkdir()
    for title, name in (("Film", b"Caf\\udce9"), ("Other", b"Caf\xe9")):
        (film((1, 3, "Some words."), title=title) / title).rename(root / os.fsdecode(name))
    rows = read_all(UNHEARD, root)
    assert [row["unit"] for row in rows.utterances] == ["Caf\\udce9"]
    assert [row["utterance_id"] for row in rows.failures] == [make_id("c", "Caf\\udce9 (2)")]
    counts = {count.what: count.found for count in UNHEARD.check(root).counts}
    assert (counts["cues, Caf\\udce9"], counts["titles refused, Caf\\udce9 (2)"]) == (1, 1)


def test_a_film_whose_own_title_is_not_utf8_is_read(film: Make, read_all) -> None:
    root = film((1, 3, "Some words."))
    (root / "Film" / "Film.wav").unlink()
    path = root / "Film" / "Film.mkv"
    write_film(path, np.zeros((5 * CONTAINER_RATE_HZ, 1), np.float32))
    remux(path, "subrip", [(1_000, 2_000, b"Said inside.")], language="eng")
    path.write_bytes(path.read_bytes().replace(b"eng", b"\xe9ng"))
    assert [row["text"] for row in read_all(UNHEARD, root).utterances] == ["Some words."]


def test_a_title_of_which_no_file_can_be_recorded_is_a_failure_in_the_lake(film: Make, tmp_path: Path) -> None:
    root = film((1, 3, "Some words."))
    (root / "Film" / "Film.wav").rename(root / "Film" / os.fsdecode(b"Caf\xe9.wav"))
    digests = RawDigests(tmp_path / "lake")
    (work,) = raw_works(digests, "c", UNHEARD, root).values()
    digests.close()
    assert work.arguments["files"] == ()
    reading = {"lake": tmp_path / "lake", "reader": UNHEARD, "root": root, "unit": "Film", "corpus": "c", "files": ()}
    write_utterances(tmp_path, **reading)
    assert read_table(tmp_path / "utterances.parquet", UTTERANCES).num_rows == 0
    assert read_table(tmp_path / "failures.parquet", FAILURES).column("utterance_id").to_pylist() == ["c-Film"]
