"""Laws of every extractor: a new file of `features/extractors` is tested by existing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import soxr

from features.audio import decode
from features.canary_clips import canary_clips
from features.guard import guarded
from features.plugin import RATE_HZ, Clip, FeatureSpec, Needs
from features.sandbox.voices import MEN, WOMEN, resampled, say
from tests.features.own_configuration import write_configuration
from tests.features.tiny_bert import write_bert
from tests.features.tiny_glove import write_glove
from tests.features.tiny_recogniser import write_recogniser
from tests.features.tiny_speech import ARCHITECTURES as SPEECH_ARCHITECTURES
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_synthesis import write_speaker
from tests.features.tiny_text import ARCHITECTURES as TEXT_ARCHITECTURES
from tests.features.tiny_text import write_sentence_encoder, write_text_encoder
from tests.features.tiny_translation import write_translator
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
    "encoder roberta": {"words": True},
    "encoder deberta": {"words": True, "dtype": "float16"},
    "encoder sentence": {"logits": False, "sentence": True, "layers": (3,)},
    "speech_encoder wav2vec2": {"layers": (2, 0)},
    "speech_encoder hubert": {},
    "speech_encoder wavlm": {"dtype": "float16"},
    "speech_encoder data2vec": {},
    "speech_encoder whisper": {"dtype": "float16"},
}
"""Extractors with other fields than their defaults, which keep the same laws: file name and a remark -> fields."""

VARIANTS |= {f"encoder {name}": {} for name in TEXT_ARCHITECTURES if f"encoder {name}" not in VARIANTS}
VARIANTS |= {f"speech_encoder {name}": {} for name in SPEECH_ARCHITECTURES if f"speech_encoder {name}" not in VARIANTS}
del VARIANTS["speech_encoder wav2vec2-large"]  # what the tests of the bare name take

QUICK = (
    "opensmile eGeMAPSv02 lld", "encoder deberta", "encoder sentence", "speech_encoder wavlm", "speech_encoder whisper",
)  # fmt: skip
"""Variants of `make test`: of each kind of row, half precision and windows; the others come in `make test-all`."""

CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "encoder": write_bert,
    "encoder sentence": write_sentence_encoder,
    "glove": write_glove,
    "asr": write_recogniser,
    "speech_encoder": write_speech_encoder,
    "synthesis": write_speaker,
    "translation": write_translator,
}
"""Extractor that reads a checkpoint, or variant of it -> what writes a tiny one into a folder."""

CHECKPOINTS |= {f"encoder {name}": partial(write_text_encoder, architecture=name) for name in TEXT_ARCHITECTURES}
CHECKPOINTS |= {
    f"speech_encoder {name}": partial(write_speech_encoder, architecture=name) for name in SPEECH_ARCHITECTURES
}

LONG_S = dict.fromkeys(("opensmile", "opensmile_config", "asr"), 60.0) | {
    variant: 60.0 for variant in VARIANTS if variant.startswith("speech_encoder")
}
"""How long the long clip is for the slow ones, and for all but one network; ten minutes for all others, and for these
in `make test-all`."""

AT_ONCE = ("synthesis", "translation")
"""Extractors that refuse more words than their network takes at once."""

SPEAKING = ("synthesis",)
"""Extractors whose sound is their own: it lasts as long as it takes them to say the words."""

HUSH = {"speech_encoder": 0.03}
"""How loud the noise around a click is: 0.003, but not where sound is normalised over the clip, for there a click in
less would make all else fainter."""

SHARED_S = {"speech_encoder": 0.005}
"""What the frame before hears too, nearer to its middle, of the beginning of a frame of 25 ms at steps of 20 ms."""

Extract = Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Loaded:
    name: str
    variant: str
    plugin: Any
    outputs: Mapping[str, FeatureSpec]
    load: Callable[[], Extract]
    extract: Extract

    @property
    def hears(self) -> bool:
        return self.plugin.needs != "text"

    @property
    def is_in_time(self) -> bool:
        """Whether its steps are of the time of the clip."""
        return self.name not in SPEAKING

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
            if spec.level in ("sample", "frame") and spec.hop_s and self.is_in_time:
                assert abs(n_steps(row[name], spec) * spec.hop_s - clip.duration_s) <= OVERRUN_S


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    choose = random.Random(0)
    takes = [
        say(text, speaker, mood, 1.0, choose)
        for text, speaker, mood in zip(SENTENCES, (*WOMEN[:2], *MEN[:2]), MOODS, strict=True)
    ]
    waves = [resampled(take.wave, RATE_HZ).astype(np.float32) for take in takes]
    return [Clip(f"c{n}", wave, text) for n, (wave, text) in enumerate(zip(waves, SENTENCES, strict=True))]


@pytest.fixture(
    scope="module",
    params=[*NAMES, *(pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in VARIANTS)],
)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    name = request.param.split()[0]
    cls = catalog.plugin_class(ROOM, name)
    required = {"weights": lambda: "0" * 64, "config": lambda: str(write_configuration(tmp_path_factory.mktemp("own")))}
    fields = {
        field.name: required[field.name]() for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING
    }
    reads = getattr(cls, "reads_checkpoint", False)
    if reads and "logits" in {field.name for field in dataclasses.fields(cls)}:
        fields["logits"] = True
    fields |= VARIANTS.get(request.param, {})
    plugin = catalog.build(ROOM, name, fields, "the contract")
    extra = (CHECKPOINTS[request.param](tmp_path_factory.mktemp("checkpoint")),) if reads else ()
    return Loaded(
        name, request.param, plugin, plugin.outputs(*extra),
        lambda: plugin.load("cpu", *extra), plugin.load("cpu", *extra),
    )  # fmt: skip


def test_its_libraries_are_there_and_its_tolerance_is_small(loaded: Loaded) -> None:
    for library in loaded.plugin.libraries:
        assert importlib.metadata.version(library)
    assert 0 < loaded.plugin.tolerance <= 1e-3


def test_it_answers_every_clip_of_the_canary(loaded: Loaded) -> None:
    answers = [answer for _, answer in guarded(loaded.extract, canary_clips(loaded.plugin.needs), loaded.outputs)]
    assert [str(answer) for answer in answers if isinstance(answer, Exception)] == []


def test_the_folder_has_extractors() -> None:
    assert {"opensmile", "opensmile_config", "mfcc", "waveform", "encoder", "speech_encoder"} <= set(NAMES)


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
            assert spec.level in spec.axes


def test_rows_are_as_promised(loaded: Loaded, clips: list[Clip]) -> None:
    for row, clip in zip(loaded.extract(clips), clips, strict=True):
        loaded.check(row, clip)


def test_a_row_is_the_same_whatever_it_was_batched_with(loaded: Loaded, clips: list[Clip]) -> None:
    alone = [loaded.extract([clip])[0] for clip in clips]
    for batch in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 3], [2, 0]):
        for row, i in zip(loaded.extract([clips[i] for i in batch]), batch, strict=True):
            assert same_bytes(row, alone[i])


def test_loaded_again_it_gives_the_same_bytes_and_nothing_appears_on_the_terminal(
    loaded: Loaded, clips: list[Clip], capfd: pytest.CaptureFixture[str]
) -> None:
    first = loaded.extract(clips)
    capfd.readouterr()
    second = loaded.load()(clips)
    assert capfd.readouterr() == ("", "")
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
        spec = loaded.outputs[name]
        difference = n_steps(heard[name], spec) - n_steps(expected[name], spec)
        if (spec.hop_s and loaded.is_in_time) or not loaded.hears:  # a transcript, or speech, may be of any length
            assert abs(difference) <= (2 if spec.level == "sample" else 1)
        if rate_hz == RATE_HZ:
            np.testing.assert_allclose(heard[name], expected[name], rtol=1e-6, atol=1e-6)


def test_other_tongues_are_texts_too_and_change_no_sound(loaded: Loaded, clips: list[Clip]) -> None:
    for text in OTHER_TONGUES:
        row = loaded.row(dataclasses.replace(clips[1], text=text))
        assert loaded.plugin.needs != "audio" or same_bytes(row, loaded.row(clips[1]))


def test_a_long_clip_gives_a_row(loaded: Loaded, clips: list[Clip]) -> None:
    long_row(loaded, long_clip(clips, LONG_S.get(loaded.variant, LONG_S.get(loaded.name, 600.0))))


@pytest.mark.slow
def test_ten_minutes_give_a_row(loaded: Loaded, clips: list[Clip]) -> None:
    long_row(loaded, long_clip(clips, 600.0))


def long_row(loaded: Loaded, clip: Clip) -> None:
    if loaded.name in AT_ONCE:
        with pytest.raises(Untreatable, match=r"^the text has \d{4} tokens, and "):
            loaded.extract([clip])
        clip = dataclasses.replace(clip, text=SENTENCES[0])
    loaded.row(clip)


def long_clip(clips: Sequence[Clip], length_s: float) -> Clip:
    wave = np.concatenate([clip.wave for clip in clips if clip.wave is not None])
    return Clip("long", np.resize(wave, int(length_s * RATE_HZ)), " ".join(SENTENCES * int(length_s / 8)))


@pytest.mark.parametrize("second", [0.3003, 0.7, 1.23456, 1.5099])
def test_a_click_shows_in_the_frame_that_covers_it(loaded: Loaded, second: float) -> None:
    """How much the click changes a step, as the mean over dimensions of the change relative to the largest. Steps far
    away may change too, where a feature looks at the whole clip, but less."""
    hush = np.random.default_rng(0).normal(0, HUSH.get(loaded.name, 0.003), 2 * RATE_HZ).astype(np.float32)
    click = hush.copy()
    click[round(second * RATE_HZ)] = 0.9
    without, with_click = loaded.extract([Clip("hush", hush, "Oh!"), Clip("click", click, "Oh!")])
    for name, spec in loaded.outputs.items():
        if spec.level not in ("sample", "frame") or not spec.hop_s or not loaded.is_in_time:
            continue
        change = np.moveaxis(np.abs(with_click[name].astype(np.float64) - without[name]), axis_of(spec), 0)
        change = change.reshape(len(change), -1)
        most = change.max(axis=0)
        change = (change[:, most > 0] / most[most > 0]).mean(axis=1)
        position = round(second * RATE_HZ) / RATE_HZ / spec.hop_s + 1e-6
        covering = int(position)
        is_shared = (position - covering) * spec.hop_s < SHARED_S.get(loaded.name, 0.0)
        assert change[covering - is_shared : covering + 1].max() >= 0.75 * change.max()
        assert abs(int(change.argmax()) - covering) <= (0 if spec.level == "sample" else 1)
        assert np.delete(change, np.arange(covering - 8, covering + 9)).max() < change[covering]


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


def axis_of(spec: FeatureSpec) -> int:
    """Along which an output has its steps."""
    return spec.axes.index(spec.level) if spec.level in spec.axes else 0


def n_steps(array: np.ndarray, spec: FeatureSpec) -> int:
    return array.shape[axis_of(spec)]


def same_bytes(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }
