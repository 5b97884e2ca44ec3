from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForMaskedLM, BertTokenizer

from models.checkpoint import load
from models.networks import text_encoder
from models.networks.text_encoder import TextNetwork
from models.orders import build_student, predict_request
from models.wordpiece import SPECIAL
from tests.features.tiny_text import ARCHITECTURES, write_text_encoder
from tests.models.tiny_lake import CLASSES, FIELDS, TinyLake, batch_of, fitted, order, predictions
from warehouse import Artifact
from warehouse.errors import InvalidField, NothingLoaded, ShapeDiffers


@pytest.fixture(scope="module")
def pretrained(lake: TinyLake) -> Artifact:
    return fitted(lake, order(lake, "text_encoder", fields={"task": "mlm"}, objective={"mlm": 1.0}, classes=()))


def _module(classes: tuple[str, ...] = CLASSES, init: Path | None = None, **fields: Any) -> TextNetwork:
    student = build_student("students.text_encoder", 1, FIELDS["text_encoder"] | fields)
    network = student.module({"text": ()}, classes, init)
    assert isinstance(network, TextNetwork)
    return network


def test_a_teacher_is_pre_trained_then_fine_tuned_and_reads_emotion(lake: TinyLake, pretrained: Artifact) -> None:
    tuned = fitted(lake, order(lake, "text_encoder", init=pretrained.digest, fit={"epochs": 15, "learning_rate": 0.01}))
    fields = {"task": "classify"}
    request = predict_request("text_encoder", fields, tuned.digest, shards=lake.shards, split=lake.split)
    rows = predictions(lake, request)
    assert sum(row["label"] == row["predicted"] for row in rows) / len(rows) > 0.8
    fresh = json.loads(tuned.path("student.json").read_bytes())["fresh"]
    assert set(fresh) == {
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias",
    }  # fmt: skip


def test_its_checkpoint_is_a_folder_that_transformers_reads(lake: TinyLake) -> None:
    artifact = fitted(lake, order(lake, "text_encoder"))
    assert artifact.files.keys() == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "student.json", "history.csv",
    }  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(artifact.folder)
    tokenizer = AutoTokenizer.from_pretrained(artifact.folder)
    assert tuple(model.config.id2label.values()) == CLASSES
    batch = batch_of(lake, ["text"])
    tokens = tokenizer(list(batch.texts["text"]), padding=True, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(**tokens).logits, load(artifact.folder)[1](batch))


def test_nothing_of_this_machine_is_in_the_checkpoint(lake: TinyLake, pretrained: Artifact) -> None:
    tuned = fitted(lake, order(lake, "text_encoder", init=pretrained.digest))
    for artifact in (pretrained, tuned):
        for name in artifact.files:
            assert str(lake.warehouse.root).encode() not in artifact.path(name).read_bytes(), name


def test_a_checkpoint_made_elsewhere_is_a_beginning_too(lake: TinyLake, tmp_path: Path) -> None:
    words = [*SPECIAL, *{word for text in batch_of(lake, ["text"]).texts["text"] for word in text.split()}]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=6,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    model.save_pretrained(tmp_path)
    network = _module(init=tmp_path)
    assert network.model.config.hidden_size == 8  # its size, not the student's
    weights = network.model.bert.embeddings.word_embeddings.weight
    assert torch.equal(weights, model.bert.embeddings.word_embeddings.weight)
    assert network(batch_of(lake, ["text"])).shape == (24, 3)  # longer texts are cut to what it can read


def test_a_checkpoint_that_counts_its_positions_as_roberta_does_loses_two_of_them(
    lake: TinyLake, tmp_path: Path
) -> None:  # fmt: skip
    network = _module(init=write_text_encoder(tmp_path / "roberta", "roberta", "ForMaskedLM"), max_tokens=1000)
    few = batch_of(lake, ["text"])
    long = replace(few, texts={"text": tuple(f"{text} " * 200 for text in few.texts["text"])})
    assert network(long).shape == (24, 3)
    assert network.max_tokens == network.model.config.max_position_embeddings - 2


def test_a_checkpoint_without_a_table_of_positions_is_cut_where_its_config_says(lake: TinyLake, tmp_path: Path) -> None:
    network = _module(init=write_text_encoder(tmp_path / "deberta", "deberta"), max_tokens=1000)
    assert network.max_tokens == network.model.config.max_position_embeddings == 512


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_is_loaded_as_the_family_that_it_began_with(
    lake: TinyLake, tmp_path: Path, architecture: str
) -> None:
    network = _module(init=write_text_encoder(tmp_path / "placed", architecture)).eval()
    network.save(tmp_path)
    again = _module()
    again.load(tmp_path)
    batch = batch_of(lake, ["text"])
    with torch.inference_mode():
        assert torch.equal(again.eval()(batch), network(batch))


