"""Protocols as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.protocol import Protocol, protocol_names, read_protocol
from flows.protocol_tables import UNLABELLED, UNNAMED, count_rows, empty_rows, list_protocols, option_rows, split_table
from tests.flows.made import labels, numbers, utterance, utterances
from warehouse import Warehouse
from warehouse.hashing import canonical_json

RULES = Protocol(
    id="p", reader="made", title="t", labels={"hap": "happy", "sad": "sad"}, folds="session",
    test="session = $fold", dev="session = $next", counts={"happy": 3, "sad": 4},
)  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def corpus(lake: Warehouse) -> Any:
    rows = [utterance(f"{label}{s}", session=str(s), speaker_id=f"s{s}") for s in range(3) for label in ("hap", "sad")]
    return [utterances(lake, rows)], [labels(lake, {row["utterance_id"]: row["utterance_id"][:3] for row in rows})]


def test_every_shipped_protocol_has_its_row() -> None:
    rows = {row["id"]: row for row in list_protocols()}
    assert list(rows) == protocol_names()
    canonical_json(list(rows.values()))
    assert rows["iemocap4-loso5"]["n_utterances"] == 5531 and rows["iemocap4-cmd-b"]["n_utterances"] == 7487
    assert rows["iemocap4-loso5"]["options"] == {"dev": ["next", "random10", "none"]}
    assert (rows["mosei4-cmd"]["n_utterances"], rows["mosei4-cmd"]["counts_must"]) == (6228, "warn")
    assert rows["films-unlabelled"]["n_utterances"] is None and rows["films-unlabelled"]["counts_must"] == ""
    assert rows["teacher5"]["readers"] == ["xed", "emotionlines"]


def test_a_split_is_counted_by_class_and_by_speaker(corpus: Any) -> None:
    rows = split_table(RULES, *corpus)
    assert [row for row in rows if row["fold"] == "2"] == [
        {"fold": "2", "part": part, "by": by, "value": value, "n_utterances": n}
        for part, session in (("train", 1), ("dev", 0), ("test", 2))
        for by, value, n in (("class", "happy", 1), ("class", "sad", 1), ("speaker", f"s{session}", 2))
    ]
    assert [row["fold"] for row in rows] == sorted(row["fold"] for row in rows)
    for by in ("class", "speaker"):
        assert sum(row["n_utterances"] for row in rows if row["by"] == by) == 3 * 6


def test_a_split_without_labels_is_counted_too(corpus: Any) -> None:
    rules = Protocol(id="p", reader="made", title="t")
    values = {(row["by"], row["value"]): row["n_utterances"] for row in split_table(rules, *corpus)}
    assert values == {("class", UNLABELLED): 6, ("speaker", "s0"): 2, ("speaker", "s1"): 2, ("speaker", "s2"): 2}


def test_who_speaks_may_be_unknown(lake: Warehouse) -> None:
    rules = Protocol(id="p", reader="made", title="t")
    rows = split_table(rules, [utterances(lake, [utterance("a", speaker_id="")])], [])
    assert [(row["by"], row["value"]) for row in rows] == [("class", UNLABELLED), ("speaker", UNNAMED)]


def test_parts_without_an_utterance_are_told(corpus: Any) -> None:
    assert empty_rows(RULES, corpus[0], split_table(RULES, *corpus)) == []
    odd = RULES.model_copy(update={"test": "session = $fold AND session <> '1'", "dev": "session = '7'"})
    assert empty_rows(odd, corpus[0], split_table(odd, *corpus)) == [
        f"protocol 'p' puts none of 6 utterances into {part} (fold '{fold}'): "
        f"take more utterances, or a protocol with another rule for {part}"
        for fold, part in (("0", "dev"), ("1", "dev"), ("1", "test"), ("2", "dev"))
    ]
    nothing = Protocol(id="p", reader="made", title="t", labels={"x": "y"}, dev="true")
    unseen, *parts = empty_rows(nothing, corpus[0], split_table(nothing, *corpus))
    assert unseen.startswith("protocol 'p' finds no utterance of class 'y'") and len(parts) == 2


def test_counts_are_told_whether_they_hold_or_not(corpus: Any) -> None:
    assert count_rows(RULES, *corpus) == [
        {"what": "happy", "expected": 3, "found": 3, "difference": 0},
        {"what": "sad", "expected": 4, "found": 3, "difference": -1},
    ]


def test_each_alternative_is_counted_beside_the_others(lake: Warehouse) -> None:
    zeros = dict.fromkeys(("happy", "sad", "anger", "surprise", "disgust", "fear"), 0.0)
    values = {"a": zeros | {"happy": 1.0}, "b": zeros | {"happy": 1.0, "sad": 1.0}, "c": zeros | {"fear": 1.0}}
    corpus = [utterances(lake, [utterance(name, split="test") for name in values])], [numbers(lake, values)]

    def counts(protocol: str) -> dict[tuple[str, str], dict[str, int]]:
        found: dict[tuple[str, str], dict[str, int]] = {}
        for row in option_rows(protocol, *corpus):
            assert row["part"] == "test"
            found.setdefault((row["option"], row["alternative"]), {})[row["class"]] = row["n_utterances"]
        return found

    found = counts("mosei4-cmd")
    assert {name for name, _ in found} == set(read_protocol("mosei4-cmd").options)
    assert found["ties", "drop"] == {"happy": 1} and found["ties", "first"] == {"happy": 2}
    assert found["zero", "three"] == {"happy": 1, "neutral": 1}
    assert counts("mosei4-cmd:ties=first")["zero", "three"] == {"happy": 2, "neutral": 1}
    assert counts("mosei4-cmd:ties=first")["ties", "drop"] == {"happy": 1}
