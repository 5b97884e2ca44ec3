from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from features.extractors.speech_encoder import CONVOLUTIONAL, SpeechEncoder
from features.guard import guarded
from features.plugin import RATE_HZ, Clip
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import ARCHITECTURES, model_types, write_speech_encoder
from warehouse.errors import InvalidField, MalformedSource, Untreatable


def noise(seconds: float, seed: int = 0, loudness: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, loudness, round(seconds * RATE_HZ)).astype(np.float32)


def hidden(folder: Path, wave: np.ndarray, **fields: Any) -> np.ndarray:
    [row] = SpeechEncoder("w", **fields).load("cpu", folder)([Clip("a", wave)])
    return row["hidden"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, write_speech_encoder(tmp_path_factory.mktemp("checkpoint"), request.param)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speech_encoder(tmp_path_factory.mktemp("large"), "wav2vec2-large")


def test_every_architecture_is_tried() -> None:
    assert model_types() == {*CONVOLUTIONAL, "whisper"}


def test_layers_are_those_of_the_network(checkpoint: tuple[str, Path]) -> None:
    """What goes into the first block, what each gives, and last what the encoder gives: read by hooks of our own."""
    from transformers import AutoFeatureExtractor, AutoModel

    name, folder = checkpoint
    network, wave = AutoModel.from_pretrained(folder).eval(), noise(1.3)
    preprocessor, seen = AutoFeatureExtractor.from_pretrained(folder), []
    encoder = network.encoder
    encoder.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0][0]), with_kwargs=False)
    encoder.layers[0].register_forward_hook(lambda _, given, answer: seen.append(first(answer)))
    with torch.no_grad():
        prepared = preprocessor(wave, sampling_rate=RATE_HZ, return_tensors="pt")
        if name == "whisper":
            last = encoder(prepared.input_features).last_hidden_state[0, :65]
        else:
            last = network(prepared.input_values).last_hidden_state[0]
    expected = np.stack([seen[0][: len(last)].numpy(), seen[1][: len(last)].numpy(), last.numpy()])
    found = hidden(folder, wave)
    assert found.shape == expected.shape == (3, 65 if name == "whisper" else 64, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def first(answer: Any) -> torch.Tensor:
    """A block's output, which some give alone and some in a tuple, of the only clip."""
    return (answer[0] if isinstance(answer, tuple) else answer)[0]


def test_as_many_frames_as_the_architecture_says_in_one_window_or_in_many(checkpoint: tuple[str, Path]) -> None:
    name, folder = checkpoint
    whole, cut = SpeechEncoder("w"), SpeechEncoder("w", window_s=1.0, context_s=0.2)
    extracts = [plugin.load("cpu", folder) for plugin in (whole, cut)]
    for n in (400, 719, 720, 16_000, 16_001, 79_999):
        expected = -(-n // 320) if name == "whisper" else formula(folder, n)
        for extract in extracts:
            [row] = extract([Clip("a", noise(n / RATE_HZ))])
            assert row["hidden"].shape == (3, expected, 16)


def formula(folder: Path, n: int) -> int:
    """Frames of n samples, one convolution after the other."""
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] in CONVOLUTIONAL
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        n = (n - kernel) // stride + 1
    return n


@pytest.mark.parametrize("architecture", ["wav2vec2-large", "whisper"])
def test_windows_change_nothing_that_looks_no_further_than_their_context(architecture: str, tmp_path: Path) -> None:
    """Layer 0 of these reaches a few frames to either side, and the sound is normalised before it is cut."""
    folder = write_speech_encoder(tmp_path, architecture)
    loud = noise(3.4) * np.linspace(0.1, 3, round(3.4 * RATE_HZ), dtype=np.float32)
    whole = hidden(folder, loud, layers=(0,))
    cut = hidden(folder, loud, layers=(0,), window_s=1.0, context_s=0.3)
    if architecture == "whisper":  # positions are told from the window's begin
        from transformers import AutoModel

        positions = AutoModel.from_pretrained(folder).encoder.embed_positions.weight.detach().numpy()
        whole = whole - positions[: whole.shape[1]]
        begins = [max(0, keep - 15) for keep in range(0, whole.shape[1], 20) for _ in range(20)]
        cut = cut - np.stack([positions[i - begins[i]] for i in range(whole.shape[1])])
    np.testing.assert_allclose(cut, whole, rtol=1e-3, atol=1e-5)


def test_group_norm_never_hears_another_clip(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path, "wav2vec2")
    extract = SpeechEncoder("w").load("cpu", folder)
    clips = [Clip("a", noise(0.9)), Clip("b", noise(2.1, 1, 0.5)), Clip("c", noise(0.9, 2, 0.001))]
    together = extract(clips)
    for clip, row in zip(clips, together, strict=True):
        assert np.array_equal(extract([clip])[0]["hidden"], row["hidden"])


def test_sound_is_normalised_where_the_checkpoint_says_so(large: Path, tmp_path: Path) -> None:
    wave = noise(1.0)
    np.testing.assert_allclose(hidden(large, wave * 5), hidden(large, wave), rtol=1e-2, atol=1e-3)
    folder = shutil.copytree(large, tmp_path / "other")
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"do_normalize": False}))
    assert not np.allclose(hidden(folder, wave * 5), hidden(folder, wave), rtol=1e-2, atol=1e-3)