@pytest.mark.parametrize(("classes", "same"), [(CLASSES, True), (CLASSES[::-1], False), (CLASSES[:2], False)])
def test_a_classifier_stays_only_where_the_classes_are_the_same(
    lake: TinyLake, classes: tuple[str, ...], same: bool
) -> None:
    folder = fitted(lake, order(lake, "text_encoder")).folder
    before, after = load(folder)[1], _module(classes, folder)
    assert after.fresh == (() if same else ("classifier.weight", "classifier.bias"))
    assert tuple(after.model.config.id2label.values()) == classes
    for name, weight in before.model.bert.state_dict().items():
        assert weight.equal(after.model.bert.state_dict()[name]), name
    assert torch.equal(before.model.classifier.weight, after.model.classifier.weight) == same


def test_masks_follow_the_published_proportions() -> None:
    network = _module((), task="mlm", mask_fraction=0.15)
    network.tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate([*SPECIAL, *map(str, range(995))])})
    torch.manual_seed(0)
    tokens = torch.full((200, 100), 50)
    special = torch.zeros(200, 100, dtype=torch.bool)
    special[:, 0] = True
    shown, wanted = network.train()._masked([""] * 200, tokens, special)
    guessed = wanted != -100
    assert not guessed[:, 0].any()
    assert (wanted[guessed] == 50).all()
    assert shown[~guessed].eq(50).all()
    assert guessed.float().mean().item() == pytest.approx(0.15 * 0.99, abs=0.01)
    assert (shown[guessed] == network.tokenizer.mask_token_id).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (shown[guessed] == 50).float().mean().item() == pytest.approx(0.1, abs=0.03)


def test_outside_training_an_utterance_decides_its_own_masks(lake: TinyLake, pretrained: Artifact) -> None:
    network = load(pretrained.folder)[1]
    batch = batch_of(lake, ["text"])
    first = network.losses(batch, ["mlm"])["mlm"]
    assert first.equal(network.losses(batch, ["mlm"])["mlm"])
    special = torch.zeros(2, 30, dtype=torch.bool)
    tokens = torch.arange(30).repeat(2, 1) + 5
    _, long = network._masked(["a", "b"], tokens, special)  # type: ignore[operator]
    _, short = network._masked(["b"], tokens[:1, :9], special[:1, :9])  # type: ignore[operator]
    assert long[1, :9].equal(short[0])
    assert not long[0].equal(long[1])


def test_vocabulary_and_weights_are_the_same_at_every_run(lake: TinyLake) -> None:
    batch = batch_of(lake, ["text"])
    vocabularies = []
    for _ in range(3):
        network = _module()
        network.prepare([batch])
        vocabularies.append(network.tokenizer.get_vocab())
    assert vocabularies[0] == vocabularies[1] == vocabularies[2]
    assert len(vocabularies[0]) <= 150


def test_mistakes(lake: TinyLake, pretrained: Artifact) -> None:
    with pytest.raises(ShapeDiffers, match=re.escape("'text' has shape (9,), but this student reads text")):
        build_student("students.text_encoder", 1, {"task": "mlm"}).module({"text": (9,)}, (), None)
    for task, classes in (("mlm", CLASSES), ("classify", ())):
        with pytest.raises(InvalidField, match=f"field 'task' is '{task}', but {len(classes)} classes are given"):
            _module(classes, task=task)
    with pytest.raises(InvalidField, match="is 'classify', whose one term is 'label', but the objective has: mlm"):
        _module().losses(batch_of(lake, ["text"]), ["mlm"])
    with pytest.raises(NothingLoaded, match=r"no weight of the checkpoint .* fits 'students.text_encoder'"):
        _module(init=fitted(lake, order(lake, "linear")).folder)


def test_a_checkpoint_of_another_family_fits_nowhere(pretrained: Artifact, tmp_path: Path) -> None:
    for name in pretrained.files:
        (tmp_path / name).write_bytes(pretrained.path(name).read_bytes())
    save_file({"unrelated": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for task, classes in (("mlm", ()), ("classify", CLASSES), ("classify", ("LABEL_0", "LABEL_1"))):
        with pytest.raises(NothingLoaded, match="no weight of the checkpoint"):
            _module(classes, tmp_path, task=task)


def test_a_full_disk_is_told_as_python_tells_it(
    lake: TinyLake, pretrained: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = load(pretrained.folder)[1]
    for sentence, error in (("No space left on device", OSError), ("header too large", text_encoder.SafetensorError)):

        def fail(*_: Any, sentence: str = sentence, **__: Any) -> None:
            raise text_encoder.SafetensorError(f"Error while serializing: I/O error: {sentence} (os error 28)")

        monkeypatch.setattr(network.model, "save_pretrained", fail)
        with pytest.raises(error, match=sentence):
            network.save(tmp_path)
