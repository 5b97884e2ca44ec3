from __future__ import annotations

import os
import signal
import subprocess
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import opensmile
import pytest

from features import opensmile_engine
from features.opensmile_engine import Engine, Trial, as_one_array, completed, configuration, levels, only, tried
from features.plugin import RATE_HZ
from tests.features.own_configuration import write_configuration
from warehouse.errors import MalformedSource

SHIPPED = Path(opensmile.__file__).parent / "core" / "config"
EGEMAPS = SHIPPED / "egemaps" / "v02" / "eGeMAPSv02.conf"
COMPARE = SHIPPED / "compare" / "ComParE_2016.conf"


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_configuration(tmp_path)


# -- configurations ------------------------------------------------------------------------------------------


def test_an_included_file_stands_where_it_was_included(own: Path) -> None:
    part = (own.parent / "energy.conf.inc").read_text()
    assert configuration(own) == own.read_text().replace("\\{energy.conf.inc}", part)


def test_what_the_package_gives_by_option_is_left_until_it_is_completed(own: Path) -> None:
    text = configuration(own)
    assert text.count("\\{") == 3
    assert "\\{" not in completed(text)
    assert "instance[extsource].type=cExternalAudioSource" in completed(text)
    assert "frameMode = full" in completed(text)


def test_an_option_stands_for_the_file_that_its_first_use_names(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "ring.inc").write_text("nT = 5")
    (tmp_path / "own.conf").write_text("\\{\\cm[ring{below/ring.inc}:a file]}\n\\{\\cm[ring]}\n  \\{below/ring.inc}\n")
    assert configuration(tmp_path / "own.conf") == "nT = 5\nnT = 5\nnT = 5\n"


def test_no_byte_is_lost(tmp_path: Path) -> None:
    content = bytes(range(256)) + b"\r\n; \xff\r\n"
    (tmp_path / "own.conf").write_bytes(content)
    assert configuration(tmp_path / "own.conf").encode(opensmile_engine.ENCODING) == content


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("\\{nowhere.inc}", r"own\.conf: includes nowhere\.inc, which is no file"),
        ("\\{\\cm[mine{nowhere.inc}:x]}", r"own\.conf: includes nowhere\.inc, which is no file"),
        ("\\{\\cm[mine]}", r"own\.conf: includes what option 'mine' names, which has no default"),
        ("\\{own.conf}", r"own\.conf: includes own\.conf in a circle"),
        ("\\{a.inc}", r"a\.inc: includes own\.conf in a circle"),
    ],
)
def test_an_include_that_leads_nowhere_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "own.conf").write_text(line + "\n")
    (tmp_path / "a.inc").write_text("\\{own.conf}\n")
    with pytest.raises(MalformedSource, match=told):
        configuration(tmp_path / "own.conf")


def test_levels_are_those_that_components_write(own: Path) -> None:
    assert levels(completed(configuration(own))) == ["energy", "frame", "func", "wave"]


def test_only_what_a_level_needs_is_left(own: Path) -> None:
    whole = completed(configuration(own))
    assert levels(only(whole, "func")) == ["energy", "frame", "func", "wave"]
    assert levels(only(whole, "energy")) == ["energy", "frame", "wave"]
    assert "instance[mean]" not in only(whole, "energy")
    assert levels(only(whole, "frame;energy")) == ["energy", "frame", "wave"]


def test_descriptors_need_no_functionals() -> None:
    whole = completed(configuration(COMPARE))
    assert "cFunctionals" in only(whole, "func")
    assert "cFunctionals" not in only(whole, "lld;lld_de")


def test_a_level_that_puts_others_together_becomes_one_array() -> None:
    whole = completed(configuration(COMPARE))
    added = "processArrayFields = 0\npreserveFieldNames = 0\n"
    heading = "[is13_funcconcat:cVectorConcat]\n"
    assert as_one_array(whole, "func") == whole.replace(heading, heading + added)


def test_a_level_that_does_more_than_put_others_together_is_left_alone(own: Path) -> None:
    whole = completed(configuration(COMPARE))
    assert as_one_array(whole, "lld;lld_de") == whole
    assert as_one_array(whole, "is13_functionalsA") == whole
    assert as_one_array(whole, "nowhere") == whole
    arrays_only = whole.replace("includeSingleElementFields = 1", "")
    assert as_one_array(arrays_only, "func") == arrays_only
    chosen = whole.replace("includeSingleElementFields = 1", "includeSingleElementFields = 1\nprocessArrayFields = 1")
    assert as_one_array(chosen, "func") == chosen
    assert as_one_array(completed(configuration(own)), "func") == completed(configuration(own))


# -- the engine ------------------------------------------------------------------------------------------------


def test_without_what_it_does_not_need_it_gives_the_same(own: Path) -> None:
    whole = completed(configuration(COMPARE))
    all_of_it, part_of_it = Engine(whole, "lld;lld_de"), Engine(only(whole, "lld;lld_de"), "lld;lld_de")
    assert all_of_it.names == part_of_it.names
    for n_samples in (16_000, 7_777, 960):
        assert np.array_equal(all_of_it.frames(noise(n_samples)), part_of_it.frames(noise(n_samples)))


