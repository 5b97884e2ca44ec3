from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from models.encoders import PlacedEncoder, describe
from models.networks.encoder_blocks import SentenceEncoder, SpeechEncoder, SpeechFrontEnd
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import ARCHITECTURES, write_speech_encoder
from tests.features.tiny_text import ARCHITECTURES as OF_TEXT
from tests.features.tiny_text import write_text_encoder
from tests.sparing import first
from warehouse.errors import MalformedSource

N_SAMPLES = (8000, 400, 5213, 399, 16000)
TEXTS = ("i am so happy", "you are angry today !", "sad")


def _waves() -> tuple[torch.Tensor, torch.Tensor]:
    """Padded with noise: what stands behind a clip must not be heard."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(N_SAMPLES), max(N_SAMPLES), 1, generator=generator) * 0.1, torch.tensor(N_SAMPLES)


@pytest.mark.parametrize("architecture", first(3, [name for name in ARCHITECTURES if name != "whisper"]))
def test_states_of_sound_are_those_of_the_whole_network_alone(tmp_path: Path, architecture: str) -> None:
    folder = write_speech_encoder(tmp_path / "checkpoint", architecture)
    encoder = SpeechEncoder(folder, "all").eval()
    whole = transformers.AutoModel.from_pretrained(folder).eval()
    prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
    waves, lengths = _waves()
    with torch.inference_mode():
        hidden, mask = encoder(waves, lengths)
        for row, valid, wave, n in zip(hidden, mask, waves, N_SAMPLES, strict=True):
            clip = wave[: max(n, 400), 0].clone()
            clip[n:] = 0
            if n >= 400:
                inputs = prepare(clip.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
                expected = whole(inputs).last_hidden_state[0]
                torch.testing.assert_close(row[valid], expected, rtol=1e-4, atol=1e-5)
            assert not row[~valid].any()
    assert mask.sum(1).tolist() == [24, 1, 16, 1, 49]


def test_what_is_frozen_has_no_gradient_and_no_dropout(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "checkpoint", "wav2vec2", hidden_dropout=0.5, activation_dropout=0.5)
    waves, lengths = _waves()
    learning = {}
    for trained in ("all", "context", "none"):
        encoder = SpeechEncoder(folder, trained).train()
        hidden, _ = encoder(waves, lengths)
        if trained == "none":
            assert not hidden.requires_grad
            assert hidden.equal(encoder(waves, lengths)[0])
        else:
            hidden.square().sum().backward()
            assert not hidden.equal(encoder(waves, lengths)[0])
        learning[trained] = {name.split(".")[0] + "." + name.split(".")[1] for name, p in encoder.named_parameters()
                             if p.grad is not None}  # fmt: skip
    assert learning["none"] == set()
    assert "front.convolutions" in learning["all"] and "front.convolutions" not in learning["context"]
    assert learning["all"] - learning["context"] == {"front.convolutions"}


def test_the_front_end_is_what_the_transformer_is_given(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "checkpoint", "wav2vec2")
    front = SpeechFrontEnd(folder).eval()
    whole = transformers.AutoModel.from_pretrained(folder, output_hidden_states=True).eval()
    waves, lengths = _waves()
    given = []
    whole.encoder.register_forward_pre_hook(lambda module, args: given.append(args[0].clone()))
    with torch.inference_mode():
        frames, mask = front(waves, lengths)
        whole(waves[:1, :8000, 0])
    torch.testing.assert_close(frames[0][mask[0]], given[0][0], rtol=1e-4, atol=1e-5)
    assert front.dim == 16


def test_what_hears_no_waves_is_refused(tmp_path: Path) -> None:
    whisper = write_speech_encoder(tmp_path / "whisper", "whisper")
    with pytest.raises(MalformedSource, match="is a 'whisper', which hears no waves: give the student its stored"):
        SpeechEncoder(whisper, "all")
    sound = write_speech_encoder(tmp_path / "sound", "hubert")
    (sound / "preprocessor_config.json").unlink()
    with pytest.raises(MalformedSource, match=r"needs preprocessor_config\.json, which says how sound is prepared"):
        SpeechEncoder(sound, "all")


@pytest.mark.parametrize("architecture", ["bert", *OF_TEXT])
def test_states_of_text_are_those_of_the_text_alone(tmp_path: Path, architecture: str) -> None:
    folder = tmp_path / "checkpoint"
    if architecture == "bert":
        write_bert(folder, "BertModel")
    else:
        write_text_encoder(folder, architecture, "Model")
    encoder = SentenceEncoder(folder, trained=True, max_tokens=8).eval()
    with torch.inference_mode():
        hidden, mask = encoder(TEXTS)
        for row, valid, text in zip(hidden, mask, TEXTS, strict=True):
            alone, all_valid = encoder([text])
            assert all_valid.all()
            torch.testing.assert_close(row[valid], alone[0], rtol=1e-4, atol=1e-5)
            assert not row[~valid].any()
    assert mask.shape[1] <= 8
    encoder.train()(TEXTS)[0].sum().backward()
    assert all(parameter.grad is not None for name, parameter in encoder.named_parameters() if "embeddings" in name)


def test_frozen_text_learns_nothing(tmp_path: Path) -> None:
    encoder = SentenceEncoder(write_bert(tmp_path / "bert", "BertModel"), trained=False, max_tokens=8).train()
    hidden, _ = encoder(TEXTS)
    assert not hidden.requires_grad and hidden.equal(encoder(TEXTS)[0])


def test_without_weights_they_are_built_as_described(tmp_path: Path) -> None:
    for source, build in (
        (write_bert(tmp_path / "bert", "BertModel"), lambda folder: SentenceEncoder(folder, True, 8)),
        (write_speech_encoder(tmp_path / "sound", "wav2vec2"), lambda folder: SpeechEncoder(folder, "context")),
    ):
        described = tmp_path / f"{source.name}-described"
        describe(PlacedEncoder(source, tuple(path.name for path in source.iterdir())), described)
        one, other = build(source), build(described)
        other.load_state_dict(one.state_dict())
        assert all(mine.equal(theirs) for mine, theirs in zip(one.parameters(), other.parameters(), strict=True))


def test_sound_is_prepared_as_the_library_reads_it(tmp_path: Path) -> None:
    folder = write_speech_encoder(tmp_path / "checkpoint", "wav2vec2")
    path = folder / "preprocessor_config.json"
    said = json.loads(path.read_text())
    assert not SpeechFrontEnd(folder).normalises
    path.write_text(json.dumps({name: value for name, value in said.items() if name != "do_normalize"}))
    assert SpeechFrontEnd(folder).normalises, "what it does where nothing is said"
    path.write_text(json.dumps(said | {"sampling_rate": 8000}))
    with pytest.raises(MalformedSource, match="hears at 8000 Hz, but waves have 16000 Hz"):
        SpeechFrontEnd(folder)


@pytest.mark.parametrize(("architecture", "n_positions"), [("roberta", 38), ("mpnet", 38), ("electra", 512)])
def test_a_text_longer_than_the_positions_loses_its_end(tmp_path: Path, architecture: str, n_positions: int) -> None:
    folder = write_text_encoder(tmp_path / "checkpoint", architecture, "Model")
    encoder = SentenceEncoder(folder, trained=False, max_tokens=1000)
    with torch.inference_mode():
        hidden, _ = encoder(["happy sad angry " * 200])
    assert hidden.shape[1] == encoder.max_tokens == n_positions


def test_a_conformer_learns_from_clips_of_one_frame(tmp_path: Path) -> None:
    encoder = SpeechEncoder(write_speech_encoder(tmp_path / "checkpoint", "conformer"), "context").train()
    waves, lengths = _waves()
    before = {name: value.clone() for name, value in encoder.named_buffers() if "running" in name}
    encoder(waves, lengths)[0].sum().backward()
    assert before and all(value.equal(before[name]) for name, value in encoder.named_buffers() if name in before)
