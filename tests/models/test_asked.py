"""The model that a request asks, with its shards and its split; what is refused is in the tests of who asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.asked import asked_model
from models.orders import predict_request
from models.stream import read_split
from tests.models.tiny_lake import CLASSES, FIELDS, fitted, order, tiny_lake
from warehouse.errors import RoleMissing


def test_it_is_what_was_fitted_over_its_own_shards_and_split(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake")
    checkpoint = fitted(lake, order(lake, "mced")).digest
    request = predict_request(
        "mced", FIELDS["mced"], checkpoint, shards=lake.shards, split=lake.split, parts=("test",)
    )  # fmt: skip
    asked = asked_model(lake.warehouse, request, "to predict")
    assert (asked.card.step, asked.card.classes) == ("students.mced", CLASSES)
    assert asked.shards.keys() == {"speech"} and all(
        (folder / "shard.tar").is_file() for folder in asked.shards["speech"]
    )
    (split,) = [a for a in lake.warehouse.artifacts("split") if a.digest == lake.split]
    assert asked.parts == read_split(split.path("split.parquet"))
    without = {role: digests for role, digests in request.inputs.items() if role != "shards:speech"}
    with pytest.raises(RoleMissing, match=r"'students.mced' needs shards of 'speech' to guess, but it is given"):
        asked_model(lake.warehouse, replace(request, inputs=without), "to guess")
