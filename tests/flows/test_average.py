"""The mean of logits, against the logits themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.average import average_work, averaged_predictions
from flows.score import Fitted
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import InvalidField
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table, write_rows

CLASSES = ["angry", "calm", "sad"]


@pytest.fixture
def lake(tmp_path: Any) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def predicted(lake: Warehouse, probabilities: Any, **columns: list[Any]) -> Artifact:
    """Predictions with these probabilities, one row per utterance; other columns as given."""
    rows = [
        {
            "utterance_id": f"u{n}", "part": "test", "predicted": CLASSES[int(np.argmax(own))], "classes": CLASSES,
            "probabilities": list(map(float, own)),
        } | {name: values[n] for name, values in columns.items()}
        for n, own in enumerate(probabilities)
    ]  # fmt: skip
    request = Request("predictions", "models.predict", 1, {"rows": rows})
    return lake.materialize(request, lambda folder: write_rows(folder / "predictions.parquet", rows, PREDICTIONS))


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    return read_table(artifact.path("predictions.parquet"), PREDICTIONS).to_pylist()


@settings(max_examples=settings.default.max_examples // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(2, 4), st.floats(0.1, 50))
def test_it_is_the_softmax_of_the_mean_of_the_logits(lake: Warehouse, seed: int, n_members: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=scale, size=(n_members, 5, 3))
    made = lake.perform(average_work([predicted(lake, softmax(own)) for own in logits]))
    expected = softmax(logits.mean(axis=0))
    np.testing.assert_allclose([row["probabilities"] for row in rows_of(made)], expected, rtol=1e-9, atol=1e-12)
    assert [row["predicted"] for row in rows_of(made)] == [CLASSES[best] for best in expected.argmax(axis=1)]


def test_the_order_of_members_is_nothing_and_a_member_twice_is_heavier(lake: Warehouse) -> None:
    one, other = predicted(lake, [[0.7, 0.2, 0.1]]), predicted(lake, [[0.1, 0.8, 0.1]])
    assert average_work([one, other]).request.key == average_work([other, one]).request.key
    thrice = lake.perform(average_work([one, one, other]))
    cubic = np.cbrt(np.array([0.7 * 0.7 * 0.1, 0.2 * 0.2 * 0.8, 0.1**3]))
    assert rows_of(thrice)[0]["probabilities"] == pytest.approx(cubic / cubic.sum(), rel=1e-12)
    alike = lake.perform(average_work([one, one]))
    assert rows_of(alike)[0]["probabilities"] == pytest.approx([0.7, 0.2, 0.1], rel=1e-12)


def test_members_that_exclude_each_other_have_a_mean(lake: Warehouse) -> None:
    made = lake.perform(average_work([predicted(lake, [[1, 0, 0]]), predicted(lake, [[0, 1, 0]])]))
    assert rows_of(made)[0]["probabilities"] == pytest.approx([0.5, 0.5, 0.0], abs=1e-12)


def test_of_nothing_there_is_nothing(lake: Warehouse) -> None:
    assert rows_of(lake.perform(average_work([predicted(lake, []), predicted(lake, [])]))) == []


@pytest.mark.parametrize(
    "columns",
    [{"utterance_id": ["v"]}, {"part": ["dev"]}, {"classes": [["angry", "sad", "calm"]]}],
    ids=lambda columns: next(iter(columns)),
)
def test_members_that_do_not_fit_together_have_none(lake: Warehouse, columns: dict[str, list[Any]]) -> None:
    two = predicted(lake, [[1, 0, 0]]), predicted(lake, [[0.5, 0.5, 0]], **columns)
    with pytest.raises(InvalidField, match="field 'members' tell other utterances or classes: fit them for the same"):
        lake.perform(average_work(two))


def test_members_of_different_splits_are_refused() -> None:
    def fits(model: str, split: str) -> list[tuple[Fitted, Any]]:
        return [(Fitted(model, "A", 0, SimpleNamespace(digest=split), None), None)]  # type: ignore[arg-type]

    report = SimpleNamespace(averages={"both": ["one", "two"]})
    predictions = {"one": fits("one", "s1"), "two": fits("two", "s2")}
    line: Any = SimpleNamespace(
        recipe=SimpleNamespace(name="r", report=report), predictions=lambda member: predictions[member], unfitted={}
    )
    sentence = "field 'report.averages.both' averages one, two, which are not judged on the same utterances in fold 'A'"
    with pytest.raises(InvalidField, match=sentence):
        averaged_predictions(line, "both")
