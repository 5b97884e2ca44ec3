"""Models that learned from what goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse.audit.withdrawn_lake import ANA, BEN, ROWS, pair, withdrawn_lake
from tests.warehouse.small_lake import SmallLake
from warehouse.audit.taints import Taint, taint, taints_of
from warehouse.audit.withdrawal import Withdrawal


@pytest.fixture
def held(tmp_path: Path) -> SmallLake:
    return withdrawn_lake(tmp_path)


def _tainted(held: SmallLake, *names: str) -> set[str]:
    found = taints_of(held.lake, Withdrawal(utterances=frozenset(names)))
    by_key = {artifact.key: name for name, artifact in held.named.items()}
    return {by_key[one.key] for one in found}


@pytest.mark.parametrize(
    "name, models",
    [
        (ANA[0], {"learned", "child"}),  # train in fold 1, test in fold 2
        (ANA[1], set()),  # test in both
        (BEN[2], {"learned", "clean", "child"}),  # dev in fold 1, train in fold 2
        ("nobody", set()),
    ],
)
def test_train_and_dev_were_learned_from_and_test_was_not(held: SmallLake, name: str, models: set[str]) -> None:
    assert _tainted(held, name) == models


def test_a_model_without_a_split_learned_from_its_shards(held: SmallLake) -> None:
    def write(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"x")

    inputs = {"shards:sound": [held.named["shard"]]}
    held.make("whole", "checkpoint", "students.whole", write, inputs, seed=1)
    assert "whole" in _tainted(held, ANA[1])


def test_an_acoustic_model_learned_from_every_pair(held: SmallLake) -> None:
    def write(folder: Path) -> None:
        (folder / "acoustic_model.zip").write_bytes(b"x")

    held.make("acoustic", "acoustic_model", "mfa", write, {"utterances": [held.named["utterances"]]})
    found = taints_of(held.lake, Withdrawal(pairs=frozenset({pair(ROWS[1])})))
    how = "no report of the lake names its recipe: `emolake run` the recipe that declares it fits it anew"
    assert [(one.key, one.retrain) for one in found] == [(held.named["acoustic"].key, how)]


def test_who_reads_features_of_a_tainted_model_is_tainted(held: SmallLake) -> None:
    def write(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"pupil")

    logits = held.make("logits", "features", "extractors.encoder", write, {"checkpoint": [held.named["learned"]]})
    inputs = {"split": [held.named["split 2"]], "shards:teacher": [logits]}
    held.make("pupil", "checkpoint", "students.tiny", write, inputs, seed=9)
    assert "pupil" in _tainted(held, ANA[0])


def test_a_mark_has_every_purge(held: SmallLake) -> None:
    one = Taint("k", "s", "why", "how")
    for purge in ("b", "a", "b"):
        taint(held.lake, purge, one)
    assert held.lake.refs("tainted") == {"k": {"purges": ["a", "b"], "step": "s", "why": "why", "retrain": "how"}}
