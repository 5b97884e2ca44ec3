from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.batch import Batch
from models.checkpoint import load
from models.students.cross_attention import CrossAttention
from tests.models.parity import tone_and_word, unseen_accuracy
from tests.models.tiny_lake import CLASSES, FIELDS, STATE_DIM, TinyLake, batch_of, fitted, order, tiny_lake
from tests.sparing import first
from warehouse.errors import InvalidField, MissingFolder, ShapeDiffers

SHAPES = {"audio_states": (7, STATE_DIM), "text_states": (1, 3, STATE_DIM), "text": (), "wave": (900, 1)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("cross") / "lake", n_utterances=24)


def _student(**fields: object) -> CrossAttention:
    return CrossAttention(**{**FIELDS["cross_attention"], **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("modalities", "trained", "inputs", "encoders"), first(2, [
    ("both", True, ("wave", "text"), ("audio", "text")),
    ("both", False, ("audio_states", "text_states"), ()),
    ("audio", True, ("wave",), ("audio",)), ("audio", False, ("audio_states",), ()),
    ("text", True, ("text",), ("text",)), ("text", False, ("text_states",), ()),
]))  # fmt: skip
def test_every_variant_is_fitted_and_read_again(
    lake: TinyLake, modalities: str, trained: bool, inputs: tuple[str, ...], encoders: tuple[str, ...]
) -> None:
    fields = {"modalities": modalities, "trained": trained}
    student = _student(**fields)
    assert (student.inputs, student.encoders) == (inputs, encoders)
    checkpoint = fitted(lake, order(lake, "cross_attention", fields=fields, fit={"epochs": 1}))
    card, network = load(checkpoint.folder)
    assert card.student == student
    batch = batch_of(lake, student.inputs)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(batch_of(lake, student.inputs, ids=[one])) for one in batch.ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_statistics_of_both_streams_are_classified_at_the_size_of_the_paper() -> None:
    shapes = {"audio_states": (9, 1024), "text_states": (5, 768)}
    network = CrossAttention(trained=False).module(shapes, CLASSES, None)
    assert network.classify.in_features == 1024
    assert network.audio.lstm.lstm.hidden_size == 128 and network.audio.lstm.lstm.input_size == 256
    assert [block.convolution.kernel_size for block in network.audio.convolutions] == [(3,), (3,)]
    printed = CrossAttention(trained=False, scale="printed").module(shapes, CLASSES, None)
    assert (printed.cma_1.scale, network.cma_1.scale) == (1 / 32, None)


def test_each_stream_asks_the_other_and_both_are_pooled_by_their_statistics() -> None:
    """Equations 1 to 9 of one utterance, block by block: each block is held against its own equation elsewhere."""
    torch.manual_seed(0)
    student = CrossAttention(trained=False, channels=8, heads=2, lstm=4, feed_forward=8, dropout=0.0)
    network = student.module({"audio_states": (9, 5), "text_states": (9, 3)}, CLASSES, None).double().eval()
    audio, text = torch.randn(1, 9, 5).double(), torch.randn(1, 4, 3).double()
    lengths = {"audio_states": torch.tensor([9]), "text_states": torch.tensor([4])}
    arrays = {"audio_states": audio, "text_states": text}
    found = network(Batch(("u",), arrays, lengths, {}, torch.tensor([0])))
    x, n, mask = audio.transpose(1, 2), torch.tensor([9]), torch.ones(1, 9, dtype=torch.bool)
    for block in network.audio.convolutions:
        x, n, mask = block(x, n, mask)
    heard, read = network.audio.lstm(x.transpose(1, 2), n), network.project(text)
    assert heard.shape == (1, 3, 8), "a quarter of the steps is left"
    all_read = torch.ones(1, 4, dtype=torch.bool)
    asked = network.cma_1(heard, all_read, read), network.cma_2(read, mask, heard)
    statistics = [torch.cat([one.mean(dim=1), one.std(dim=1, correction=0)], dim=-1) for one in asked]
    torch.testing.assert_close(found, network.classify(torch.cat(statistics, dim=-1)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_where_the_answer_needs_both_it_beats_either_alone(seed: int) -> None:
    """Of one bit alone nothing follows: chance is a half. What is taught must be enough utterances: 96 of them it
    learns by heart before it finds the rule, and tells unseen ones by chance."""
    both, *alone = (
        unseen_accuracy(_student(trained=False, modalities=one), seed, steps=60, n=384)
        for one in ("both", "audio", "text")
    )
    assert both > 0.9 and max(alone) < 0.7


@pytest.mark.slow
def test_with_encoders_inside_it_beats_either_alone_too(lake: TinyLake) -> None:
    placed = {slot: lake.weights[lake.encoders[slot]] for slot in ("audio", "text")}
    for seed in range(3):
        both, *alone = (
            unseen_accuracy(_student(modalities=one), seed, 60, n=192, task=tone_and_word, encoders=placed)
            for one in ("both", "audio", "text")
        )
        assert both > 0.9 and max(alone) < 0.7, seed


def test_its_convolutions_for_sound_do_not_learn(lake: TinyLake) -> None:
    placed = {slot: lake.weights[lake.encoders[slot]] for slot in ("audio", "text")}
    network = _student().module(SHAPES, CLASSES, None, placed)
    network.losses(batch_of(lake, ("wave", "text")), ["label"])["label"].backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without and all("front.convolutions" in name or "masked_spec" in name for name in without)


def test_encoders_must_lie_where_the_job_is(lake: TinyLake) -> None:
    nowhere = TinyLake(lake.warehouse, lake.shards, lake.split, lake.encoders, {})
    with pytest.raises(MissingFolder, match=rf"start the job with --weights {lake.encoders['audio']}=FOLDER"):
        fitted(nowhere, order(lake, "cross_attention", seed=9))


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match=r"'channels' are 10, but must be a multiple of heads \(4\)"):
        _student(channels=10, heads=4)
    with pytest.raises(InvalidField, match=r"'lstm' is 5, but both directions together .* channels \(8\)"):
        _student(lstm=5)
    with pytest.raises(ShapeDiffers, match="steps of one layer are wanted"):
        _student(trained=False).module(SHAPES | {"audio_states": (13, 7, STATE_DIM)}, CLASSES, None)
    with pytest.raises(ShapeDiffers, match="this student reads text"):
        _student().module(SHAPES | {"text": (3,)}, CLASSES, None)
    with pytest.raises(InvalidField, match="'init' cannot be given: it begins with its encoders"):
        _student().module(SHAPES, CLASSES, tmp_path)
