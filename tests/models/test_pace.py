from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.orders import fit_request
from models.pace import Pace, Remaining, seconds_of
from models.stream import Stream
from tests.models.tiny_lake import TinyLake, order
from warehouse import Request, Warehouse
from warehouse.schema import UTTERANCES
from warehouse.shards import write_shard
from warehouse.tables import write_rows

LASTS_S = {"u0": 1.5, "u1": 0.5}
_EMPTY: dict[str, object] = dict.fromkeys(UTTERANCES.names, "") | {"turn": 0, "attributes": {}}


def _frames(folder: Path) -> Stream:
    folder.mkdir()
    write_shard(folder, "speech", [("u0", "x", np.zeros((30, 2))), ("u1", "x", np.zeros((10, 2)))])
    return Stream({"speech": [folder]}, "train", dict.fromkeys(LASTS_S), (), 100)


def test_frames_go_by_the_seconds_of_their_utterances(tmp_path: Path) -> None:
    pace = Pace(_frames(tmp_path / "0"), LASTS_S | {"other": 9.0})
    assert pace.told([["u0"], ["u1"]], 0.5) == "4 s of audio per second"
    assert pace.amount([["u1"]]) == 0.5


def test_steps_where_nobody_knows_the_seconds(tmp_path: Path) -> None:
    pace = Pace(_frames(tmp_path / "0"), {"u0": 1.5})
    assert pace.told([["u0"], ["u1"]], 0.5) == "80 steps of 'speech' per second"


def test_a_wave_tells_its_seconds_itself(tmp_path: Path) -> None:
    write_shard(tmp_path, "wave", [("u0", "x", np.zeros(48_000, np.int16)), ("u1", "x", np.zeros(16_000, np.int16))])
    heard = Stream({"wave": [tmp_path]}, "train", {"u0": None, "u1": None}, (), 10**6, waves=("wave",))
    assert Pace(heard, {}).told([["u0", "u1"]], 0.1) == "40 s of audio per second"


@pytest.mark.parametrize("is_heard", [True, False])
def test_seconds_are_those_of_the_utterances_that_shards_were_made_from(tmp_path: Path, is_heard: bool) -> None:
    warehouse = Warehouse(tmp_path, create=True)
    rows = [
        _EMPTY | {"utterance_id": u, "start_s": 2.0 * is_heard, "end_s": (2.0 + s) * is_heard}
        for u, s in LASTS_S.items()
    ]
    read = Request("utterances", "corpora.tiny", 1)
    utterances = warehouse.materialize(read, lambda at: write_rows(at / "utterances.parquet", rows, UTTERANCES))
    rows_of = Request("features", "extractors.tiny", 1, {}, {"utterances": (utterances.digest,)})
    features = warehouse.materialize(rows_of, lambda folder: (folder / "features.parquet").write_bytes(b"x"))
    packed = Request("shards", "flows.pack", 1, {}, {"features": (features.digest,)})
    shards = warehouse.materialize(packed, lambda folder: (folder / "shard.tar").write_bytes(b"x"))
    request = fit_request(
        "linear", {}, fit=None, objective={}, classes=("a", "b"), seed=0, shards={"vector": [shards.digest]}, split="s"
    )  # fmt: skip
    assert seconds_of(warehouse, request) == (pytest.approx(LASTS_S) if is_heard else {})


def test_a_lake_that_does_not_know(lake: TinyLake) -> None:
    assert seconds_of(lake.warehouse, order(lake, "mced")) == {}


def test_what_is_left_is_told_by_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("models.pace.time.monotonic", lambda: now)
    remaining = Remaining(2.5, 10)
    assert remaining.told(2.5) == ""
    now += 60.0
    assert remaining.told(4.0) == ", at most 4 min left"  # 40 s an epoch, and six of them
    assert remaining.told(10) == ""
