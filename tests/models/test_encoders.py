from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from features.placed import record
from models.encoders import (
    PlacedEncoder,
    describe,
    initial_folder,
    load_encoder,
    load_tokenizer,
    placed_encoder,
)
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from warehouse import Request, Warehouse
from warehouse.errors import ArtifactNotFound, MalformedSource, MissingFolder, WeightsChanged


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "bert", "BertModel")


def test_a_placed_checkpoint_is_found_by_the_digest_of_its_record(tmp_path: Path, text: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    digest = record(lake, text).digest
    found = placed_encoder(lake, digest, {digest: text})
    assert found.folder == text and {"config.json", "model.safetensors", "tokenizer.json"} <= {*found.files}
    with pytest.raises(ArtifactNotFound, match="f00"):
        placed_encoder(lake, "f00", {"f00": text})
    with pytest.raises(MissingFolder, match=rf"start the job with --weights {digest}=FOLDER"):
        placed_encoder(lake, digest, {})


@pytest.mark.parametrize("change", ["other", "longer", "gone"])
def test_other_weights_than_the_recorded_ones_are_never_loaded(tmp_path: Path, text: Path, change: str) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    digest = record(lake, text).digest
    path = text / "config.json"
    content = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(content + b" " if change == "longer" else content[:-2] + b" }")
    with pytest.raises(WeightsChanged, match=r"config\.json"):
        placed_encoder(lake, digest, {digest: text})


def test_a_fit_begins_with_a_checkpoint_of_the_lake_or_with_a_placed_one(tmp_path: Path, text: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    placed = record(lake, text).digest
    request = Request("checkpoint", "students.made", 1, {}, {})
    fitted = lake.materialize(request, lambda folder: (folder / "weights").write_text("w") and None)

    def folder_of(*digests: str) -> Path | None:
        wanted = Request("checkpoint", "students.made", 2, {}, {"init": digests} if digests else {})
        return initial_folder(lake, wanted, {placed: text})

    assert (folder_of(), folder_of(fitted.digest), folder_of(placed)) == (None, fitted.folder, text)
    with pytest.raises(ArtifactNotFound, match="f00"):
        folder_of("f00")
    (text / "config.json").unlink()
    with pytest.raises(WeightsChanged, match=r"config\.json"):
        folder_of(placed)


def test_a_network_is_read_whole_or_not_at_all(tmp_path: Path, text: Path) -> None:
    network = load_encoder(text, unneeded=("pooler.",))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    sound = write_speech_encoder(tmp_path / "sound", "wav2vec2")
    assert load_encoder(sound).config.model_type == "wav2vec2"
    config = json.loads((sound / "config.json").read_text())
    (sound / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(MalformedSource, match=r"lacks \d+ weights of its network"):
        load_encoder(sound)


def test_what_is_described_without_weights_takes_those_of_the_student(tmp_path: Path, text: Path) -> None:
    (text / "trainer_state.json").write_text("{}")  # whatever else lies there is no part of it
    lake = Warehouse(tmp_path / "lake", create=True)
    digest = record(lake, text).digest
    placed = placed_encoder(lake, digest, {digest: text})
    describe(placed, tmp_path / "described")
    copied = {path.name for path in (tmp_path / "described").iterdir()}
    assert copied == {name for name in placed.files if not name.endswith(".safetensors")}
    assert "trainer_state.json" not in copied
    given, empty = load_encoder(text, unneeded=("pooler.",)), load_encoder(tmp_path / "described")
    empty.load_state_dict(given.state_dict())
    words = "leave me alone"
    tokens = [load_tokenizer(folder)(words, return_tensors="pt") for folder in (text, tmp_path / "described")]
    assert tokens[0]["input_ids"].equal(tokens[1]["input_ids"])
    with torch.inference_mode():
        one, other = (network.eval()(**tokens[0]).last_hidden_state for network in (given, empty))
    assert one.equal(other)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    sound = write_speech_encoder(tmp_path / "sound", "wav2vec2")
    with pytest.raises(MalformedSource, match="needs its tokenizer's files"):
        load_tokenizer(sound)


def test_a_network_that_was_published_in_half_precision_is_built_in_full(tmp_path: Path, text: Path) -> None:
    load_encoder(text, unneeded=("pooler.",)).half().save_pretrained(tmp_path / "half")
    described = tmp_path / "described"
    describe(PlacedEncoder(tmp_path / "half", ("config.json",)), described)
    assert json.loads((described / "config.json").read_text())["dtype"] == "float16"
    for folder in (tmp_path / "half", described):
        network = load_encoder(folder, unneeded=("pooler.",))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_tokenizer_that_knows_no_word_is_refused(text: Path) -> None:
    for path in text.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(MalformedSource, match=r"best a tokenizer\.json \(without, no word is known\)"):
        load_tokenizer(text)


def test_what_is_no_network(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    vectors = tmp_path / "glove"
    vectors.mkdir()
    (vectors / "glove.txt").write_text("word 0.1 0.2\n")
    digest = record(lake, vectors).digest
    with pytest.raises(MalformedSource, match=r"is no encoder: it has no config\.json beside its weights"):
        placed_encoder(lake, digest, {digest: vectors})
    with pytest.raises(MalformedSource, match=r"has no config\.json that describes a network known here"):
        load_encoder(vectors)
