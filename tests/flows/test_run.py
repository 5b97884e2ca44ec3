"""The whole line, from raw folders to a number that is traced, on the small lake."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows import pipeline
from flows import run as runs
from flows.audit import counted
from flows.audit.contamination import contamination
from flows.doer import Step
from flows.plan import is_done, plan
from flows.recipe import read_recipe, recipe_path
from tests.flows.audit.little import Little
from tests.flows.killing import INTERRUPTED, Running, left_behind
from tests.flows.small import Small, emolake, films_recipe
from warehouse import Request, Warehouse, Work
from warehouse.audit.lineage import up
from warehouse.audit.verify import verify
from warehouse.errors import EmolakeError, InvalidField


def test_the_run_says_what_it_did(small: Small) -> None:
    outcome = small.outcome
    assert outcome["new"] > 0
    assert [s["step"] for s in outcome["steps"] if s["step"].startswith("ingest")] == [
        "ingest iemocap", "ingest meld", "ingest films",
    ]  # fmt: skip
    assert {row["metric"] for row in outcome["metrics"]} == {"wf1", "accuracy", "uar"}
    assert Path(outcome["report"]).is_file()


def test_only_our_own_words_are_on_the_terminal(small: Small) -> None:
    lines = small.printed.stderr.splitlines()
    assert lines, "progress is shown on stderr when stdout is JSON"
    assert all(" new " in line and line.endswith(" s") for line in lines), small.printed.stderr


def test_a_second_run_makes_nothing_and_starts_no_prefect(small: Small) -> None:
    probe = (
        "import sys\nfrom flows import cli\ntry:\n    cli.main()\nfinally:\n"
        "    print(bool(sys.modules.keys() & {'prefect', 'torch', 'transformers'}), file=sys.stderr)"
    )
    again = subprocess.run(
        [sys.executable, "-c", probe, "run", str(small.recipe), "--json"], cwd=small.folder, capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": str(Path(runs.__file__).parents[1])}, check=True,
    )  # fmt: skip
    assert json.loads(again.stdout)["new"] == 0
    assert again.stderr == "False\n"


@pytest.mark.parametrize(
    ("is_new", "folder", "has_work", "expected"),
    [
        (True, "", True, ["server begun", "planned", "waited for the server", "ran"]),
        (False, "", True, ["planned", "server begun", "waited for the server", "ran"]),
        (False, "", False, ["planned"]),
        (True, "not-there", False, ["planned"]),
    ],
)
def test_the_server_of_a_new_lake_starts_while_the_plan_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool, folder: str, has_work: bool, expected: list[str]
) -> None:
    order: list[str] = []

    @contextmanager
    def server(home: Path) -> Iterator[Callable[[], None]]:
        order.append("server begun")
        yield lambda: order.append("waited for the server")

    def planned(*_: object, **__: object) -> list[Step]:
        order.append("planned")
        return [Step("ingest iemocap", waits_for="record iemocap")] if has_work else []

    def ran(*_: object) -> list[Step]:
        order.append("ran")
        return []

    monkeypatch.setattr(runs, "prefect_server", server)
    monkeypatch.setattr(runs, "plan", planned)
    monkeypatch.setattr(pipeline, "run", ran)
    if not is_new:
        Warehouse(tmp_path / "lake", create=True).set_ref("corpora/iemocap", {"root": str(tmp_path)})
    recipe = recipe_path("iemocap")
    setup = runs.Setup(tmp_path / "lake", {"iemocap": tmp_path / folder}, "cpu", 1)
    runs.run(recipe, setup, "ingest", Console(file=io.StringIO()))
    assert order == expected


def test_lineage_of_the_report_reaches_every_raw_unit(small: Small) -> None:
    warehouse = small.warehouse
    tree = up(warehouse, warehouse.resolve("reports/small"))
    reached = {node.artifact.digest for node in tree.walk() if node.artifact.request.kind == "raw"}
    assert reached == {d for ref in warehouse.refs("corpora").values() for d in ref["raw"]}


def test_the_report_is_one_file_that_needs_no_other(small: Small) -> None:
    page = Path(small.outcome["report"]).read_text(encoding="utf-8")
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "")
    assert str(small.folder) not in page, "no path of the machine in an artifact"


def test_mean_f0_per_emotion_and_speaker(small: Small) -> None:
    rows = small.warehouse.sql("""
        SELECT speaker_id, value, avg("F0semitoneFrom27.5Hz_sma3nz_amean") AS f0
        FROM utterances JOIN labels USING (utterance_id) JOIN features_egemaps ON input_id = audio_id
        WHERE corpus = 'iemocap' AND scheme = 'emotion' AND rater = 'summary' GROUP BY ALL
    """).fetchall()
    assert len({speaker for speaker, _, _ in rows}) == 10
    assert all(10 < f0 < 60 for _, _, f0 in rows)


def test_the_lake_is_sound(small: Small) -> None:
    assert verify(small.warehouse) == []


def test_a_corpus_without_a_root_is_asked_for(small: Small, tmp_path: Path) -> None:
    recipe = read_recipe(small.recipe)
    with pytest.raises(InvalidField, match="say where it is with --root iemocap=FOLDER"):
        runs.roots_of(recipe, Warehouse(tmp_path / "lake", create=True), {})


@pytest.mark.slow  # `test_server` interrupts a flow, `test_bad_input` the command, `test_workers` the processes
def test_ctrl_c_leaves_no_server_and_nothing_half_written_and_a_rerun_continues(
    small: Small, api: str, tmp_path: Path
) -> None:
    """The run has a server of its own; that of the rerun is everybody's, which is sooner."""
    path, roots = tmp_path / "films.toml", {"films": small.roots["films"]}
    path.write_text(re.sub(r"(?s)\[align.*(?=\[features\.waveform\])", "", films_recipe()), encoding="utf-8")
    arguments = ["extract", str(path), f"--root=films={roots['films']}"]
    running = Running(*arguments, cwd=tmp_path, EMOLAKE_WORKERS="1")
    lake = tmp_path / "lake"
    running.wait_for(lambda: any(lake.glob("artifacts/utterances/*/manifest.json")))
    assert any("flows/server.py" in command for command in running.descendants()), "its own server"
    assert running.interrupt() == 130, running.complaint
    running.wait_until_nobody_is_left()
    assert running.complaint == INTERRUPTED
    assert left_behind(tmp_path) == []
    warehouse = Warehouse(lake)
    assert verify(warehouse) == []
    recipe = read_recipe(path)
    assert not is_done(plan(recipe, warehouse, roots, "extract"))
    again = emolake(*arguments, "--json", cwd=tmp_path, PREFECT_API_URL=api)
    assert again.returncode == 0, again.stderr
    films = {a.digest for a in warehouse.artifacts("utterances")}
    expected = {
        a.digest for a in small.warehouse.artifacts("features")
        if a.request.step == "extractors.waveform" and films & set(a.request.inputs["utterances"])
    }  # fmt: skip
    assert {a.digest for a in warehouse.artifacts("features")} == expected and len(expected) == len(films)


