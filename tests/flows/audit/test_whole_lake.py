"""Every question of the audit, asked of one lake of more than two hundred artifacts, as its users ask them."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows import run as runs
from flows.line import Line
from flows.recipe import read_recipe
from tests.flows.saying import Say, saying
from tests.flows.swept import QUICK, swept_line
from tests.flows.wholly import Wholly
from warehouse import Artifact, Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit import purge as purging
from warehouse.audit.errors import FoundAgain
from warehouse.audit.receipts import read_receipt, remains
from warehouse.audit.tombstones import Tombstone
from warehouse.audit.verify import verify

STRENGTHS = [round(10 ** (n / 4), 4) for n in range(-14, 15)]
MANY = QUICK.replace("inverse_strength = [0.1, 1, 10]", f"inverse_strength = {STRENGTHS}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Line:
    line = swept_line(tmp_path_factory.mktemp("whole"), MANY)
    assert len(line.warehouse.artifacts()) >= 200
    return line


@pytest.fixture
def lake(built: Line, tmp_path: Path) -> Warehouse:
    """A copy that may be damaged."""
    return Warehouse(shutil.copytree(built.warehouse.root, tmp_path / "lake"))


@pytest.fixture
def say(built: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`emolake` beside a copy of the lake, if the test has one, else beside the lake itself; keys are made here."""
    if not (tmp_path / "lake").exists():
        (tmp_path / "lake").symlink_to(built.warehouse.root)
    monkeypatch.chdir(tmp_path)
    call = saying(monkeypatch, capsys)
    monkeypatch.setenv("EMOLAKE_SIGNING_KEY", str(tmp_path / "key.pem"))
    return call


# -- where from, what touched, why -----------------------------------------------------------------------------------


def test_a_number_leads_to_its_bytes_and_these_lead_back_to_it(say: Say, built: Line) -> None:
    told = say("lineage", "reports/swept", "--json").json
    assert "swept" in json.dumps(told)
    clip = "clips-0"
    below = say("lineage", clip, "--down").out
    assert "reports/swept" in below and "uar" in below
    raw = built.warehouse.table("SELECT path, sha256 FROM raw_files WHERE path = '0.wav'").to_pylist()[0]
    for reference in (raw["path"], raw["sha256"]):
        assert clip in say("lineage", reference).out
    for form, mark in (("mermaid", "flowchart"), ("svg", "<svg"), ("openlineage", '"eventType"')):
        assert mark in say("lineage", "reports/swept", "--to", form).out
    assert "truth" in say("lineage", "predictions.label", "--column").out


def test_why_one_fit_is_not_another(say: Say, built: Line) -> None:
    fits = [a for a in built.warehouse.artifacts("checkpoint") if a.request.step == "students.linear"]
    first, second = [a for a in fits if a.request.inputs == fits[0].request.inputs][:2]
    found = say("why", first.key, "--than", second.key, "--json").json["differences"]
    assert found[0]["where"] == "params.student.inverse_strength"


# -- sound or not ----------------------------------------------------------------------------------------------------


def _flip(a: Artifact) -> None:
    path = a.path(sorted(a.files)[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Artifact], None]:
    def edit(a: Artifact) -> None:
        manifest = json.loads((a.folder / MANIFEST).read_bytes())
        change(manifest)
        (a.folder / MANIFEST).write_text(json.dumps(manifest))

    return edit


def _first(a: Artifact) -> Path:
    return a.path(sorted(a.files)[0])


DAMAGES: dict[str, Callable[[Artifact], Any]] = {
    "a flipped bit": _flip,
    "a file cut short": lambda a: os.truncate(_first(a), _first(a).stat().st_size - 1),
    "a file grown": lambda a: _first(a).write_bytes(_first(a).read_bytes() + b"\0"),
    "a file missing": lambda a: _first(a).unlink(),
    "a file too many": lambda a: (a.folder / "more.txt").write_text("more"),
    "a digest edited": _edit(lambda m: m.update(digest="0" * 64)),
    "a request edited": _edit(lambda m: m["request"].update(version=77)),
    "a date edited": _edit(lambda m: m.update(created_at="2020-01-01T00:00:00.000+00:00")),
    "a manifest that is no JSON": lambda a: (a.folder / MANIFEST).write_text("{"),
    "no manifest": lambda a: (a.folder / MANIFEST).unlink(),
    "a folder renamed": lambda a: a.folder.rename(a.folder.with_name("f" * 32)),
    "a file replaced by a link": lambda a: (_first(a).rename(a.folder / ".x"), _first(a).symlink_to(a.folder / ".x")),
}