def test_chosen_layers_come_in_the_order_named(checkpoint: tuple[str, Path]) -> None:
    _, folder = checkpoint
    wave = noise(0.5)
    assert np.array_equal(hidden(folder, wave, layers=(2, 0)), hidden(folder, wave)[[2, 0]])


def test_weights_under_their_names_of_before_are_the_same_weights(tmp_path: Path) -> None:
    """What was published before torch had parametrizations calls the position convolution's weights so."""
    folder = write_speech_encoder(tmp_path, "hubert")
    before = hidden(folder, noise(0.5))
    weights, place = load_file(folder / "model.safetensors"), "encoder.pos_conv_embed.conv."
    renamed = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in renamed.items():
        weights[place + old] = weights.pop(place + new)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert np.array_equal(hidden(folder, noise(0.5)), before)


def test_a_checkpoint_with_a_head_gives_its_encoder(large: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2ForCTC

    network = Wav2Vec2ForCTC(Wav2Vec2Config.from_pretrained(large, vocab_size=30))
    network.wav2vec2.load_state_dict(AutoModel.from_pretrained(large).state_dict())
    folder = tmp_path / "ctc"
    network.save_pretrained(folder)
    shutil.copy(large / "preprocessor_config.json", folder)
    assert np.array_equal(hidden(folder, noise(0.5)), hidden(large, noise(0.5)))


def test_what_some_have_behind_the_encoder_is_left_out(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path, "wav2vec2-large", add_adapter=True, num_adapter_layers=1)
    assert hidden(folder, noise(0.5)).shape == (3, 24, 16)


@pytest.mark.parametrize("architecture", ["wav2vec2", "wav2vec2-large", "whisper"])
def test_float16_is_the_rounded_float32_within_the_bound(architecture: str, tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path, architecture)
    full, half = (hidden(folder, noise(1.0), dtype=dtype) for dtype in ("float32", "float16"))
    assert half.dtype == np.float16
    error = np.abs(half.astype(np.float64) - full)
    assert (error <= np.maximum(2.0**-11 * np.abs(full), 2.0**-25)).all()


def test_what_float16_cannot_hold_is_a_failure(large: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(large, tmp_path / "loud")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer_norm.weight"] *= 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    plugin = SpeechEncoder("w", dtype="float16")
    [(_, error)] = guarded(plugin.load("cpu", folder), [Clip("a", noise(0.5))], plugin.outputs(folder))
    assert isinstance(error, Untreatable) and str(error) == "output 'hidden' holds values that are not finite"
    assert np.isfinite(hidden(folder, noise(0.5))).all()


def test_a_clip_of_less_than_a_frame_is_untreatable(large: Path) -> None:
    with pytest.raises(Untreatable, match=r"^the clip lasts 0.025 s, less than one frame \(0.025 s\)$"):
        hidden(large, noise(399 / RATE_HZ))


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        *((name, {}, (13, 768)) for name in ("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio")),
        *(
            (name, {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
             (25, 1024))
            for name in ("Wav2Vec2", "Hubert", "WavLM")
        ),
        ("Whisper", {"d_model": 512, "encoder_layers": 6}, (7, 512)),
    ],
)  # fmt: skip
def test_published_shapes_are_promised_by_the_config_alone(
    name: str, sizes: dict[str, int], shape: tuple[int, int], tmp_path: Path
) -> None:
    import transformers

    getattr(transformers, f"{name}Config")(**sizes).save_pretrained(tmp_path)
    n_layers, dim = shape
    [(output, spec)] = SpeechEncoder("w", layers=(0, n_layers - 1)).outputs(tmp_path).items()
    assert (output, spec.level, spec.axes, spec.dim, spec.hop_s) == (
        "hidden", "frame", ("layer", "frame", "dim"), dim, 0.02
    )  # fmt: skip
    with pytest.raises(InvalidField, match=f"asks for layer {n_layers}, but the checkpoint has layers 0 to"):
        SpeechEncoder("w", layers=(n_layers,)).outputs(tmp_path)


def test_a_network_that_hears_at_another_rate_is_refused(large: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(large, tmp_path / "telephone")
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"sampling_rate": 8_000}))
    with pytest.raises(InvalidField, match="are of a network that hears at 8000 Hz, but clips have 16000 Hz"):
        SpeechEncoder("w").load("cpu", folder)