def test_what_a_canary_found_is_said_once_where_it_ran(tmp_path: Path) -> None:
    ran = Step("canary lld", works=[Work(Request("canary", "made", 1))], remark="soxr 0.5 → 1.0 moved it")
    known = Step("canary egemaps", remark="soxr 0.5 → 1.0 moved this too")
    recipe, lake = read_recipe(recipe_path("demo")), Warehouse(tmp_path / "lake", create=True)
    console = Console(file=io.StringIO(), width=60)
    runs.print_outcome(runs.Outcome(recipe, lake, [ran, known], None, 1.0), console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "canary lld: soxr 0.5 → 1.0 moved it\n" in told and "this too" not in told


def ran(little: Little, console: Console) -> runs.Outcome:
    """Of a lake that has everything; so its report is found."""
    return runs.run(little.recipe, little.setup(), "run", console)


def test_a_run_leaves_counted_what_its_models_met_before(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, console = little.warehouse.root, Console(file=io.StringIO())
    asked = ("little:linear", "emodb4-loso6")
    fresh = [contamination(Warehouse(lake), name).as_json() for name in asked]
    memory = lake / ".cache" / "overlaps-met"
    memory.unlink()
    assert runs.run(little.recipe, little.setup(), "ingest", console).not_compared == "" and memory.exists()
    memory.unlink()
    assert ran(little, console).not_compared == "" and memory.exists()
    monkeypatch.setattr(counted, "count", None)
    assert ran(little, console).not_compared == ""
    assert [contamination(Warehouse(lake), name).as_json() for name in asked] == fresh


def test_what_is_done_is_done_where_the_name_of_another_report_is_damaged(little: Little, tmp_path: Path) -> None:
    lake = shutil.copytree(little.warehouse.root, tmp_path / "copy")
    (lake / "refs" / "reports" / "other.json").write_text("{")
    outcome = runs.run(little.recipe, replace(little.setup(), lake=lake), "ingest", Console(file=io.StringIO()))
    assert outcome.steps and not outcome.not_compared and (lake / ".cache" / "overlaps-met").exists()


def test_a_run_has_its_report_where_what_models_met_cannot_be_counted(
    little: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: BaseException) -> Any:
        def count(pairs: Any) -> Any:
            raise error

        return count

    for error in (EmolakeError("no such split"), OSError("no such split"), MemoryError("no such split")):
        monkeypatch.setattr(counted, "count", fail(error))
        console = Console(file=io.StringIO())
        outcome = ran(little, console)
        why = "what models learned from could not be compared with what judges them: no such split"
        assert outcome.report is not None and outcome.as_json()["not_compared"] == outcome.not_compared == why
        runs.print_outcome(outcome, console)
        assert console.file.getvalue().count(f"\n{why}\n") == 1  # type: ignore[attr-defined]
    monkeypatch.setattr(counted, "count", fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        ran(little, console)
    assert Warehouse(little.warehouse.root).resolve("reports/little").key == outcome.report.key
