from __future__ import annotations

import csv
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features import sandbox
from features.sandbox import alignment, espeak, films, iemocap, meld, sentences, voices
from warehouse.errors import NotASandbox
from warehouse.hashing import file_digest

WRITE = "import sys; from pathlib import Path; from features import sandbox; sandbox.write(Path(sys.argv[1]), scale={})"


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): file_digest(path) for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_in_another_process(small_sandbox: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "again"
    subprocess.run([sys.executable, "-c", WRITE.format(0.1), str(root)], check=True)
    assert contents(root) == contents(small_sandbox["iemocap"].parent)


def test_another_seed_gives_other_sound() -> None:
    plans = [(iemocap.plan(seed, 1), meld.plan(seed, 1), films.plan(seed, 1)) for seed in (0, 1)]
    assert all(first != second for first, second in zip(*plans, strict=True))


def test_what_is_written_is_found_at_once(small_sandbox: dict[str, Path]) -> None:
    root = small_sandbox["iemocap"].parent
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    started = time.perf_counter()
    assert sandbox.write(root, seed=0, scale=0.1) == small_sandbox
    assert time.perf_counter() - started < 0.2
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_another_sandbox_or_other_files_are_left_alone(small_sandbox: dict[str, Path], tmp_path: Path) -> None:
    root = small_sandbox["iemocap"].parent
    with pytest.raises(NotASandbox, match=r"is not empty and holds no sandbox of seed 1 and scale 0.1: name another"):
        sandbox.write(root, seed=1, scale=0.1)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(NotASandbox, match=r"holds no sandbox of seed 0 and scale 1"):
        sandbox.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_error_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(films, "write", full)
    monkeypatch.setattr(meld, "write", full)
    monkeypatch.setattr(iemocap, "write", lambda root, *_: root.mkdir())
    with pytest.raises(OSError, match=r"No space left"):
        sandbox.write(tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_counts(
    small_sandbox: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "raw"
    process = subprocess.Popen([sys.executable, "-c", WRITE.format(1.0), str(root)])
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".raw.writing-*/*/Session1/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(sandbox, "_write", lambda scratch, *_: (scratch / "tree").mkdir())
    sandbox.write(root)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_lost_race_returns_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(scratch: Path, *_: object) -> None:
        monkeypatch.setattr(sandbox, "_write", lambda scratch, *_: (scratch / "winner").mkdir())
        monkeypatch.setattr(sandbox, "_scratch", lambda root: other)
        sandbox.write(tmp_path / "raw")
        (scratch / "loser").mkdir()

    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(sandbox, "_write", slow)
    sandbox.write(tmp_path / "raw")
    assert (tmp_path / "raw" / "winner").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_progress_counts_every_utterance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iemocap, "write", lambda _, plan, __, spoke: [spoke() for one in plan for _ in one.turns])
    monkeypatch.setattr(meld, "write", lambda _, plan, __, spoke: [spoke() for _ in plan])
    monkeypatch.setattr(films, "write", lambda _, plan, __, spoke: [spoke() for film in plan for _ in film.lines])
    told: list[tuple[int, int]] = []
    sandbox.write(tmp_path / "raw", progress=lambda done, n_all: told.append((done, n_all)))
    assert told == [(n, 770) for n in range(1, 771)]


def test_sizes_at_full_scale() -> None:
    turns = [turn for dialogue in iemocap.plan(0, 1) for turn in dialogue.turns]
    assert Counter(turn.label for turn in turns) == {
        "neu": 60, "sad": 50, "ang": 50, "hap": 30, "exc": 30, "fru": 10, "xxx": 10
    }  # fmt: skip
    assert Counter(clip.split for clip in meld.plan(0, 1)) == {"train": 150, "dev": 40, "test": 40}
    assert [len(film.lines) for film in films.plan(0, 1)] == [75, 75, 75, 75]


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.3])
def test_small_scales_keep_speakers_and_classes(scale: float) -> None:
    dialogues = iemocap.plan(0, scale)
    for number in range(1, 6):
        own = [turn for dialogue in dialogues if dialogue.session == number for turn in dialogue.turns]
        for letter in "FM":
            labels = {turn.label.replace("exc", "hap") for turn in own if turn.name[-4] == letter}
            assert {"ang", "hap", "neu", "sad"} <= labels
    assert len(films.plan(0, scale)) == 3


def test_every_word_is_in_the_pronouncing_dictionary() -> None:
    from pocketsphinx import get_model_path

    lines = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines()
    known = {line.split()[0] for line in lines if line}
    assert sentences.words() - known == set()