def test_a_sound_lake_raises_no_alarm(say: Say, built: Line) -> None:
    assert say("verify", "--json").json == [] and say("verify", "--deep", "--json").json == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found_and_nothing_else(lake: Warehouse, damage: str) -> None:
    chooser = random.Random(damage)  # by its text: another artifact for each, the same in every run
    struck = chooser.choice(lake.artifacts())
    cited = {a.key for a in lake.artifacts() if struck.digest in {d for ds in a.request.inputs.values() for d in ds}}
    DAMAGES[damage](struck)
    faults = verify(Warehouse(lake.root))
    assert any(struck.key in f"{fault.key} {fault.problem}" for fault in faults), damage
    others = {fault.key for fault in faults} - {struck.key, "f" * 32}
    assert {key for key in others if not key.startswith("refs/")} <= cited, "a false alarm"


def test_three_damages_at_once_are_repaired_from_what_is_sound(lake: Warehouse, built: Line, say: Say) -> None:
    before = {a.key: a.digest for a in lake.artifacts()}
    for kind in ("features", "split", "metrics"):
        _flip(lake.artifacts(kind)[0])
    said = say("verify", "--repair", "--workers", "1", "--recipe", str(built.recipe.folder / "swept.toml"))
    assert said.code == 0, said
    after = Warehouse(lake.root)
    assert {a.key: a.digest for a in after.artifacts()} == before and verify(after) == []


# -- who withdraws ---------------------------------------------------------------------------------------------------


