from __future__ import annotations

from typing import Any

import pytest
import torch

from models.batch import NO_LABEL, Batch
from models.explain import Dominance, Explanation, dominance, explain
from models.students.cmd import Cmd
from tests.models.tiny_lake import CLASSES, FIELDS, TinyLake, batch_of, tiny_lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyLake:
    return tiny_lake(tmp_path_factory.mktemp("explain") / "lake", n_utterances=16)


def _network(lake: TinyLake, **fields: Any) -> Any:
    placed = {slot: lake.weights[lake.encoders[slot]] for slot in ("audio", "text")}
    return Cmd(**{**FIELDS["cmd"], **fields}).module({"wave": (9, 1), "text": ()}, CLASSES, None, placed).eval()


def test_gradients_by_logits_are_those_of_the_formula(lake: TinyLake) -> None:
    """With L = - log((p_y + q_y) / 2) and p = softmax(z / κ): ∂L/∂z_c = (p_y / (p_y + q_y)) (p_c - [c = y]) / κ."""
    network, batch = _network(lake), batch_of(lake, ("wave", "text"))
    found = list(explain(network, [batch], CLASSES))
    assert [one.utterance_id for one in found] == list(batch.ids)
    with torch.no_grad():
        logits = {stream: z.double() for stream, z in network.logits(network.context(batch)).items()}
    for row, one in enumerate(found):
        y = int(batch.labels[row])
        assert one.label == CLASSES[y]
        p = {stream: (z[row] / 0.1).softmax(-1) for stream, z in logits.items()}
        for stream, own in p.items():
            share = own[y] / sum(each[y] for each in p.values())
            gradient = [float(share * (own[c] - int(c == y)) / 0.1) for c in range(len(CLASSES))]
            assert one.streams[stream] == pytest.approx(sum(g**2 for g in gradient) ** 0.5, rel=1e-3, abs=1e-6)
        assert one.streams[one.dominant] == max(one.streams.values())


def test_importance_is_the_gradient_by_each_tokens_state(lake: TinyLake) -> None:
    network, batch = _network(lake), batch_of(lake, ("wave", "text"))
    network.double()
    batch = Batch(batch.ids, {"wave": batch.arrays["wave"].double()}, batch.lengths, batch.texts, batch.labels)
    found = list(explain(network, [batch], CLASSES))
    with torch.no_grad():
        context = network.context(batch)
        c, mask = context["text"]

        def loss(row: int, states: torch.Tensor) -> float:
            moved = {**context, "text": (states, mask)}
            z = [z[row] / 0.1 for z in network.logits(moved).values()]
            return -float((z[0].softmax(-1) + z[1].softmax(-1))[batch.labels[row]].log())

        for row in (0, 5):
            one = found[row]
            assert one.tokens == tuple(batch.texts["text"][row].split())
            for n in range(len(one.tokens)):
                squares = 0.0
                for dim in range(c.shape[-1]):  # by differences; step 0 is [CLS]
                    up, down = c.clone(), c.clone()
                    up[row, n + 1, dim] += 1e-5
                    down[row, n + 1, dim] -= 1e-5
                    squares += ((loss(row, up) - loss(row, down)) / 2e-5) ** 2
                assert one.importance[n] == pytest.approx(squares**0.5, rel=1e-4, abs=1e-8)


def test_an_utterance_is_explained_alike_alone_and_without_a_label_by_what_is_told(lake: TinyLake) -> None:
    network, batch = _network(lake), batch_of(lake, ("wave", "text"))
    together = list(explain(network, [batch], CLASSES))
    for one in together:
        [alone] = explain(network, [batch_of(lake, ("wave", "text"), ids=[one.utterance_id])], CLASSES)
        assert alone.streams == pytest.approx(one.streams, rel=1e-3, abs=1e-5)
        assert alone.importance == pytest.approx(one.importance, rel=1e-3, abs=1e-5)
    none = Batch(batch.ids, batch.arrays, batch.lengths, batch.texts, torch.full_like(batch.labels, NO_LABEL))
    with torch.no_grad():
        told = [CLASSES[int(n)] for n in network(batch).argmax(-1)]
    assert [one.label for one in explain(network, [none], CLASSES)] == told


def test_one_stream_dominates_alone(lake: TinyLake) -> None:
    heard = list(explain(_network(lake, modalities="audio"), [batch_of(lake, ("wave",))], CLASSES))
    assert {(one.dominant, one.tokens) for one in heard} == {("audio", ())}
    read = list(explain(_network(lake, modalities="text"), [batch_of(lake, ("text",))], CLASSES))
    assert {one.dominant for one in read} == {"text"} and all(one.importance for one in read)


def test_dominance_is_counted_with_the_lengths_of_its_texts() -> None:
    said = [(2.0, 1.0, 3), (2.0, 1.0, 5), (1.0, 2.0, 10), (1.0, 1.0, 12)]
    rows = [Explanation("u", "sad", {"audio": a, "text": t}, ("x",) * n, (0.0,) * n) for a, t, n in said]
    assert dominance(rows) == {"audio": Dominance(0.5, 4.0, 1.0), "text": Dominance(0.5, 11.0, 1.0)}
    assert dominance(rows[2:])["audio"] == Dominance(0.0, None, None)
    assert dominance([]) == {}
