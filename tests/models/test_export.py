from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from models import export
from models.checkpoint import load
from models.encoders import load_encoder
from models.export import to_transformers
from models.networks.recurrent import MaskedBiLstm
from tests.models.tiny_lake import CLASSES, TinyLake, batch_of, fitted, order
from warehouse.errors import InvalidField


@pytest.mark.parametrize("name", ["cmd", "mmer", "cross_attention", "mced"])
def test_a_folder_for_transformers_gives_the_logits_of_the_network(lake: TinyLake, tmp_path: Path, name: str) -> None:
    folder = fitted(lake, order(lake, name, fit={"epochs": 1})).folder
    to_transformers(folder, tmp_path / "out")
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert list(loaded.config.id2label.values()) == list(CLASSES)
    card, network = load(folder)
    batch = batch_of(lake, card.student.inputs)
    with torch.inference_mode():
        wanted = network(batch)
        torch.testing.assert_close(loaded(batch.arrays, batch.lengths, batch.texts).logits, wanted, rtol=0, atol=1e-4)
        loaded.save_pretrained(tmp_path / "again")
        again = transformers.AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "again", trust_remote_code=True
        )
        torch.testing.assert_close(again(batch.arrays, batch.lengths, batch.texts).logits, wanted, rtol=0, atol=1e-4)


def test_whole_encoders_load_without_this_package(
    lake: TinyLake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = fitted(lake, order(lake, "cross_attention", fit={"epochs": 1})).folder
    transformers.utils.logging.enable_progress_bar()
    capfd.readouterr()
    to_transformers(folder, tmp_path)
    assert capfd.readouterr() == ("", "")  # transformers would show bars
    _, network = load(folder)
    batch = batch_of(lake, ("wave", "text"))
    with torch.inference_mode():
        sound = transformers.AutoModel.from_pretrained(tmp_path / "encoders" / "audio").eval()
        wave = batch.arrays["wave"][:1, : int(batch.lengths["wave"][0]), 0]
        prepare = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "encoders" / "audio")
        given = prepare(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        own, mask = network.audio_encoder(batch.arrays["wave"][:1], batch.lengths["wave"][:1])
        torch.testing.assert_close(sound(given).last_hidden_state[0], own[0][mask[0]], rtol=1e-4, atol=1e-4)
        words = transformers.AutoModel.from_pretrained(tmp_path / "encoders" / "text", add_pooling_layer=False).eval()
        read = transformers.AutoTokenizer.from_pretrained(tmp_path / "encoders" / "text")
        own, mask = network.text_encoder(batch.texts["text"][:1])
        tokens = read([batch.texts["text"][0]], return_tensors="pt")
        torch.testing.assert_close(words(**tokens).last_hidden_state[0], own[0][mask[0]], rtol=1e-4, atol=1e-4)


def test_an_encoder_of_which_the_student_has_not_all_is_not_given_as_a_whole(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fitted(lake, order(lake, "cross_attention", fit={"epochs": 1})).folder

    def with_an_adapter(folder: Path) -> torch.nn.Module:
        network = load_encoder(folder)
        network.adapter = torch.nn.Linear(2, 2)
        return network

    monkeypatch.setattr(export, "load_encoder", with_an_adapter)
    with pytest.raises(InvalidField, match=r"has weights that the student has not \(adapter.weight, …\)"):
        to_transformers(folder, tmp_path)


def test_a_student_that_is_one_network_of_transformers_needs_nothing_else(lake: TinyLake, tmp_path: Path) -> None:
    folder = fitted(lake, order(lake, "text_encoder", fit={"epochs": 1})).folder
    to_transformers(folder, tmp_path)
    assert not list(tmp_path.glob("*.py"))
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    read = transformers.AutoTokenizer.from_pretrained(tmp_path)
    _, network = load(folder)
    batch = batch_of(lake, ("text",))
    with torch.inference_mode():
        logits = loaded(**read(list(batch.texts["text"]), padding=True, return_tensors="pt")).logits
        torch.testing.assert_close(logits, network(batch), rtol=0, atol=1e-4)


def test_a_lstm_without_packing_gives_what_packing_gives() -> None:
    torch.manual_seed(0)
    layer, x = MaskedBiLstm(3, 4).eval(), torch.randn(4, 6, 3)
    lengths = torch.tensor([6, 1, 4, 0])
    with torch.inference_mode():
        torch.testing.assert_close(layer.unpacked(x, lengths), layer(x, lengths), rtol=1e-5, atol=1e-6)
