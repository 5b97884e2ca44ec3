from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers

from models import export
from models.batch import Batch
from models.checkpoint import load
from models.encoders import load_encoder
from models.export import LENGTH, ONNX, named_batch, to_onnx, to_transformers
from models.networks.recurrent import MaskedBiLstm
from tests.models.tiny_lake import CLASSES, TinyLake, batch_of, fitted, order
from warehouse import Artifact
from warehouse.errors import InvalidField

LONG = ("mult", "multilevel", "cross_attention", "mced")  # to be drawn as a graph: ten seconds each
STORED = {
    "linear": {}, "pooled": {"pooling": "statistics"}, "mult": {}, "multilevel": {}, "mced": {},
    "cross_attention": {"trained": False},
}  # fmt: skip
"""The students that read nothing but stored features."""


def of(lake: TinyLake, name: str) -> Artifact:
    changes = {"epochs": 1}
    return fitted(lake, order(lake, name, fields=STORED.get(name, {}), fit=changes))


def cut(batch: Batch, rows: slice, n_steps: int) -> Batch:
    """Some rows, of which no more than `n_steps` steps are left and padding of three more than the longest has."""
    arrays, lengths = {}, {}
    for role, array in batch.arrays.items():
        arrays[role] = array[rows]
        if role in batch.lengths:
            lengths[role] = batch.lengths[role][rows].clamp(max=n_steps)
            longest = int(lengths[role].max())
            kept = arrays[role][..., :longest, :].clone()
            for row, n in zip(kept, lengths[role].tolist(), strict=True):
                row[..., n:, :] = 0
            arrays[role] = torch.nn.functional.pad(kept, (0, 0, 0, 3))
    return named_batch(arrays, lengths)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in STORED])
def test_an_onnx_graph_gives_the_logits_of_the_network(lake: TinyLake, tmp_path: Path, name: str) -> None:
    folder = of(lake, name).folder
    to_onnx(folder, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(CLASSES)
    card, network = load(folder)
    whole = batch_of(lake, card.student.inputs)
    names = {*whole.arrays, *(role + LENGTH for role in whole.lengths)}
    assert {one.name for one in session.get_inputs()} == names
    for rows, n_steps in ((slice(0, 24), 1000), (slice(3, 5), 4), (slice(5, 6), 1000), (slice(6, 7), 1)):
        batch = cut(whole, rows, n_steps)
        given = {role: array.numpy() for role, array in batch.arrays.items()}
        given |= {role + LENGTH: length.numpy() for role, length in batch.lengths.items()}
        with torch.inference_mode():
            np.testing.assert_allclose(session.run(None, given)[0], network(batch).numpy(), rtol=1e-4, atol=1e-4)


def test_a_student_with_a_tokenizer_or_a_network_inside_is_no_onnx_graph(lake: TinyLake, tmp_path: Path) -> None:
    for name in ("cmd", "text_encoder"):
        with pytest.raises(InvalidField, match="is 'onnx', but this student has a tokenizer or a pretrained"):
            to_onnx(of(lake, name).folder, tmp_path)


def test_what_onnx_needs_is_named(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidField, match=r"needs packages that are not installed: pip install 'emolake\[export\]'"):
        to_onnx(of(lake, "linear").folder, tmp_path)


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


def test_whole_encoders_load_without_this_package(lake: TinyLake, tmp_path: Path) -> None:
    folder = fitted(lake, order(lake, "cross_attention", fit={"epochs": 1})).folder
    to_transformers(folder, tmp_path)
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
