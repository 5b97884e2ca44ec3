"""Rows that say why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows.audit.wherefore import NOTHING_LIKE_IT, why_apart, why_steps
from flows.doer import Step
from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Request
from warehouse.artifact import Work


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def test_request_environment_and_bytes(small: SmallLake) -> None:
    one = small.named["voice main"]
    assert why_apart(one, one) == []
    other = replace(one, digest="0" * 64, environment={**one.environment, "python": "3.0"})
    assert [str(d).partition(":")[0] for d in why_apart(one, other)] == ["environment.python", "digest"]
    wheres = [d.where for d in why_apart(one, small.named["voice other"])]
    assert wheres == ["inputs.utterances", "params.ids", "digest"]


def test_steps(small: SmallLake) -> None:
    voice = small.named["voice main"].request
    asked = Request(voice.kind, voice.step, 2, voice.params, voice.inputs)
    stranger = Request("features", "extractors.nothing", 1)
    steps = [
        Step("there", 3), Step("extract voice", 3, 2, [Work(asked)]), Step("fit", waits_for="extract voice"),
        Step("other", 1, 1, [Work(stranger)]),
    ]  # fmt: skip
    rows = why_steps(small.lake, steps)
    assert [(row["step"], row["new"], row["where"]) for row in rows] == [
        ("extract voice", 2, "version"), ("fit", 0, "waits for: extract voice"), ("other", 1, NOTHING_LIKE_IT),
    ]  # fmt: skip
    assert (rows[0]["asked"], rows[0]["there"], rows[0]["than"]) == (2, 1, small.named["voice main"].key)
