"""Laws of every extractor: a new file of `features/extractors` is tested by existing."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import soxr

from features.audio import decode
from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs
from features.sandbox.voices import MEN, WOMEN, resampled, say
from tests.features.own_configuration import write_configuration
from tests.features.tiny_bert import write_bert
from warehouse import catalog
from warehouse.errors import UnknownField, Untreatable
from warehouse.pooling import OVERRUN_S

ROOM = "features.extractors"
NAMES = catalog.names(ROOM)
SENTENCES = ("You are so happy today!", "I am sad.", "The train leaves at seven, as usual.", "You are angry today!")
MOODS = ("happy", "sad", "neutral", "angry")
OTHER_TONGUES = ("Ich freue mich so sehr für dich!", "我今天很高兴。", "أنا حزين جدا", "Ты злишься?", "¿Qué? 😀 … ½")

VARIANTS: dict[str, dict[str, Any]] = {
    "opensmile eGeMAPSv02 lld": {"feature_set": "eGeMAPSv02", "level": "lld"},
    "opensmile ComParE_2016 functionals": {"feature_set": "ComParE_2016", "level": "functionals"},
    "waveform float32": {"dtype": "float32"},
}
"""Extractors with other fields than their defaults, which keep the same laws: file name and a remark -> fields."""

LONG_S = {"opensmile": 60.0}
"""How long the long clip is for the slow ones; ten minutes for all others."""

Extract = Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Loaded:
    name: str
    plugin: Any
    outputs: Mapping[str, FeatureSpec]
    load: Callable[[], Extract]
    extract: Extract

    @property
    def hears(self) -> bool:
        return self.plugin.needs != "text"

    def row(self, clip: Clip) -> Mapping[str, np.ndarray]:
        """The one row of one clip, which is as promised."""
        [row] = self.extract([clip])
        self.check(row, clip)
        return row

    def check(self, row: Mapping[str, np.ndarray], clip: Clip) -> None:
        assert set(row) == set(self.outputs)
        for name, spec in self.outputs.items():
            assert row[name].dtype == spec.dtype
            assert row[name].ndim == len(spec.axes)
            assert spec.axes == ("sample",) or row[name].shape[-1] == spec.dim
            assert np.isfinite(row[name]).all()
            if spec.level in ("sample", "frame") and spec.hop_s:
                assert abs(len(row[name]) * spec.hop_s - clip.duration_s) <= OVERRUN_S


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    choose = random.Random(0)
    takes = [
        say(text, speaker, mood, 1.0, choose)
        for text, speaker, mood in zip(SENTENCES, (*WOMEN[:2], *MEN[:2]), MOODS, strict=True)
    ]
    waves = [resampled(take.wave, RATE_HZ).astype(np.float32) for take in takes]
    return [Clip(f"c{n}", wave, text) for n, (wave, text) in enumerate(zip(waves, SENTENCES, strict=True))]


@pytest.fixture(scope="module", params=[*NAMES, *VARIANTS])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    name = request.param.split()[0]
    cls = catalog.plugin_class(ROOM, name)
    required = {"weights": lambda: "0" * 64, "config": lambda: str(write_configuration(tmp_path_factory.mktemp("own")))}
    fields = VARIANTS.get(request.param, {}) | {
        field.name: required[field.name]() for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING
    }
    reads = getattr(cls, "reads_checkpoint", False)
    if reads and "logits" in {field.name for field in dataclasses.fields(cls)}:
        fields["logits"] = True
    plugin = catalog.build(ROOM, name, fields, "the contract")
    extra = (write_bert(tmp_path_factory.mktemp("checkpoint")),) if reads else ()
    return Loaded(
        name, plugin, plugin.outputs(*extra), lambda: plugin.load("cpu", *extra), plugin.load("cpu", *extra)
    )


def test_the_folder_has_extractors() -> None:
    assert {"opensmile", "opensmile_config", "mfcc", "waveform", "encoder"} <= set(NAMES)


def test_identity_is_canonical_and_frozen(loaded: Loaded) -> None:
    assert type(loaded.plugin).__dataclass_params__.frozen
    assert type(loaded.plugin).__doc__
    assert loaded.plugin.needs in get_args(Needs)
    assert len(catalog.plugin_key("extractors.x", loaded.plugin)) == 32


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(UnknownField, match="no field 'colour'"):
        catalog.build(ROOM, name, {"colour": "red"}, "recipe")


def test_promises_are_well_formed(loaded: Loaded) -> None:
    assert loaded.outputs
    for name, spec in loaded.outputs.items():
        assert name.isidentifier()
        assert np.dtype(spec.dtype).name == spec.dtype
        assert not spec.names or len(set(spec.names)) == len(spec.names) == spec.dim
        if spec.level == "utterance":
            assert (spec.axes, len(spec.names)) == (("dim",), spec.dim)
        if spec.level in ("sample", "frame"):
            assert spec.hop_s
            assert spec.axes[0] == spec.level


def test_rows_are_as_promised(loaded: Loaded, clips: list[Clip]) -> None:
    for row, clip in zip(loaded.extract(clips), clips, strict=True):
        loaded.check(row, clip)


def test_a_row_is_the_same_whatever_it_was_batched_with(loaded: Loaded, clips: list[Clip]) -> None:
    alone = [loaded.extract([clip])[0] for clip in clips]
    for batch in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 3], [2, 0]):
        for row, i in zip(loaded.extract([clips[i] for i in batch]), batch, strict=True):
            assert same_bytes(row, alone[i])


def test_loaded_again_it_gives_the_same_bytes(loaded: Loaded, clips: list[Clip]) -> None:
    first, second = loaded.load()(clips), loaded.load()(clips)
    assert all(same_bytes(one, other) for one, other in zip(first, second, strict=True))


def test_it_leaves_its_input_alone(loaded: Loaded, clips: list[Clip]) -> None:
    clip = clips[0]
    assert clip.wave is not None
    before = clip.wave.copy()
    loaded.extract([clip])
    assert np.array_equal(before, clip.wave)


def test_an_empty_clip_is_untreatable(loaded: Loaded) -> None:
    with pytest.raises(Untreatable, match="is empty"):
        loaded.extract([Clip("empty", np.zeros(0, np.float32), "")])


def test_20_ms_give_a_row_or_are_said_to_be_too_short(loaded: Loaded, clips: list[Clip]) -> None:
    assert clips[0].wave is not None
    try:
        loaded.row(Clip("short", clips[0].wave[: RATE_HZ // 50], "Oh!"))
    except Untreatable as error:
        assert "the clip lasts 0.020 s" in str(error)


def test_silence_gives_a_row(loaded: Loaded) -> None:
    loaded.row(Clip("silence", np.zeros(RATE_HZ, np.float32), "..."))


def test_clipped_sound_gives_a_row_and_more_than_full_scale_is_full_scale(loaded: Loaded, clips: list[Clip]) -> None:
    assert clips[0].wave is not None
    loud = clips[0].wave * np.float32(30)
    clipped = loaded.row(Clip("clipped", np.clip(loud, -1, 1), clips[0].text))
    beyond = loaded.row(Clip("beyond", np.clip(loud, -1.5, 1.5), clips[0].text))
    if loaded.name in ("opensmile", "opensmile_config") or not loaded.hears:
        assert same_bytes(clipped, beyond)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_untreatable(loaded: Loaded, clips: list[Clip], value: float) -> None:
    assert clips[0].wave is not None
    wave = clips[0].wave.copy()
    wave[8_000:8_003] = value
    broken = Clip("broken", wave, clips[0].text)
    if loaded.hears:
        with pytest.raises(Untreatable, match=r"^3 samples of the clip are not finite \(first: at 0\.500 s\)$"):
            loaded.extract([broken])
    else:
        assert same_bytes(loaded.row(broken), loaded.row(clips[0]))


@pytest.mark.parametrize(("rate_hz", "n_channels"), [(8_000, 1), (48_000, 1), (16_000, 6), (44_100, 2)])
def test_every_rate_and_number_of_channels(
    loaded: Loaded, clips: list[Clip], tmp_path: Path, rate_hz: int, n_channels: int
) -> None:
    clip, path = clips[1], tmp_path / "recording.wav"
    assert clip.wave is not None
    wave = soxr.resample(clip.wave, RATE_HZ, rate_hz)
    soundfile.write(path, np.repeat(wave[:, None], n_channels, axis=1), rate_hz, subtype="FLOAT")
    heard, expected = loaded.row(Clip("heard", decode(path), clip.text)), loaded.row(clip)
    for name in loaded.outputs:
        n_steps = len(expected[name])
        assert abs(len(heard[name]) - n_steps) <= (2 if loaded.outputs[name].level == "sample" else 1)
        if rate_hz == RATE_HZ:
            np.testing.assert_allclose(heard[name], expected[name], rtol=1e-6, atol=1e-6)


def test_other_tongues_are_texts_too_and_change_no_sound(loaded: Loaded, clips: list[Clip]) -> None:
    for text in OTHER_TONGUES:
        row = loaded.row(dataclasses.replace(clips[1], text=text))
        assert loaded.plugin.needs != "audio" or same_bytes(row, loaded.row(clips[1]))


def test_a_long_clip_gives_a_row(loaded: Loaded, clips: list[Clip]) -> None:
    turns = [clip.wave for clip in clips if clip.wave is not None]
    length_s = LONG_S.get(loaded.name, 600.0)
    wave = np.resize(np.concatenate(turns), int(length_s * RATE_HZ))
    loaded.row(Clip("long", wave, " ".join(SENTENCES * int(length_s / 8))))


@pytest.mark.parametrize("second", [0.3003, 0.7, 1.23456, 1.5099])
def test_a_click_shows_in_the_frame_that_covers_it(loaded: Loaded, second: float) -> None:
    """How much the click changes a step, as the mean over dimensions of the change relative to the largest. Steps far
    away may change too, where a feature looks at the whole clip, but less."""
    hush = np.random.default_rng(0).normal(0, 0.003, 2 * RATE_HZ).astype(np.float32)
    click = hush.copy()
    click[round(second * RATE_HZ)] = 0.9
    without, with_click = loaded.extract([Clip("hush", hush, "Oh!"), Clip("click", click, "Oh!")])
    for name, spec in loaded.outputs.items():
        if spec.level not in ("sample", "frame") or not spec.hop_s:
            continue
        change = np.abs(with_click[name].astype(np.float64) - without[name]).reshape(len(without[name]), -1)
        most = change.max(axis=0)
        change = (change[:, most > 0] / most[most > 0]).mean(axis=1)
        covering = int(round(second * RATE_HZ) / RATE_HZ / spec.hop_s + 1e-6)
        assert change[covering] >= 0.75 * change.max()
        assert abs(int(change.argmax()) - covering) <= (0 if spec.level == "sample" else 1)
        assert np.delete(change, np.arange(covering - 8, covering + 9)).max() < change[covering]


def test_nothing_appears_on_the_terminal(loaded: Loaded, clips: list[Clip], capfd: pytest.CaptureFixture[str]) -> None:
    loaded.load()(clips)
    assert capfd.readouterr() == ("", "")


def test_importing_extractors_and_aligners_is_light() -> None:
    heavy = "torch transformers opensmile pocketsphinx av librosa torchaudio"
    program = (
        "import sys, importlib; from warehouse.catalog import names\n"
        "for room in ('features.extractors', 'features.aligners'):\n"
        "    for name in names(room): importlib.import_module(f'{room}.{name}')\n"
        f"print(*[name for name in '{heavy}'.split() if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def same_bytes(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }
