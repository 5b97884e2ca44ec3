from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch
from tokenizers import processors

from features.placed import record
from models import onnx_graph
from models.batch import Batch
from models.checkpoint import load
from models.export import named_batch
from models.network import Network
from models.onnx_graph import IDS, LENGTH, MASK, ONNX, TOKENIZERS, to_onnx
from models.plugin import wave_roles
from tests.features.tiny_speech import ARCHITECTURES as OF_SOUND
from tests.features.tiny_speech import write_speech_encoder
from tests.features.tiny_text import ARCHITECTURES as OF_TEXT
from tests.features.tiny_text import write_text_encoder
from tests.models.tiny_lake import CLASSES, TinyLake, batch_of, fitted, order
from warehouse import Artifact
from warehouse.errors import InvalidField

LONG = ("pooled", "mult", "multilevel", "cross_attention", "mced")  # to be drawn as a graph: up to ten seconds each
STORED = {
    "linear": {}, "pooled": {"pooling": "statistics"}, "mult": {}, "multilevel": {}, "mced": {},
    "cross_attention": {"trained": False}, "mmer": {"modalities": "text"},
}  # fmt: skip
"""The students that read nothing but stored features."""

TEXTS = ("how dare you leave me", "", "what a lovely day we won the prize thank you " * 9, "Nobody, CAME!\n", "home")
"""None, one that is cut, words that the tokenizer does not know, and others."""

N_SAMPLES = (1, 399, 400, 401, 719, 720, 1999, 5213, 16_000)
"""One frame of the encoders has 400, two have 720."""


def of(lake: TinyLake, name: str, fields: Mapping[str, Any] | None = None) -> Artifact:
    changes = {"epochs": 1}
    return fitted(lake, order(lake, name, fields=STORED.get(name, {}) if fields is None else fields, fit=changes))


def drawn(folder: Path, target: Path) -> onnxruntime.InferenceSession:
    """The graph of a checkpoint, whose inputs are what it says, and their sizes as open. It names no place here."""
    inputs = to_onnx(folder, target)
    assert str(Path(onnx_graph.__file__).parent).encode() not in (target / ONNX).read_bytes()
    session = onnxruntime.InferenceSession(target / ONNX)
    assert [(one.name, tuple(one.shape)) for one in session.get_inputs()] == [(i.name, i.shape) for i in inputs]
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == list(CLASSES)
    assert json.loads(said["inputs"]) == [one._asdict() | {"shape": list(one.shape)} for one in inputs]
    return session


def given(session: Any, target: Path, card: Any, batch: Batch) -> dict[str, np.ndarray]:
    """What a graph is given, made with nothing but what lies beside it."""
    found = {}
    for role in card.student.inputs:
        if role in wave_roles(card.student):
            found[role] = batch.arrays[role][..., 0].numpy()
        elif role in batch.arrays:
            found[role] = batch.arrays[role].numpy()
            found |= {role + LENGTH: batch.lengths[role].numpy()} if role in batch.lengths else {}
        else:
            tokenizer = tokenizers.Tokenizer.from_file(str(target / TOKENIZERS / role / "tokenizer.json"))
            read = tokenizer.encode_batch(list(batch.texts[role]))
            found[role + IDS] = np.array([text.ids for text in read])
            found[role + MASK] = np.array([text.attention_mask for text in read])
    assert {one.name for one in session.get_inputs()} == found.keys()
    return found


def assert_same(session: Any, target: Path, card: Any, network: Network,
                batches: Sequence[Batch]) -> None:  # fmt: skip
    """The graph answers what the network does: to 1e-4, and to a hundredth of what answers differ by."""
    found, wanted = [], []
    for batch in batches:
        found += session.run(None, given(session, target, card, batch))
        with torch.inference_mode():
            wanted.append(network(batch).numpy())
    answers, expected = np.concatenate(found), np.concatenate(wanted)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(answers - expected).max() < np.ptp(expected, axis=0).max() / 100