def test_some_sentences_tell_and_some_do_not() -> None:
    turns = [turn for dialogue in iemocap.plan(0, 1) for turn in dialogue.turns if turn.label != "xxx"]
    patterns = [re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(text))) for text in sentences.PLAIN]
    plain = Counter(turn.label for turn in turns if any(pattern.fullmatch(turn.text) for pattern in patterns))
    for label, n in Counter(turn.label for turn in turns).items():
        assert 0.2 < plain[label] / n < 0.9
    assert len({turn.text for turn in turns}) > 0.8 * len(turns)


def test_speech_does_not_depend_on_what_was_said_before() -> None:
    voice = espeak.Voice("en-us+m3", 170, 50, 50)
    first = espeak.speak("She sells it by the river.", voice)
    espeak.speak("Something else, entirely!", espeak.Voice("en-us+f1", 220, 80, 90))
    again = espeak.speak("She sells it by the river.", voice)
    np.testing.assert_array_equal(first.wave, again.wave)
    assert (first.words, first.phones) == (again.words, again.phones)
    assert [word for word, _, _ in first.words] == ["She", "sells", "it", "by", "the", "river."]
    assert [phone for phone, _, _ in first.phones][:5] == ["S", "i:", "s", "E", "l"]


def test_an_unknown_voice() -> None:
    with pytest.raises(ValueError, match=r"espeak-ng has no voice 'xx-none'"):
        espeak.speak("No.", espeak.Voice("xx-none", 170, 50, 50))


def test_ctrl_c_while_c_calls_us_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised inside the function that espeak-ng calls, KeyboardInterrupt would be printed and forgotten."""
    real = np.ctypeslib.as_array

    def pressed(*arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(np.ctypeslib, "as_array", pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        espeak.speak("She sells it by the river.", espeak.Voice("en-us+m3", 170, 50, 50))
    assert signal.getsignal(signal.SIGINT) is before


def test_no_voice_has_noise_of_its_own() -> None:
    """espeak-ng's `breath` reads memory that nothing has set: such voices differ from run to run."""
    import espeakng_loader

    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    for speaker in voices.WOMEN + voices.MEN:
        lines = (folder / speaker.variant).read_text().split("\n")
        assert not any(line.startswith(("breath", "klatt")) for line in lines)


def test_every_phone_has_a_name() -> None:
    said = [text.format(**{name: fillers[0] for name, fillers in sentences.SLOTS.items()})
            for texts in (sentences.PLAIN, *sentences.TELLING.values()) for text in texts]  # fmt: skip
    said += [f"{filler}." for fillers in sentences.SLOTS.values() for filler in fillers]
    said += list(films.ODD["short"])
    voice = espeak.Voice("en-us+m1", 200, 50, 50)
    found = {phone for text in said for phone, _, _ in espeak.speak(text, voice).phones}
    assert found - alignment.ARPABET.keys() <= {alignment.GLIDE}


def test_an_emotion_is_heard() -> None:
    def measured(emotion: str, seed: int) -> tuple[float, float]:
        take = voices.say("They moved the piano to the office.", voices.MEN[0], emotion, 1.0, random.Random(seed))
        return float(np.sqrt(np.mean(take.wave**2))), take.phones[-1][2] - take.phones[0][1]

    mean = {
        emotion: np.mean([measured(emotion, seed) for seed in range(5)], axis=0)
        for emotion in ("angry", "neutral", "sad")
    }
    assert mean["angry"][0] > 1.5 * mean["neutral"][0] > 1.5**2 * mean["sad"][0]
    assert mean["angry"][1] < mean["neutral"][1] < mean["sad"][1]


def test_sentences_are_cut_from_the_dialogue(small_sandbox: dict[str, Path]) -> None:
    session = small_sandbox["iemocap"] / "Session3"
    both, rate_hz = soundfile.read(session / "dialog" / "wav" / "Ses03M_impro05a.wav")
    assert (rate_hz, both.shape[1]) == (16_000, 2)
    lines = (session / "dialog" / "transcriptions" / "Ses03M_impro05a.txt").read_text().splitlines()
    found = [match for line in lines if (match := re.match(r"(\S+)_([FM]\d+) \[([\d.]+)-([\d.]+)\]", line))]
    assert found
    for match in found:
        path = session / "sentences" / "wav" / "Ses03M_impro05a" / f"Ses03M_impro05a_{match[2]}.wav"
        assert soundfile.info(path).subtype == "PCM_16"
        wave, rate_hz = soundfile.read(path)
        assert (rate_hz, wave.ndim) == (16_000, 1)
        start, end = round(float(match[3]) * rate_hz), round(float(match[4]) * rate_hz)
        cut = both[start:end, "FM".index(match[2][0])]
        assert len(cut) == len(wave)
        assert np.corrcoef(cut, wave)[0, 1] > 0.99


