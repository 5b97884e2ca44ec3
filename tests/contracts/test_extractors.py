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

from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs
from features.sandbox.voices import MEN, WOMEN, resampled, say
from tests.features.tiny_bert import write_bert
from warehouse import catalog
from warehouse.errors import UnknownField, Untreatable

ROOM = "features.extractors"
NAMES = catalog.names(ROOM)
SENTENCES = ("You are so happy today!", "I am sad.", "The train leaves at seven, as usual.", "You are angry today!")
MOODS = ("happy", "sad", "neutral", "angry")

Extract = Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Loaded:
    plugin: Any
    outputs: Mapping[str, FeatureSpec]
    load: Callable[[], Extract]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    choose = random.Random(0)
    takes = [
        say(text, speaker, mood, 1.0, choose)
        for text, speaker, mood in zip(SENTENCES, (*WOMEN[:2], *MEN[:2]), MOODS, strict=True)
    ]
    waves = [resampled(take.wave, RATE_HZ).astype(np.float32) for take in takes]
    return [Clip(f"c{n}", wave, text) for n, (wave, text) in enumerate(zip(waves, SENTENCES, strict=True))]


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    cls = catalog.plugin_class(ROOM, request.param)
    reads = getattr(cls, "reads_checkpoint", False)
    fields: dict[str, Any] = {"weights": "0" * 64} if reads else {}
    if reads and "logits" in {field.name for field in dataclasses.fields(cls)}:
        fields["logits"] = True
    plugin = catalog.build(ROOM, request.param, fields, "the contract")
    extra = (write_bert(tmp_path_factory.mktemp("checkpoint")),) if reads else ()
    return Loaded(plugin, plugin.outputs(*extra), lambda: plugin.load("cpu", *extra))


def test_the_folder_has_extractors() -> None:
    assert {"opensmile", "waveform", "encoder"} <= set(NAMES)


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
    for row in loaded.load()(clips):
        assert set(row) == set(loaded.outputs)
        for name, spec in loaded.outputs.items():
            assert row[name].dtype == spec.dtype
            assert row[name].ndim == len(spec.axes)
            assert spec.axes == ("sample",) or row[name].shape[-1] == spec.dim
            assert np.isfinite(row[name]).all()


def test_a_row_is_the_same_whatever_it_was_batched_with(loaded: Loaded, clips: list[Clip]) -> None:
    extract = loaded.load()
    together, reversed_ = extract(clips), list(extract(clips[::-1]))[::-1]
    for position, clip in enumerate(clips):
        [alone] = extract([clip])
        for name in loaded.outputs:
            for row in (together[position], reversed_[position]):
                np.testing.assert_allclose(row[name], alone[name], rtol=1e-6, atol=1e-6)


def test_loaded_again_it_gives_the_same_bytes(loaded: Loaded, clips: list[Clip]) -> None:
    first, second = loaded.load()(clips), loaded.load()(clips)
    for one, other in zip(first, second, strict=True):
        assert {name: array.tobytes() for name, array in one.items()} == {
            name: array.tobytes() for name, array in other.items()
        }


def test_it_leaves_its_input_alone(loaded: Loaded, clips: list[Clip]) -> None:
    clip = clips[0]
    assert clip.wave is not None
    before = clip.wave.copy()
    loaded.load()([clip])
    assert np.array_equal(before, clip.wave)


def test_an_empty_clip_is_untreatable(loaded: Loaded) -> None:
    with pytest.raises(Untreatable, match="is empty"):
        loaded.load()([Clip("empty", np.zeros(0, np.float32), "")])


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
