"""`emolake purge` on a copy of the small lake: the plan, the purge, the proof, and that nothing is made again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from flows.audit import counted
from tests.flows.audit.lent import lent_lake
from tests.flows.partly import contents, lake_copy
from tests.flows.saying import Say, saying
from tests.flows.small import Small
from tests.warehouse.audit.withdrawn_lake import ANA, withdrawn_lake
from warehouse import Warehouse
from warehouse.audit.tombstones import JOURNALS, unfinished
from warehouse.audit.verify import verify
from warehouse.errors import EmolakeError

SPEAKER = (
    "SELECT corpus || '/' || speaker_id FROM utterances WHERE corpus = 'meld' GROUP BY ALL ORDER BY count(*), 1 LIMIT 1"
)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`emolake …` with a key of its own."""
    call = saying(monkeypatch, capsys)
    monkeypatch.setenv("EMOLAKE_SIGNING_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("EMOLAKE_LAKE", str(tmp_path / "lake"))
    return call


def _new(steps: list[dict[str, Any]], *verbs: str) -> dict[str, int]:
    return {step["step"]: step["new"] for step in steps if step["step"].startswith(verbs)}


def test_a_speaker_of_the_small_lake_withdraws(small: Small, tmp_path: Path, told: Say) -> None:
    lake = lake_copy(small, tmp_path)
    (speaker,) = lake.table(SPEAKER).column(0).to_pylist()
    ids = lake.table(f"SELECT utterance_id FROM utterances WHERE corpus || '/' || speaker_id = '{speaker}'")
    names = ids.column(0).to_pylist()
    before = contents(lake.root)
    plan = told("purge", "--speaker", speaker, "--json").json
    assert plan["what"]["utterances"] == sorted(names) and plan["rows"]["utterances/utterances.parquet"] == len(names)
    assert plan["tainted"] and len(plan["raw_files"]) == len(names)
    page = told("purge", "--speaker", speaker)
    assert page.out.endswith("nothing was changed: `--delete` does it\n") and plan["raw_files"][0] in page.out
    assert contents(lake.root) == before
    receipt = told("purge", "--speaker", speaker, "--delete", "--json").json
    assert receipt["purge"] == plan["purge"] and receipt["rows"] == plan["rows"] and receipt["proof"]["found"] == 0
    assert told("verify").code == 0
    steps = told("plan", str(small.recipe), "--json").json
    made = _new(steps, "record", "ingest", "align", "canary", "extract")
    assert len(made) > 5 and set(made.values()) == {0}
    key = receipt["tainted"][0]["key"]
    assert told("show", key, "--json").json["tainted"].startswith(f"tainted by purge {plan['purge']}: ")
    assert any(plan["purge"] in sentence for sentence in told("card", key, "--json").json["caveats"])
    assert told("lineage", key).code == 0
    artifacts = {a.key for a in Warehouse(lake.root).artifacts()}
    assert told("ingest", str(small.recipe), "--json").json["new"] == 0
    assert {a.key for a in Warehouse(lake.root).artifacts()} == artifacts
    checked = told("purge", "--check", receipt["purge"])
    assert checked.code == 0 and checked.out.endswith("found: 0\n") and "by the key of this machine" in checked.out
    again = told("purge", "--speaker", speaker)
    assert again.code == 1 and f"purge {receipt['purge']} withdrew it" in again.err


def test_a_purge_and_its_check_as_people_read_them(tmp_path: Path, told: Say) -> None:
    lake = withdrawn_lake(tmp_path).lake
    done = told("purge", "--speaker", "clips/Ana", "--delete")
    purge_id = next(iter((lake.root / "receipts").iterdir())).stem
    assert done.code == 0 and done.out.startswith(
        f"purge {purge_id}: 9 utterances of clips, german, spoken, 0.1 minutes; "
    )
    assert "tainted, for a purge cannot un-train a model:\n  students.tiny " in done.out
    assert "remove these 1 raw files yourself" in done.out and "backups and snapshots" in done.out
    assert f"receipt: {lake.root / 'receipts' / purge_id}.json" in done.out
    checked = told("purge", "--check", str(lake.root / "receipts" / f"{purge_id}.json"), "--json").json
    assert checked["purge"] == purge_id and checked["found"] == [] and checked["is_own_key"]
    (lake.root / "left.txt").write_text(ANA[0])
    found = told("purge", "--check", purge_id)
    assert found.code == 1 and "found: 1" in found.out and "withdrew is in the lake again: in left.txt" in found.err


def test_what_is_not_done_is_completed_by_the_next_call_and_nothing_is_run_before(tmp_path: Path, told: Say) -> None:
    lake = withdrawn_lake(tmp_path).lake
    (lake.root / "left.txt").write_text(ANA[0])
    assert told("purge", "--speaker", "clips/Ana", "--delete").code == 1
    (purge_id,) = unfinished(lake.root)
    refused = told("run", "demo", "--root", f"iemocap={tmp_path}")
    assert refused.code == 1 and f"purge {purge_id} of this lake is not done: `emolake purge --resume`" in refused.err
    (lake.root / "left.txt").unlink()
    assert told("purge", "--where", "text LIKE '%asked%'").out.startswith("\npurged: ")
    assert unfinished(lake.root) == [] and verify(Warehouse(lake.root)) == []
    assert told("purge", "--resume").out == "no purge of this lake is unfinished\n"
    assert told("purge", "--resume", "--json").json == {"receipts": []}


def test_the_same_command_again_completes_what_was_killed_and_ends_well(tmp_path: Path, told: Say) -> None:
    lake = withdrawn_lake(tmp_path).lake
    (lake.root / "left.txt").write_text(ANA[0])
    asked = "purge", "--speaker", "clips/Ana"
    assert told(*asked, "--delete").code == 1
    (purge_id,) = unfinished(lake.root)
    for more in (["--delete", "--json"], ["--delete"], []):
        held = shutil.copytree(lake.root, tmp_path / "held")
        (lake.root / "left.txt").unlink()
        done = told(*asked, *more)
        assert done.code == 0 and not done.err.startswith("emolake: ")
        assert done.json["purge"] == purge_id if "--json" in more else done.out.startswith("\npurged: ")
        assert verify(Warehouse(lake.root)) == [] == unfinished(lake.root)
        refused = told(*asked)
        assert refused.code == 1 and f"purge {purge_id} withdrew it" in refused.err, "for it was done before this call"
        shutil.rmtree(lake.root)
        held.rename(lake.root)
    (lake.root / "left.txt").unlink()
    other = told(*asked, "--speaker", "clips/Nobody")
    assert other.code == 1 and "no reading of the lake holds speaker 'clips/Nobody'" in other.err


def test_a_purge_leaves_counted_what_models_met_before(
    tmp_path: Path, told: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As does a run; where that cannot be counted the purge is done all the same, and says so."""
    lake = lent_lake(tmp_path / "lake").lake.root
    asked = "contamination", "mine:best", "--json"
    before = told(*asked).json
    assert told("purge", "--utterance", "f_train", "--delete").code == 0
    counts = (lake / ".cache" / "overlaps-met").read_bytes()
    after = told(*asked).json
    assert before["measured"] != after["measured"] and (lake / ".cache" / "overlaps-met").read_bytes() == counts

    damaged = "what models learned from could not be compared with what judges them: no such split\n"
    pressed = "interrupted: the purge is done, and what models learned from was not compared with what judges them\n"
    ends = [
        ("f_train2", [], EmolakeError("no such split"), damaged),
        ("f_dev", ["--json"], OSError("no such split"), damaged),
        ("i_dev", [], KeyboardInterrupt(), pressed), ("i_test2", [], RuntimeError("Query interrupted"), pressed),
    ]  # fmt: skip
    for utterance, more, error, why in ends:
        monkeypatch.setattr(counted, "count", Mock(side_effect=error))
        done = told("purge", "--utterance", utterance, "--delete", *more)
        assert done.code == 0 and (done.err if more else done.out).endswith(f"\n{why}")
        assert not more or done.json["proof"]["found"] == 0
    monkeypatch.setattr(counted, "count", Mock(side_effect=RuntimeError("of no known kind")))
    assert told("purge", "--utterance", "i_train", "--delete").code == 1


@pytest.mark.slow
def test_killed_for_good_at_any_time_and_completed(tmp_path: Path) -> None:
    def call(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows", "purge", *arguments, "--lake", str(root / "lake")]
        environment = {"EMOLAKE_SIGNING_KEY": str(tmp_path / "key.pem"), "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(
            command, cwd=Path(__file__).resolve().parents[3], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def state(root: Path) -> dict[str, Any]:
        lake = Warehouse(root / "lake")
        refs = {str(p.relative_to(root)): p.read_text() for p in sorted((lake.root / "refs").rglob("*.json"))}
        return {"artifacts": {a.key: a.digest for a in lake.artifacts()}, "refs": refs}

    whole = tmp_path / "whole"
    withdrawn_lake(whole)
    call(whole, "--speaker", "clips/Ana", "--delete").communicate(timeout=120)
    assert verify(Warehouse(whole / "lake")) == [] and (whole / "lake" / "receipts").exists()
    n_killed = 0
    for number in range(8):
        root = tmp_path / f"killed-{number}"
        lake = withdrawn_lake(root).lake
        before = state(root)
        process = call(root, "--speaker", "clips/Ana", "--delete")
        while process.poll() is None and not (lake.root / JOURNALS).exists():
            time.sleep(0.005)
        time.sleep(0.08 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        n_killed += bool(unfinished(lake.root))
        begun = unfinished(lake.root) or (lake.root / "receipts").exists()  # or it was killed before its journal
        again = call(root, "--resume", "--json")
        out, _ = again.communicate(timeout=120)
        assert again.returncode == 0 and len(json.loads(out)["receipts"]) <= 1
        assert state(root) == (state(whole) if begun else before) and verify(Warehouse(lake.root)) == [], number
        assert not list((lake.root / JOURNALS).glob("*")), "it would have names in clear"
    assert n_killed > 2