def test_a_speaker_goes_and_a_receipt_proves_it(lake: Warehouse, say: Say) -> None:
    backup = shutil.copytree(lake.root / "artifacts" / "utterances", lake.root.parent / "backup")
    planned = say("purge", "--speaker", "clips/c")
    assert planned.code == 0 and verify(Warehouse(lake.root)) == [], "a plan changes nothing"
    assert say("sql", "SELECT count(*) AS n FROM utterances WHERE speaker_id = 'c'", "--json").json == [{"n": 6}]
    done = say("purge", "--speaker", "clips/c", "--delete", "--json").json
    assert say("sql", "SELECT count(*) AS n FROM utterances WHERE speaker_id = 'c'", "--json").json == [{"n": 0}]
    (receipt,) = (lake.root / "receipts").glob("*.json")
    assert say("purge", "--check", receipt.stem).code == 0 and done
    assert say("verify", "--deep", "--json").json == []
    gone = [b"clips-12", b"clips-17"]
    left = [path for path in (lake.root / "artifacts").rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    assert not [path for path in left for name in gone if name in path.read_bytes()]
    tainted = sorted((lake.root / "refs" / "tainted").glob("*.json"))
    assert tainted, "folds that test speaker a or b learned from c"
    assert "tainted" in say("show", tainted[0].stem).out
    shutil.copytree(backup, lake.root / "artifacts" / "utterances", dirs_exist_ok=True)
    again = say("purge", "--check", receipt.stem)
    assert again.code == 1 and "withdrew is in the lake again: in artifacts/utterances/" in again.err
    found = remains(Warehouse(lake.root), Tombstone.from_json(read_receipt(receipt)["withdrawn"]))
    assert again.err == f"emolake: {FoundAgain(receipt.stem, found)}\n"


class _Killed(BaseException):
    """Passes every guard, as a kill does."""


def test_a_purge_that_is_killed_again_and_again_is_completed(
    lake: Warehouse, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = purging._complete

    def killed_at(n: int) -> Callable[..., Any]:
        left = [n]

        def boundary(step: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise _Killed

        return lambda *args: whole(*args[:5], boundary)

    asked = ["purge", "--utterance", "clips-3", "--delete"]
    for n in (0, 4, 60):
        with monkeypatch.context() as patched:
            patched.setattr(purging, "_complete", killed_at(n))
            with pytest.raises(_Killed):
                say(*asked)
        asked = ["purge", "--resume"]
        refused = say("run", "demo")
        assert refused.code == 1 and "`emolake purge --resume` completes it" in refused.err
    assert say("purge", "--resume").code == 0
    assert say("verify", "--deep", "--json").json == []
    left = say("sql", "SELECT count(*) AS n FROM utterances WHERE utterance_id = 'clips-3'", "--json").json
    assert left == [{"n": 0}]


# -- met before, licences, changes, others ---------------------------------------------------------------------------


def test_contamination_and_licence_are_told_with_what_is_unknown(say: Say) -> None:
    assert "swept:words" in json.dumps(say("contamination", "swept:words", "--json").json)
    assert "calm2" in say("contamination", "calm2").out
    terms = say("licence", "reports/swept", "--json").json
    assert "unknown" in json.dumps(terms), "nobody said what these clips may be used for"


def test_diff_share_rebuild(say: Say, built: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert say("diff", "corpora/clips@reports/swept", "corpora/clips").out.endswith("the same rows\n")
    made = [a for a in built.warehouse.artifacts("predictions") if "split" in a.request.inputs]
    first, second = [a for a in made if a.request.inputs["split"] == made[0].request.inputs["split"]][:2]
    assert "probabilities" in say("diff", first.key, second.key).out
    shared = say("share", str(built.recipe.folder / "swept.toml"))
    assert shared.code == 0, shared

    def run(path: Path, setup: runs.Setup, verb: str, console: Any) -> None:
        warehouse = Warehouse(setup.lake)
        recipe = read_recipe(path)
        getattr(Line(recipe, warehouse, runs.roots_of(recipe, warehouse, setup.roots), Wholly(warehouse)), verb)()

    monkeypatch.setattr(runs, "run", run)
    rebuilt = say("rebuild", "swept.bundle.zip", "--lake", "mine", "--root", f"clips={built.roots['clips']}", "--json")
    assert [one["outcome"] for one in rebuilt.json] == ["same", "same"]


def test_gc_takes_what_nothing_reaches_and_nothing_else(lake: Warehouse, built: Line, say: Say) -> None:
    stray = lake.artifacts("metrics")[0].request
    other = type(stray)("metrics", "flows.score", 99, {"of": "nothing"}, {})
    lake.materialize(other, lambda folder: (folder / "x").write_text("x") and None)
    asked = ("gc", "--older-than", "0", "--recipe", str(built.recipe.folder / "swept.toml"))
    assert other.key in json.dumps(say(*asked, "--json").json)
    done = say(*asked, "--delete")
    assert done.code == 0, done
    assert other.key not in {a.key for a in Warehouse(lake.root).artifacts()}
    assert verify(Warehouse(lake.root)) == [] and "reports/swept" in say("lineage", "clips-0", "--down").out


# -- the catalog -----------------------------------------------------------------------------------------------------


def test_the_catalog_opens_in_any_client_and_says_what_it_holds(say: Say, tmp_path: Path) -> None:
    assert say("catalog", "--out", "c.duckdb").code == 0
    with duckdb.connect("c.duckdb", read_only=True) as client:
        counted = client.execute("SELECT count(*) FROM utterances").fetchone()
    assert counted == (18,)
    assert "utterance_id" in say("sql", "--schema", "utterances").out
    refused = say("sql", "COPY (SELECT 1) TO 'x.csv'")
    assert refused.code == 1 and not Path("x.csv").exists()


def test_the_page_of_the_report(say: Say) -> None:
    assert say("audit", "reports/swept", "--out", "a.html").code == 0
    assert "<svg" in Path("a.html").read_text(encoding="utf-8")


# -- two at once -----------------------------------------------------------------------------------------------------


BUILDER = """
import sys
from pathlib import Path
from flows.line import Line
from flows.recipe import read_recipe
from tests.flows.wholly import Wholly
from warehouse import Warehouse
recipe, lake, clips = map(Path, sys.argv[1:])
warehouse = Warehouse(lake)
Line(read_recipe(recipe), warehouse, {"clips": clips}, Wholly(warehouse)).pack()
"""


@pytest.mark.slow  # `tests/reliability` has a quick round of two
def test_two_builders_at_once_make_what_one_makes(built: Line, tmp_path: Path) -> None:
    root = Warehouse(tmp_path / "lake", create=True).root
    command = [sys.executable, "-c", BUILDER, built.recipe.folder / "swept.toml", root, built.roots["clips"]]
    here = Path(__file__).resolve().parents[3]
    builders = [subprocess.Popen(command, cwd=here) for _ in range(2)]
    assert [builder.wait() for builder in builders] == [0, 0]
    lake = Warehouse(root)
    assert verify(lake) == [] and not list((root / ".scratch").glob("*"))
    ours, theirs = (sorted(a.digest for a in wh.artifacts("shards")) for wh in (built.warehouse, lake))
    assert ours == theirs
