from __future__ import annotations

import shutil
import sys
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from features.encoding.pretrained import (
    as_stored,
    check_layers,
    device_of,
    load_network,
    read_config,
    read_preprocessor,
    read_tokenizer,
    require_safetensors,
)
from tests.features.tiny_bert import write_bert
from tests.features.tiny_text import write_text_encoder
from warehouse.errors import InvalidField, MalformedSource

SENTENCES = ["i am so happy today", "you are angry today!", "leave me alone now", "nobody came to say goodbye"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt"])
def test_a_pickle_is_refused_with_a_way_out_and_never_opened(bert: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(bert, tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch opened'\ntR.")
    told = rf"holds {name} but no model\.safetensors: a pickle can run any program .*\.save_pretrained\(OTHER_FOLDER\)"
    with pytest.raises(MalformedSource, match=told):
        require_safetensors(folder)
    with pytest.raises(MalformedSource, match=told):
        load_network(folder, "AutoModel", "pooler")


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"holds neither model\.safetensors nor model\.safetensors\.index\.json"):
        require_safetensors(tmp_path)


def test_sharded_weights_are_read(bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    whole = load_network(bert, "AutoModel", r"pooler\.")
    AutoModel.from_pretrained(bert).save_pretrained(tmp_path, max_shard_size="4KB")
    assert not (tmp_path / "model.safetensors").exists()
    shards = load_network(tmp_path, "AutoModel", r"pooler\.")
    assert all(shards.state_dict()[name].equal(value) for name, value in whole.state_dict().items())


def test_half_precision_weights_are_computed_with_in_float32(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "half")
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert {str(value.dtype) for value in load_network(folder, "AutoModel", r"$").parameters()} == {"torch.float32"}


def test_absent_weights_are_told_unless_nothing_reads_them(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    del weights["bert.pooler.dense.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load_network(folder, "AutoModel", r"pooler\.")
    with pytest.raises(MalformedSource, match=r"lacks 1 weights of its network \(first: pooler.dense.bias\)"):
        load_network(folder, "AutoModel", r"$")


def test_a_folder_without_config_or_of_an_unknown_network(tmp_path: Path) -> None:
    with pytest.raises(MalformedSource, match=r"has no config\.json of a network that is known here"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "perceptron1958"}')
    with pytest.raises(MalformedSource, match=r"known here \(.*perceptron1958"):
        read_config(tmp_path)


def test_a_preprocessor_that_is_not_there(tmp_path: Path) -> None:
    shutil.copy(write_bert(tmp_path / "bert") / "config.json", tmp_path)
    with pytest.raises(MalformedSource, match=r"needs preprocessor_config.json \(.*\)$") as told:
        read_preprocessor("AutoFeatureExtractor", tmp_path, "preprocessor_config.json")
    assert "http" not in str(told.value), "nothing is fetched here"


def test_a_tokenizer_of_sentencepiece_alone_is_read(tmp_path: Path) -> None:
    """As DeBERTa-v3 was published: the pieces, and a word on what they are."""
    import sentencepiece

    model = BytesIO()
    marks = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 9), model_writer=model, vocab_size=50, model_type="unigram", num_threads=1,
        minloglevel=2, hard_vocab_limit=False, **marks, **names,
    )  # fmt: skip
    (tmp_path / "spm.model").write_bytes(model.getvalue())
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    tokenizer = read_tokenizer(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    for text in SENTENCES:
        assert tokenizer(text)["input_ids"] == [1, *pieces.encode(text), 2]
    assert tokenizer.is_fast, "so it says where its tokens stand"


def test_pieces_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    write_text_encoder(tmp_path, "deberta")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "spm.model").write_bytes(b"pieces")
    with pytest.raises(MalformedSource, match=r"best a tokenizer\.json: of spm\.model alone none can be made$"):
        read_tokenizer(tmp_path)


def test_an_absent_layer_is_told() -> None:
    check_layers("here", (0, 12), 12)
    with pytest.raises(InvalidField, match=r"here: .* asks for layer 13, but the checkpoint has layers 0 to 12"):
        check_layers("here", (0, 13), 12)


@given(st.lists(st.floats(-65_519, 65_519, width=32), min_size=1))
def test_float16_is_as_near_as_is_said(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    error = np.abs(as_stored(exact, "float16").astype(np.float64) - exact)
    assert (error <= np.maximum(2.0**-11 * np.abs(exact), 2.0**-25)).all()


def test_what_float16_cannot_hold_is_infinite_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(as_stored(np.array([65_520.0, 1.0], np.float32), "float16")).tolist() == [True, False]


def test_a_named_device_is_that_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)  # a plan names the device and needs no torch
        assert device_of("cpu") == "cpu"
    assert device_of("auto") in ("cpu", "cuda", "mps")
