from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import opensmile
import pytest

from features.extractors.opensmile import OpenSmile
from features.extractors.opensmile_config import OpenSmileConfig
from features.opensmile_engine import Engine
from features.plugin import RATE_HZ, Clip
from tests.features.own_configuration import PART, WHOLE, write_configuration
from warehouse.catalog import build, identity, plugin_key
from warehouse.errors import InvalidField, Untreatable

SHIPPED = Path(opensmile.__file__).parent / "core" / "config"
EGEMAPS = SHIPPED / "egemaps" / "v02" / "eGeMAPSv02.conf"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_configuration(tmp_path)


def hum(n_samples: int) -> np.ndarray:
    tone = np.sin(2 * np.pi * 140 * np.arange(n_samples) / RATE_HZ)
    return (0.2 * tone + 0.01 * np.random.default_rng(0).standard_normal(n_samples)).astype(np.float32)


@pytest.mark.parametrize(("level", "named", "output"), [("func", "functionals", "vector"), ("lld", "lld", "frames")])
def test_the_file_of_a_set_gives_what_the_set_gives(level: str, named: str, output: str) -> None:
    by_file, by_name = OpenSmileConfig(str(EGEMAPS), level), OpenSmile("eGeMAPSv02", named)  # type: ignore[arg-type]
    assert by_file.outputs() == by_name.outputs()
    for wave in (hum(8_000), hum(12_345)):
        [one], [other] = by_file.load("cpu")([Clip("a", wave)]), by_name.load("cpu")([Clip("a", wave)])
        assert np.array_equal(one[output], other[output])


def test_a_users_file_gives_what_the_package_gives_for_it(own: Path) -> None:
    flat = own.with_name("flat.conf")
    flat.write_text(WHOLE.replace("\\{energy.conf.inc}", PART))
    for level in ("func", "energy"):
        smile = opensmile.Smile(str(flat), level, loglevel=0)
        plugin = OpenSmileConfig(str(own), level)
        [(output, spec)] = plugin.outputs().items()
        found = plugin.load("cpu")([Clip("a", hum(9_000))])[0][output]
        assert spec.names == tuple(smile.feature_names)
        assert np.array_equal(np.atleast_2d(found), smile(hum(9_000), RATE_HZ)[0].T)


def test_a_step_of_its_own_is_seen(own: Path) -> None:
    spec = OpenSmileConfig(str(own), "energy").outputs()["frames"]
    assert (spec.level, spec.dim, spec.hop_s) == ("frame", 1, 0.005)


def test_one_file_is_known_by_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "flat.conf"
    path.write_bytes(WHOLE.replace("\\{energy.conf.inc}", PART).encode() + b"; \xe9\r\n")
    assert OpenSmileConfig(str(path)).config == hashlib.sha256(path.read_bytes()).hexdigest()


def test_where_it_lies_is_in_no_key_and_what_it_says_is(own: Path, tmp_path: Path) -> None:
    step = "extractors.opensmile_config"
    key = plugin_key(step, OpenSmileConfig(str(own)))
    assert str(tmp_path) not in str(identity(step, OpenSmileConfig(str(own))))
    moved = Path(shutil.copytree(own.parent, tmp_path / "elsewhere")) / "own.conf"
    assert plugin_key(step, OpenSmileConfig(str(moved))) == key
    assert plugin_key(step, OpenSmileConfig(str(own), "energy")) != key
    (moved.parent / "energy.conf.inc").write_text(PART + "; another remark\n")
    assert plugin_key(step, OpenSmileConfig(str(moved))) != key


def test_it_travels_without_its_file(own: Path) -> None:
    plugin = OpenSmileConfig(str(own), "energy")
    there = pickle.loads(pickle.dumps(plugin))
    own.unlink()
    assert there == plugin
    assert len(there.load("cpu")([Clip("a", hum(1_600))])[0]["frames"])


@pytest.mark.parametrize("path", ["nowhere.conf", "/", ""])
def test_a_file_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(InvalidField, match=r"field 'config' is '.*', which is no file: give the path of a config"):
        build("features.extractors", "opensmile_config", {"config": path}, "recipe")


def test_a_part_that_is_not_there_is_refused(own: Path) -> None:
    (own.parent / "energy.conf.inc").unlink()
    with pytest.raises(InvalidField, match=r"field 'config' is no use: .*includes energy\.conf\.inc, which is no file"):
        OpenSmileConfig(str(own))


def test_a_level_that_is_not_there_is_refused(own: Path) -> None:
    with pytest.raises(InvalidField, match="field 'level' is 'lld', but the levels are energy, frame, func, wave"):
        OpenSmileConfig(str(own), "lld").outputs()


def test_a_component_that_is_not_there_is_refused(own: Path) -> None:
    own.write_text(WHOLE.replace("cFunctionals", "cFancy"))
    with pytest.raises(InvalidField, match="field 'config' is no use at level 'func': openSMILE fails with error 1"):
        OpenSmileConfig(str(own)).outputs()


def test_two_features_of_one_name_are_refused(own: Path) -> None:
    with pytest.raises(InvalidField, match="has 2 features of the name 'pcm_RMSenergy' at level 'energy;energy'"):
        OpenSmileConfig(str(own), "energy;energy").outputs()


def test_a_file_that_gives_nothing_is_refused(own: Path) -> None:
    (own.parent / "energy.conf.inc").write_text(PART.replace("frameSize = 0.020", "frameSize = 9.0"))
    with pytest.raises(InvalidField, match="field 'config' gives nothing at level 'energy' for 5 s of noise"):
        OpenSmileConfig(str(own), "energy").outputs()


def test_a_clip_too_short_for_a_frame_is_untreatable(own: Path) -> None:
    with pytest.raises(Untreatable, match=r"the clip lasts 0\.019 s, too short for one frame at 'energy'"):
        OpenSmileConfig(str(own), "energy").load("cpu")([Clip("a", hum(310))])


def test_a_feature_that_is_not_finite_is_named(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = OpenSmileConfig(str(own)).load("cpu")
    monkeypatch.setattr(Engine, "frames", lambda self, wave: np.array([[np.nan]], np.float32))
    with pytest.raises(Untreatable, match=r"1 features at 'func' are not finite \(first: pcm_RMSenergy_amean\)"):
        extract([Clip("a", hum(8_000))])
