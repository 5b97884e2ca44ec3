"""Explanations as an artifact: what each kind of network tells of a test part whose labels nobody reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models import explaining
from models.checkpoint import load
from models.explain import explain
from models.explaining import FILE, N_BINS, N_SHOWN, layer_weights
from models.orders import EXPLAIN_VERSION, explain_request, predict_request
from models.stream import read_split
from tests.models.tiny_lake import CLASSES, FIELDS, TinyLake, batch_of, fitted, order, predictions, silent, tiny_lake
from warehouse import Artifact, Request
from warehouse.errors import NoClasses, PartEmpty, RoleMissing, VersionDiffers


def _request(lake: TinyLake, student: str, split: str = "", **fields: Any) -> Request:
    checkpoint = fitted(lake, order(lake, student, fit={"epochs": 1}, fields=fields)).digest
    own = FIELDS.get(student, {}) | fields
    return explain_request(student, own, checkpoint, shards=lake.shards, split=split or lake.split)


def _made(lake: TinyLake, request: Request) -> Artifact:
    return lake.warehouse.materialize(request, lambda folder: explaining.write(lake.warehouse, request, folder, silent))


def _told(lake: TinyLake, request: Request) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_made(lake, request).path("explanations.json").read_text(encoding="utf-8"))
    return content


def test_cmd_tells_streams_of_all_and_tokens_and_attention_of_some(lake: TinyLake) -> None:
    request = _request(lake, "cmd")
    content = _told(lake, request)
    tested = read_split(lake.warehouse.resolve(lake.split).path("split.parquet"))["test"]
    assert [row["utterance_id"] for row in content["streams"]] == sorted(tested)
    assert content["classes"] == list(CLASSES) and content["layers"] == {}
    (checkpoint,) = request.inputs["checkpoint"]
    asked = predict_request("cmd", FIELDS["cmd"], checkpoint, shards=lake.shards, split=lake.split, parts=["test"])
    predicted = {row["utterance_id"]: row["predicted"] for row in predictions(lake, asked)}
    assert {row["utterance_id"]: row["told"] for row in content["streams"]} == predicted
    _, network = load(lake.warehouse.resolve(checkpoint).folder)
    batch = batch_of(lake, ("wave", "text"), "test")
    expected = {one.utterance_id: one for one in explain(network, [batch], CLASSES)}  # type: ignore[arg-type]
    for row in content["streams"]:
        one = expected[row["utterance_id"]]
        assert row["gradients"] == pytest.approx(one.streams, rel=1e-2, abs=1e-5) and row["dominant"] == one.dominant
        assert row["n_tokens"] == len(one.tokens)
    assert 0 < len(content["utterances"]) <= N_SHOWN
    for row in content["utterances"]:
        assert row["told"] == predicted[row["utterance_id"]]
        assert tuple(row["tokens"]) == expected[row["utterance_id"]].tokens
        for table in row["attention"]:
            assert table["words"] == ["[CLS]", *row["tokens"], "[SEP]"]
            rows, columns = len(table["weights"]), len(table["weights"][0])
            n_words, n_sound = (columns, rows) if table["asks"] == "sound" else (rows, columns)
            assert n_words == len(table["words"]) and n_sound <= N_BINS
            assert [sum(weights) for weights in table["weights"]] == pytest.approx([1.0] * rows, abs=1e-3)


def test_words_of_stored_states_have_no_names(lake: TinyLake) -> None:
    content = _told(lake, _request(lake, "mult"))
    assert content["streams"] == []
    tables = [table for row in content["utterances"] for table in row["attention"]]
    assert tables and {table["words"] for table in tables} == {None}


def test_stacks_tell_what_their_layers_weigh(lake: TinyLake) -> None:
    request = _request(lake, "multilevel", granularities=["frame"], fusion="late")
    content = _told(lake, request)
    assert content["layers"].keys() == {"frames", "tokens"}
    for weights in content["layers"].values():
        assert len(weights) == 2 and sum(weights) == pytest.approx(1, abs=1e-4)
    (checkpoint,) = request.inputs["checkpoint"]
    _, network = load(lake.warehouse.resolve(checkpoint).folder)
    own: Any = network
    assert layer_weights(network)["frames"] == pytest.approx(
        own.states["frames"].layers.weights.tolist(), rel=1e-4
    )  # fmt: skip


def test_the_same_request_gives_the_same_bytes(lake: TinyLake, tmp_path: Path) -> None:
    other = tiny_lake(tmp_path / "lake")
    assert len({_made(one, _request(one, "cmd")).digest for one in (lake, other)}) == 1


def test_what_cannot_be_explained(lake: TinyLake, tmp_path: Path) -> None:
    request = _request(lake, "cmd")
    nothing = json.loads(_made(lake, _request(lake, "mced")).path(FILE).read_text(encoding="utf-8"))
    assert (nothing["streams"], nothing["layers"]) == ([], {})
    assert nothing["utterances"] and not any(row["attention"] or row["tokens"] for row in nothing["utterances"])
    with pytest.raises(VersionDiffers, match=f"version 9 of 'models.explaining' is asked .* version {EXPLAIN_VERSION}"):
        _made(lake, replace(request, version=9))
    with pytest.raises(RoleMissing, match=r"'students.cmd' needs shards of 'wave' to explain, but it is given"):
        _made(lake, replace(request, inputs={name: request.inputs[name] for name in ("checkpoint", "split")}))
    learned = tiny_lake(lake.warehouse.root, n_utterances=8, parts=("train",))
    with pytest.raises(PartEmpty, match=r"no utterance in part 'test' \(it has: train\)"):
        _made(lake, _request(lake, "cmd", split=learned.split))
    words = order(lake, "text_encoder", fields={"task": "mlm"}, objective={"mlm": 1.0}, classes=(), fit={"epochs": 1})
    checkpoint, fields = fitted(lake, words).digest, {"task": "classify"}
    with pytest.raises(NoClasses, match=r"'students.text_encoder' knows no classes"):
        _made(lake, explain_request("text_encoder", fields, checkpoint, shards=lake.shards, split=lake.split))