@pytest.mark.parametrize("path", [COMPARE, EGEMAPS])
def test_as_one_array_it_gives_the_same_under_the_same_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = only(completed(configuration(path)), "func")
    fast = Engine(text, "func")
    monkeypatch.setattr(opensmile_engine, "as_one_array", lambda text, level: text)
    plain = Engine(text, "func")
    assert fast.names == plain.names
    for n_samples in (16_000, 7_777, 960, 100, 16_000):
        assert np.array_equal(fast.frames(noise(n_samples)), plain.frames(noise(n_samples)))
    assert fast.step_s == plain.step_s == 0


def test_an_array_of_another_number_of_features_is_not_used(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = completed(configuration(own))
    expected = Engine(text, "func").frames(noise(8_000))
    two = text.replace("Means.absmean = 0", "Means.absmean = 1")
    monkeypatch.setattr(opensmile_engine, "as_one_array", lambda text, level: two)
    engine = Engine(text, "func")
    assert len(engine.names) == 1
    assert np.array_equal(engine.frames(noise(8_000)), expected)


def test_a_clip_leaves_nothing_behind(own: Path) -> None:
    kept = Engine(only(completed(configuration(COMPARE)), "lld;lld_de"), "lld;lld_de")
    first = kept.frames(noise(9_000))
    kept.frames(noise(30_000, seed=1))
    kept.frames(noise(100))
    assert np.array_equal(kept.frames(noise(9_000)), first)
    assert first.flags.owndata
    assert first.flags.writeable


def test_two_engines_do_not_meet(own: Path) -> None:
    text = completed(configuration(own))
    one, other = Engine(text, "energy"), Engine(text, "func")
    frames = one.frames(noise(8_000))
    assert other.frames(noise(8_000)) == pytest.approx(frames.mean(axis=0, keepdims=True), rel=1e-4)
    del other
    assert np.array_equal(one.frames(noise(8_000)), frames)


def test_nothing_of_an_engine_stays_when_its_user_goes(own: Path) -> None:
    engine = Engine(completed(configuration(own)), "energy")
    gone = weakref.ref(engine)
    engine.frames(noise(1_000))
    del engine
    assert gone() is None


def test_ctrl_c_during_a_clip_is_not_lost(own: Path) -> None:
    engine = Engine(completed(configuration(own)), "energy")
    expected = engine.frames(noise(8_000))
    press = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    press.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(10_000):
            engine.frames(noise(RATE_HZ * 20))
    press.join()
    assert np.array_equal(engine.frames(noise(8_000)), expected)


def test_it_works_in_a_thread(own: Path) -> None:
    text = completed(configuration(own))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: Engine(text, "energy").frames(noise(8_000)), range(2))
    assert np.array_equal(one, other)


def test_it_gives_what_a_plain_formula_gives(own: Path) -> None:
    engine = Engine(completed(configuration(own)), "energy")
    wave = noise(16_000)
    frames = engine.frames(wave)
    pcm = np.trunc(wave * 32_768) / 32_768
    windows = np.lib.stride_tricks.sliding_window_view(pcm, 320)[::80]
    assert (engine.names, engine.step_s) == (("pcm_RMSenergy",), 0.005)
    assert frames[: len(windows), 0] == pytest.approx(np.sqrt((windows**2).mean(axis=1)), rel=1e-3)


def test_more_than_full_scale_is_full_scale(own: Path) -> None:
    engine = Engine(completed(configuration(own)), "energy")
    assert engine.frames(np.full(4_000, 1.7, np.float32))[0, 0] == pytest.approx(32_767 / 32_768, abs=1e-4)


def test_too_short_a_clip_has_no_frames(own: Path) -> None:
    assert Engine(completed(configuration(own)), "energy").frames(noise(319)).shape == (0, 1)


def test_a_configuration_that_openSMILE_refuses(own: Path) -> None:
    broken = completed(configuration(own)).replace("frameSize", "frameLength")
    with pytest.raises(ValueError, match=r"^openSMILE fails with error \d$"):
        Engine(broken, "energy")


# -- trials --------------------------------------------------------------------------------------------------


def test_a_trial_tells_what_comes_out(own: Path) -> None:
    trial = tried(completed(configuration(own)), "energy")
    assert (trial.names, trial.step_s, trial.refusal) == (("pcm_RMSenergy",), 0.005, "")
    assert trial.n_frames == pytest.approx(opensmile_engine.PROBE_S / 0.005, abs=5)
    assert trial.n_frames == len(Engine(completed(configuration(own)), "energy").frames(noise(5 * RATE_HZ)))


def test_a_trial_of_what_openSMILE_refuses(own: Path) -> None:
    trial = tried(completed(configuration(own)).replace("frameSize", "frameLength"), "energy")
    assert (trial.names, trial.n_frames) == ((), 0)
    assert trial.refusal.startswith("openSMILE fails with error")


def test_a_trial_survives_what_openSMILE_does_not() -> None:
    broken = completed(configuration(EGEMAPS)).replace("cVectorConcat", "cNoSuch")
    assert tried(broken, "func").refusal.startswith("openSMILE crashes on it")


def test_a_trial_has_an_end(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensmile_engine, "TRIAL_S", 0.01)
    told = "openSMILE is not done with 5 s of noise after 0.01 s"
    assert tried(completed(configuration(own)) + "; slow", "energy") == Trial(refusal=told)


def test_a_trial_that_fails_for_our_own_fault_is_no_refusal(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensmile_engine.sys, "executable", "false")
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        tried("", "energy")