def test_a_checkpoint_of_text_is_refused(tmp_path: Path) -> None:
    told = "field 'weights' are of a 'bert', but speech encoders are: wav2vec2, hubert, .*, whisper"
    with pytest.raises(InvalidField, match=told):
        SpeechEncoder("w").outputs(write_bert(tmp_path))


def test_absent_weights_and_preprocessors_are_told(large: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(large, tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.bias"]
    weights.pop("masked_spec_embed")  # which nothing here reads
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MalformedSource, match=r"lacks 1 weights .* \(first: encoder.layers.1.attention.q_proj.bias\)"):
        SpeechEncoder("w").load("cpu", folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(MalformedSource, match=r"needs preprocessor_config\.json, which says how sound is prepared"):
        SpeechEncoder("w").load("cpu", folder)


@pytest.mark.parametrize(("window_s", "context_s"), [(2.0, 1.0), (2.0, -0.1), (0.0, 0.0)])
def test_windows_need_a_middle(window_s: float, context_s: float) -> None:
    with pytest.raises(InvalidField, match=r"'context_s' is .* must be at least 0 and less than half of window_s"):
        SpeechEncoder("w", window_s=window_s, context_s=context_s)


def test_whisper_hears_no_longer_window_than_it_has(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path, "whisper", max_source_positions=50)
    assert hidden(folder, noise(3.0), context_s=0.2).shape == (3, 150, 16)
    for ask in (SpeechEncoder("w").outputs, lambda folder: SpeechEncoder("w").load("cpu", folder)):
        with pytest.raises(InvalidField, match=r"field 'context_s' is 2\.5, 125 frames .*, but a window has 50: none"):
            ask(folder)


@pytest.mark.parametrize("architecture", ["wav2vec2-large", "whisper"])
def test_windows_of_no_frame_or_of_context_alone_are_refused_before_anything_is_heard(
    architecture: str, tmp_path: Path
) -> None:
    """Fields that pass for seconds may be too small in whole frames."""
    folder = write_speech_encoder(tmp_path, architecture)
    no_frame = r"field 'window_s' is 0\.01, but one frame of this network lasts 0\.02 s"
    no_middle = (
        r"field 'context_s' is 0\.02, 1 frames of 0\.02 s on either side, but a window has 2: "
        "none of them would be kept"
    )
    for window_s, context_s, told in ((0.01, 0.0, no_frame), (0.05, 0.02, no_middle)):
        plugin = SpeechEncoder("w", window_s=window_s, context_s=context_s)
        for ask in (plugin.outputs, lambda folder, plugin=plugin: plugin.load("cpu", folder)):
            with pytest.raises(InvalidField, match=told):
                ask(folder)
    assert hidden(folder, noise(0.1), window_s=0.03, context_s=0.01).shape[1] in (4, 5), "context of no whole frame"


def test_whisper_hears_nothing_beyond_its_window(tmp_path: Path) -> None:
    """It hears 30 s whatever is asked; what lies behind `window_s` is silence to it."""
    folder = write_speech_encoder(tmp_path, "whisper")
    wave = noise(3.0)
    wave[:16_000] *= 3  # what is loudest stays
    other = wave.copy()
    other[16_400:] = noise(3.0, 1)[16_400:]
    one, two = (hidden(folder, clip, window_s=1.0, context_s=0.2) for clip in (wave, other))
    assert np.array_equal(one[:, :30], two[:, :30]) and not np.allclose(one[:, 60:], two[:, 60:], atol=1e-3)
    alone = hidden(folder, wave[:16_000])
    np.testing.assert_allclose(one[:, :30], alone[:, :30], atol=0.02)