def test_forced_alignment_covers_each_sentence(small_sandbox: dict[str, Path]) -> None:
    root = small_sandbox["iemocap"]
    texts = {}
    for path in root.glob("Session*/dialog/transcriptions/*.txt"):
        for line in path.read_text().splitlines():
            if line.startswith("Ses"):
                texts[line.split()[0]] = re.sub(r"\[[A-Z]+\]", "", line.split("]:", 1)[1])
    paths = sorted(root.glob("Session*/sentences/ForcedAlignment/*/*.wdseg"))
    assert {path.stem for path in paths} == set(texts)
    for path in paths:
        wav = path.parents[2] / "wav" / path.parent.name / f"{path.stem}.wav"
        for kind, columns in (("wdseg", 4), ("phseg", 4), ("syseg", 3)):
            header, *lines = path.with_suffix(f".{kind}").read_text().splitlines()
            assert header.split()[:2] == ["SFrm", "EFrm"]
            rows = [line.split(maxsplit=columns - 1) for line in lines if "Total score" not in line]
            spans = [(int(row[0]), int(row[1]) + 1) for row in rows]
            assert all(start < end for start, end in spans)
            if kind != "syseg":
                assert spans[0][0] == 0
                assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
                assert spans[-1][1] * 0.01 == pytest.approx(soundfile.info(wav).duration, abs=0.05)
            if kind == "wdseg":
                words = [row[3] for row in rows if row[3] not in ("<s>", "</s>", "<sil>")]
                assert words == [word.strip(".,!?").upper() for word in texts[path.stem].split()]
            if kind == "phseg":
                assert {row[3].split()[0] for row in rows} <= {"SIL"} | {
                    phone for phones in alignment.ARPABET.values() for phone in phones.split()
                }


def test_single_rater_files_agree_with_the_blocks(small_sandbox: dict[str, Path]) -> None:
    folder = small_sandbox["iemocap"] / "Session2" / "dialog" / "EmoEvaluation"
    for path in folder.glob("[!.]*.txt"):
        text = path.read_text()
        judged = re.findall(r"\t(Ses\S+)\t", text)
        for rater in ("e2", "e3", "e4"):
            lines = (folder / "Categorical" / f"{path.stem}_{rater}_cat.txt").read_text().splitlines()
            assert [line.split()[0] for line in lines] == judged
            external = re.findall(rf"C-{rater.upper()}:\t([^\t]*)\t", text)
            said = [re.findall(r":([^;]+);", line) for line in lines]
            assert said == [[name.strip() for name in line.split(";") if name.strip()] for line in external]
        assert (folder / "Attribute" / f"{path.stem}_e3_atr.txt").is_file()


def test_both_generations_and_both_clocks_of_meld(small_sandbox: dict[str, Path]) -> None:
    raw = {path.name: path.read_bytes() for path in small_sandbox["meld"].glob("*.csv")}
    assert b"\r\n" in raw["train_sent_emo.csv"]
    assert b"\r\n" not in raw["test_sent_emo.csv"]
    rows = list(csv.DictReader(raw["train_sent_emo.csv"].decode().splitlines()))
    assert {len(row["StartTime"]) for row in rows} == {11, 12}


def test_signs_of_the_older_generation() -> None:
    table = meld._table([["1", "don’t"]], older=True)
    assert "don\x92t" in table.decode("utf-8")


def test_what_a_process_that_lives_is_writing_stays(tmp_path: Path) -> None:
    ours = sandbox._scratch(tmp_path / "raw")
    other = sandbox._scratch(tmp_path / "raw")
    assert other != ours and ours.is_dir()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        left = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        left.mkdir()
        sandbox._scratch(tmp_path / "raw")
        assert ours.is_dir() and not left.exists()


def test_holes_of_an_alignment_are_filled() -> None:
    spans = alignment.words_in_frames([("so", 0.1, 0.2), ("it", 0.21, 0.21), ("is.", 0.4, 0.5)], 60)
    assert spans == [
        ("<s>", 0, 10), ("SO", 10, 21), ("IT", 21, 22), ("<sil>", 22, 40), ("IS", 40, 50), ("</s>", 50, 60)
    ]  # fmt: skip
    phones = [("SIL", 0, 3), ("AE", 3, 5), ("N", 5, 8), ("AH", 8, 9), ("SIL", 9, 11)]
    assert alignment.syseg(phones).splitlines()[1:] == ["\t    3     4 AE", "\t    5     8 N_AH"]
