from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.check import Findings
from features.corpora import films
from features.corpora.films import Films
from features.releases.films_check import ANOMALIES, KNOWN
from features.sandbox.films import FOLDER
from features.sandbox.traps.films import TRAPS, expected
from features.subtitles.cue_fates import LEFT_OUT
from features.voice_activity import kept_in, voice_of_file
from warehouse.errors import MissingFolder
from warehouse.hashing import file_digest

EXPECTED = expected(seed=0, scale=0.1)


@pytest.fixture(scope="module", autouse=True)
def heard_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hardly a trap touches a soundtrack: the same bytes are decoded once for all tests."""
    with pytest.MonkeyPatch.context() as patch, kept_in(tmp_path_factory.mktemp("heard")):
        patch.setattr(films, "voice_of_file", lambda path, _: voice_of_file(path, file_digest(path)))
        yield


@pytest.fixture
def tree(small_sandbox: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_sandbox["films"], tmp_path / FOLDER))


def test_a_clean_tree_has_nothing(small_sandbox: dict[str, Path]) -> None:
    findings = Films().check(small_sandbox["films"], EXPECTED)
    assert findings.is_clean
    assert findings.anomalies == []
    assert Films().published == {}


PROBLEMS = {
    "loose_file": "it lies in no folder of a title, and is not read",
    "no_film": "no film lies in it (a .mkv, .mp4, .wav, …)",
    "several_films": "A Letter for Julia holds 2 films (A Letter for Julia.mkv, Part two.mkv): give each a folder",
    "misnamed_file": "its name is not UTF-8: rename it",
    "unpaired_subtitles": "its name does not begin with that of the film, 'A Letter for Julia', and it is not read",
    "unreadable_film": "A Letter for Julia/A Letter for Julia.mkv cannot be decoded as audio (",
    "no_subtitles": "no subtitles A Letter for Julia.srt or A Letter for Julia.en.srt stand beside A Letter for Julia/",
    "picture_subtitles": ", and its own subtitles are no text (dvd",
    "forced_subtitles": "no other subtitles are there",
    "embedded_subtitles": "they are stream 2 (",
    "unreadable_subtitles": "the subtitles are neither UTF-8, UTF-16 nor in a code page that can be told: save them",
    "guessed_encoding": "it was decoded by utf-16-le",
    "empty_subtitles": "A Letter for Julia/A Letter for Julia.en.srt holds no subtitle",
    "wrong_language": "A Letter for Julia.de.srt should be in 'de', but its words are of 'en': find others, or name it",
    "other_soundtrack": "does not fit the soundtrack: no speech is heard there; read with sync = 'off' if there is",
    "out_of_sync": "is out of step with the soundtrack: it fits best at -5.0",
    "changing_shift": "fits the soundtrack at several places: from ",
    "missing_times": "1 cue (first: 2): cue 2 has no line of times",
    "missing_end": "1 cue (first: 2): cue 2 has no end",
    "malformed_times": "1 cue (first: 2): cue 2 has times that cannot be read ('00:OO:",
    "broken_text": "1 cue (first: 2): cue 2 has letters that cannot be decoded",
    "reversed_times": " s, not after its start at ",
    "outside": "1 cue (first: 8): cue 8 [3540.0, 3542.0] s passes the end of the soundtrack at ",
    "missing_text": "1 cue (first: 2): a cue has no text",
    "hidden_cue": "1 cue (first: 8): a cue ends when it starts",
    "overlap": "2 cues (first: 2): cues of speech overlap",
    "advert": "1 cue (first: 8): a cue is no part of the film",
    "placed_text": "1 cue (first: 2): a cue is put at a place in the picture: a sign, not speech",
    "bilingual": "1 cue (first: 2): cues have lines in a script that the language is not written in",
    "rolling": "3 of 8 cues begin with the line before",
    "scanner_letters": "1 cue (first: 2): a scanner read l for I",
    "odd_index": "1 of 8 cues: indices are missing or do not rise",
    "short_times": "1 of 8 cues: times are not written in full",
    "entities": "1 cue (first: 2): letters are written as entities",
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_planted_trap_is_found_and_nothing_else(name: str, tree: Path) -> None:
    TRAPS[name](tree)
    findings = Films().check(tree, EXPECTED)
    inside = "embedded_subtitles" if name == "broken_text" else ""  # it can only be broken inside of a film
    (anomaly,) = (anomaly for anomaly in findings.anomalies if anomaly.name != inside)
    assert anomaly.name == name
    assert PROBLEMS[name] in anomaly.problem
    assert anomaly.known == (name in KNOWN)
    assert str(tree) not in repr(findings)
    assert repr(findings).encode()
    assert counts_of(findings)["titles"] == (4 if name == "changing_shift" else 3)


def test_every_anomaly_has_its_trap() -> None:
    assert TRAPS.keys() == ANOMALIES.keys() == PROBLEMS.keys() == Films.anomalies.keys()
    assert ANOMALIES.keys() >= KNOWN


def counts_of(findings: Findings) -> dict[str, int]:
    return {count.what: count.found for count in findings.counts}


def test_the_counts_add_up(tree: Path) -> None:
    for name in ("advert", "overlap", "outside", "missing_text"):
        TRAPS[name](tree)
    found = counts_of(Films().check(tree))
    left_out = sum(found[f"left out, {reason}"] for reason in LEFT_OUT)
    assert found["cues"] == found["utterances"] + found["failures"] + left_out == 27
    assert (found["titles"], found["titles refused"], found["failures"]) == (3, 0, 1)
    assert found["left out, advert, A Letter for Julia"] == found["left out, advert"] == 1
    assert found["cues, A Letter for Julia"] == 11 and found["cues, The Blue Box"] == 8
    assert found["ratio, millionths, The Blue Box"] == 1_000_000
    assert abs(found["offset, ms, The Blue Box"]) < 300 < found["score, thousandths, The Blue Box"]
    assert found["minutes of film"] >= 1


def test_a_refused_title_gives_no_utterance_and_is_measured_all_the_same(
    tree: Path, small_sandbox: dict[str, Path]
) -> None:
    TRAPS["out_of_sync"](tree)
    found = counts_of(Films().check(tree))
    assert found["titles refused"] == found["titles refused, Monday at the Station"] == 1
    assert "utterances, Monday at the Station" not in found
    assert found["offset, ms, Monday at the Station"] == pytest.approx(-5_000, abs=150)
    corrected = Films(sync="correct").check(tree)
    (anomaly,) = corrected.anomalies
    assert (anomaly.name, anomaly.known) == ("out_of_sync", True)
    assert anomaly.problem.startswith("moved by -5.0")
    clean = counts_of(Films().check(small_sandbox["films"]))["utterances, Monday at the Station"]
    assert counts_of(corrected)["utterances, Monday at the Station"] == clean > 0


def test_what_was_counted_differs_where_something_is_missing(tree: Path) -> None:
    TRAPS["no_subtitles"](tree)
    odd = {count.what: count.difference for count in Films().check(tree, EXPECTED).counts if count.difference}
    assert odd == {"titles refused": 1, "cues": -8}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFolder, match=r"the film folder is not at .*nowhere: make it, with one folder per title"):
        Films().check(tmp_path / "nowhere")


def cues_of(text: bytes) -> list[list[bytes]]:
    return [cue.split(b"\n") for cue in text.replace(b"\r\n", b"\n").removeprefix(b"\xef\xbb\xbf").split(b"\n\n")]


def without_index(text: bytes) -> bytes:
    return b"\n\n".join(b"\n".join(lines[1:]) for lines in cues_of(text) if len(lines) > 1)


def with_text(change: bytes) -> Callable[[bytes], bytes]:
    """Puts this before the text of the third cue."""

    def changed(text: bytes) -> bytes:
        cues = cues_of(text)
        cues[2][2] = change + cues[2][2]
        return b"\n\n".join(b"\n".join(lines) for lines in cues)

    return changed


def unicode_of(text: bytes) -> str:
    return text.decode("utf-8-sig")


PITFALLS: dict[str, tuple[Callable[[bytes], bytes], set[str]]] = {
    "cp1252": (lambda text: with_text("Voilà, d’accord. ".encode())(text).decode().encode("cp1252"), set()),
    "UTF-8 with a mark": (lambda text: unicode_of(text).encode("utf-8-sig"), set()),
    "UTF-8 without a mark": (lambda text: unicode_of(text).encode(), set()),
    "UTF-16 with a mark": (lambda text: unicode_of(text).encode("utf-16"), set()),
    "UTF-16 big-endian": (lambda text: unicode_of(text).encode("utf-16-be"), {"guessed_encoding"}),
    "half a letter of UTF-16": (lambda text: unicode_of(text).encode("utf-16")[:-1], {"unreadable_subtitles"}),
    "no index": (without_index, {"odd_index"}),
    "tenths of a second": (lambda text: re.sub(rb"(,\d)\d\d -->", rb"\1 -->", text, count=1), {"short_times"}),
    "whole seconds": (lambda text: re.sub(rb",\d{3} -->", rb" -->", text, count=1), {"short_times"}),
    "tags": (with_text(b"{\\an8}<b><font color=red>Well,</font></b> "), set()),
    "two speakers": (lambda text: text.replace(cues_of(text)[2][2], b"- A man.\r\n- A woman."), set()),
    "SDH": (with_text(b"MAN:\n( clock ticking ) "), set()),
    "no subtitle file": (lambda text: b"<html>Not found</html>", {"empty_subtitles"}),
    "nothing": (lambda text: b"", {"empty_subtitles"}),
}
"""Pitfalls that are no anomaly by themselves, or another form of one: change of the bytes, and what it is called."""


@pytest.mark.parametrize("pitfall", PITFALLS)
def test_other_forms_of_the_pitfalls(pitfall: str, tree: Path) -> None:
    change, names = PITFALLS[pitfall]
    path = min(tree.glob("*/*.srt"))
    path.write_bytes(change(path.read_bytes()))
    findings = Films().check(tree)
    assert {anomaly.name for anomaly in findings.anomalies} == names
    found = counts_of(findings)
    assert found["titles refused"] == len(names & {"unreadable_subtitles", "empty_subtitles"})
    if pitfall == "two speakers":
        assert found["left out, two speakers"] == 1
    if not found["titles refused"]:
        assert (found["cues"], found["failures"]) == (24, 0)