def utterances(card: Any) -> list[Batch]:
    """For each of N_SAMPLES a batch of one where the student hears; otherwise all TEXTS, and some alone."""
    generator = torch.Generator().manual_seed(0)
    if not any(role in wave_roles(card.student) for role in card.student.inputs):
        return [named_batch({}, {}, {"text": texts}) for texts in (TEXTS, TEXTS[:1], TEXTS[1:2], TEXTS[2:3])]
    found = []
    for number, n in enumerate(N_SAMPLES):
        pitch = torch.sin(torch.arange(n) * (0.1 + 0.2 * number)) + 0.1 * torch.randn(n, generator=generator)
        arrays, lengths = {"wave": 0.3 * pitch[None, :, None]}, {"wave": torch.tensor([n])}
        if "text_states" in card.student.inputs:
            shape = card.shapes["text_states"]
            arrays["text_states"] = torch.randn(1, *shape[:-2], number + 1, shape[-1], generator=generator)
            lengths["text_states"] = torch.tensor([number // 2 + 1])
        texts = {"text": [TEXTS[number % len(TEXTS)]]} if "text" in card.student.inputs else {}
        found.append(named_batch(arrays, lengths, texts))
    return found


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
def test_a_graph_gives_the_logits_of_the_network(lake: TinyLake, tmp_path: Path, name: str) -> None:
    folder = of(lake, name).folder
    session = drawn(folder, tmp_path)
    card, network = load(folder)
    whole = batch_of(lake, card.student.inputs)
    shapes = ((slice(0, 24), 1000), (slice(3, 5), 4), (slice(5, 6), 1000), (slice(6, 7), 1))
    assert_same(session, tmp_path, card, network, [cut(whole, rows, n_steps) for rows, n_steps in shapes])


HEARING_OR_READING = [
    ("cmd", {}), ("cmd", {"fusion": "late", "kernel": 3}), ("cmd", {"modalities": "audio"}),
    ("cmd", {"modalities": "text"}), ("mmer", {}), ("mmer", {"fusion": "concatenation"}),
    ("mmer", {"text_attention": True, "projections": True}), ("mmer", {"modalities": "audio", "cut_s": 0.1}),
    ("cross_attention", {}), ("cross_attention", {"modalities": "audio", "lstm": 3}),
    ("cross_attention", {"modalities": "text"}), ("text_encoder", {}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fields"), HEARING_OR_READING)
def test_a_graph_that_hears_or_reads_gives_the_logits_of_the_network(
    lake: TinyLake, tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    folder = of(lake, name, fields).folder
    card, network = load(folder)
    assert_same(drawn(folder, tmp_path), tmp_path, card, network, utterances(card))


def test_what_is_drawn_answers_as_the_network_does(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a graph is drawn of, asked without being drawn, which takes seconds: its inputs, the tokenizer beside it."""
    monkeypatch.setattr(torch.onnx, "export", lambda module, *_, kwargs, **more: Undrawn(module, kwargs["given"]))
    for number, (name, fields) in enumerate([("cmd", {}), ("mmer", {}), ("cross_attention", {}), ("text_encoder", {})]):
        folder, target = of(lake, name, fields).folder, tmp_path / str(number)
        to_onnx(folder, target)
        card, network = load(folder)
        assert_same(Undrawn.last, target, card, network, utterances(card))


class Undrawn:
    """The network that was to be drawn, asked like a session of onnxruntime."""

    last: Undrawn

    def __init__(self, module: torch.nn.Module, example: Mapping[str, torch.Tensor]) -> None:
        self.module, self.example, self.model = module, example, self
        self.metadata_props: dict[str, str] = {}
        self.graph = SimpleNamespace(all_nodes=list)

    def save(self, path: Path) -> None:
        Undrawn.last = self

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.example]

    def run(self, names: None, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return [self.module({name: torch.from_numpy(array) for name, array in given.items()}).numpy()]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [name for name in OF_SOUND if name != "whisper"])
def test_whatever_encoder_of_sound_is_inside(lake: TinyLake, tmp_path: Path, architecture: str) -> None:
    placed = with_encoder(lake, "audio", write_speech_encoder(tmp_path / "placed", architecture))
    folder = fitted(placed, order(placed, "mmer", fields={"modalities": "audio"}, fit={"epochs": 1})).folder
    card, network = load(folder)
    assert_same(drawn(folder, tmp_path), tmp_path, card, network, utterances(card))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OF_TEXT)
@pytest.mark.parametrize("name", ["cmd", "cross_attention"])
def test_whatever_encoder_of_text_is_inside(lake: TinyLake, tmp_path: Path, architecture: str, name: str) -> None:
    placed = with_encoder(lake, "text", write_text_encoder(tmp_path / "placed", architecture, "Model"))
    fields = {"modalities": "text"}
    folder = fitted(placed, order(placed, name, fields=fields, fit={"epochs": 1})).folder
    card, network = load(folder)
    assert_same(drawn(folder, tmp_path), tmp_path, card, network, utterances(card))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OF_TEXT)
def test_whatever_a_text_encoder_began_with(lake: TinyLake, tmp_path: Path, architecture: str) -> None:
    begun = record(lake.warehouse, write_text_encoder(tmp_path / "placed", architecture))
    weights = lake.weights | {begun.digest: tmp_path / "placed"}
    placed = replace(lake, weights=weights)
    folder = fitted(placed, order(placed, "text_encoder", init=begun.digest, fit={"epochs": 1})).folder
    card, network = load(folder)
    assert_same(drawn(folder, tmp_path), tmp_path, card, network, utterances(card))


def with_encoder(lake: TinyLake, slot: str, folder: Path) -> TinyLake:
    """The same lake, of which one slot is filled with another encoder."""
    digest = record(lake.warehouse, folder).digest
    return replace(lake, encoders=lake.encoders | {slot: digest}, weights=lake.weights | {digest: folder})


def test_a_checkpoint_without_classes_has_no_graph(lake: TinyLake, tmp_path: Path) -> None:
    wanted = order(lake, "text_encoder", fields={"task": "mlm"}, objective={"mlm": 1.0}, classes=(), fit={"epochs": 1})
    with pytest.raises(InvalidField, match="'to' is 'onnx', but this checkpoint tells no classes apart"):
        to_onnx(fitted(lake, wanted).folder, tmp_path)


def test_types_of_tokens_are_not_dropped_in_silence(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = of(lake, "text_encoder", {}).folder
    card, network = load(folder)
    backend = network.tokenizer.backend_tokenizer
    special = [("[CLS]", 2), ("[SEP]", 3)]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A:1 [SEP]:1", special_tokens=special)
    monkeypatch.setattr(onnx_graph.checkpoint, "load", lambda folder: (card, network))
    with pytest.raises(InvalidField, match="but its tokenizer gives types to tokens, and the graph reads none: take"):
        to_onnx(folder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_network_that_torch_cannot_draw_is_named(
    lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*given: Any, **settings: Any) -> None:
        raise torch.onnx.OnnxExporterError("no decomposition")

    monkeypatch.setattr(torch.onnx, "export", draw)
    with pytest.raises(InvalidField, match="but torch draws no graph of a network that is inside: take 'transformers'"):
        to_onnx(of(lake, "linear").folder, tmp_path)


def test_what_onnx_needs_is_named(lake: TinyLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidField, match=r"needs packages that are not installed: pip install 'emolake\[export\]'"):
        to_onnx(of(lake, "linear").folder, tmp_path)
