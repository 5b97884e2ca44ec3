from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from flows.select import selection_table, selection_work
from tests.flows.made import LOGITS, features, utterance, utterances
from warehouse import Warehouse
from warehouse.errors import NothingSelected
from warehouse.schema import SELECTION, UTTERANCES, text_id
from warehouse.tables import read_table


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def choose(lake: Warehouse, threshold: float, **thresholds: float) -> list[dict[str, object]]:
    """Three lines whose calm class has the odds 1:1, 3:1 and 1:9."""
    rows = [utterance(name, text=name) for name in ("even", "calm", "loud")]
    odds = {"even": 1.0, "calm": 3.0, "loud": 1 / 9}
    made = features(lake, {text_id(name): (math.log(ratio) + 5, 5.0) for name, ratio in odds.items()})
    work = selection_work([utterances(lake, rows)], [made], LOGITS.names, "text", threshold, thresholds)
    return read_table(lake.perform(work).path("selection.parquet"), SELECTION).to_pylist()


def test_who_is_surer_than_the_threshold_is_kept_with_class_and_probability(lake: Warehouse) -> None:
    kept = {row["utterance_id"]: (row["label"], row["probability"]) for row in choose(lake, 0.6)}
    assert kept == {"calm": ("calm", pytest.approx(0.75)), "loud": ("loud", pytest.approx(0.9))}


def test_a_class_may_have_its_own_threshold(lake: Warehouse) -> None:
    assert [row["utterance_id"] for row in choose(lake, 0.6, calm=0.8)] == ["loud"]
    assert [row["utterance_id"] for row in choose(lake, 0.95, calm=0.6)] == ["calm"]


def test_choosing_nobody_is_an_error_with_a_way_out(lake: Warehouse) -> None:
    with pytest.raises(NothingSelected, match=r"sure of none of 3 utterances: fit it longer, or lower"):
        choose(lake, 0.99)
    with pytest.raises(NothingSelected, match="sure of none of 0 utterances"):
        lake.perform(selection_work([utterances(lake, [])], [], LOGITS.names, "text", 0.5, {}))
    assert lake.artifacts("selection") == []


def test_what_was_chosen_is_counted_title_by_title() -> None:
    rows = [
        utterance("a", unit="The Blue Box", start_s=1.0, end_s=2.8), utterance("b", unit="The Blue Box"),
        utterance("c", unit="The Blue Box", end_s=1.8), utterance("d", unit="Another"),
    ]  # fmt: skip
    labels = {"a": "sad", "c": "angry"}
    chosen = [{"utterance_id": name, "label": label, "probability": 0.9} for name, label in labels.items()]
    found = selection_table(
        "salient", pa.Table.from_pylist(chosen, SELECTION), pa.Table.from_pylist(rows, UTTERANCES)
    )  # fmt: skip
    both = {"angry": 1, "sad": 1}
    assert found == {
        "selection": "salient", "n_utterances": 4, "n_selected": 2, "hours": pytest.approx(0.001), "classes": both,
        "titles": [
            {"title": "Another", "n_utterances": 1, "n_selected": 0, "hours": 0.0, "classes": {}},
            {"title": "The Blue Box", "n_utterances": 3, "n_selected": 2, "hours": pytest.approx(0.001),
             "classes": both},
        ],
    }  # fmt: skip
