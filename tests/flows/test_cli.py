"""The command line on the small lake: what it prints for people and for machines, and how it refuses.

Most calls are made in this process, because a start costs a second; those at the end are made as a user makes them.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import cli
from flows import run as runs
from tests.flows.saying import Said, Say
from tests.flows.small import Small, emolake
from warehouse import Warehouse

COMMANDS = (
    "demo", "ingest", "align", "extract", "pack", "run", "plan", "ls", "show",
    "check", "protocols", "split", "leakage", "features", "canary", "failures", "transcripts", "retry",
    "compact",
    "serve", "status",
    "table", "compare", "cost", "predict", "card", "export", "top", "logs",
    "share", "rebuild", "sql", "catalog", "contamination", "diff", "gc", "licence", "lineage", "audit", "purge",
    "verify", "why",
)  # fmt: skip


# -- help ------------------------------------------------------------------------------------------------------------


def test_the_help_names_every_command(say: Say) -> None:
    page = say("--help")
    assert page.code == 0 and page.err == ""
    assert tuple(re.findall(r"^  ([a-z]+)  ", page.out.partition("Commands:")[2], re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example_and_offers_json(say: Say, command: str) -> None:
    page = say(command, "--help")
    assert page.code == 0
    assert re.search(rf"^  Example: emolake {command}( |$)", page.out, re.MULTILINE)
    assert re.search(r"^  --json ", page.out, re.MULTILINE)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_lines_of_a_pipe_are_not_wrapped(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert say("sql", "SELECT repeat('long ', 200) AS text").out.splitlines()[1] == "long " * 200
    tree = say("lineage", "reports/small").out.partition("\n\n")[0].splitlines()
    ends = re.compile(r" [0-9a-f]{12}( \(above\))?( \(and \d+ more\))?$")
    assert len(tree) > 30 and all(ends.search(line) for line in tree)


# -- refusals --------------------------------------------------------------------------------------------------------


def is_one_sentence(said: Said, sentence: str) -> None:
    """Exit 1, nothing on stdout, and one line on stderr that matches."""
    assert (said.code, said.out) == (1, ""), said
    assert re.fullmatch(rf"emolake: .*{sentence}.*\n", said.err), said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("run dem", r"no recipe 'dem'; did you mean 'demo'\? \(there are: aligned, baselines, cmd, .*\)"),
        ("run none.toml", r"the recipe is not at none\.toml: give the path of a TOML file"),
        ("plan small.toml --root iemcap=.", "no corpus 'iemcap'; did you mean 'iemocap'"),
        ("plan small.toml --lake {new}", "'corpora.iemocap' was not ingested into this lake before: say where it is "
         "with --root iemocap=FOLDER"),
        ("plan small.toml --root films=none", "corpus 'films' is not at .*none: say where it is with --root films=FOL"),
        ("ls --lake none", r"none is no lake \(it has no lake\.json\): name another folder"),
        ("ls --lake {newer}", "has format 9, but this version of Emolake knows formats up to 1: install a newer"),
        ("ls --lake {broken}", r"is no lake \(its lake\.json does not state a format\)"),
        ("plan small.toml --lake small.toml", r"File exists: .*small\.toml"),
        ("sql SELECT+1;SELECT+2", "the query could not be answered: it must be one SELECT"),
        ("show nonsense", "no artifact has the key, digest or name 'nonsense': `emolake ls` lists"),
        ("lineage nonsense", "no artifact has the key, digest or name 'nonsense'"),
        ("why reports/none", "no artifact has the key, digest or name 'reports/none'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(say: Say, tmp_path: Path, arguments: str, sentence: str) -> None:
    for name, marker in (("newer", '{"format": 9}'), ("broken", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lake.json").write_text(marker)
    places = {name: tmp_path / name for name in ("new", "newer", "broken")}
    is_one_sentence(say(*(part.format(**places).replace("+", " ") for part in arguments.split())), sentence)


def test_an_unknown_field_of_a_recipe_is_named_with_the_nearest(say: Say, small: Small, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(small.recipe.read_text(encoding="utf-8").replace("level =", "lyevel ="), encoding="utf-8")
    is_one_sentence(say("run", str(path)), r"\[features\.lld\]: no field 'lyevel'; did you mean 'level'\?")


def test_a_beginning_that_several_keys_share_is_refused(say: Say, small: Small) -> None:
    firsts = [artifact.key[0] for artifact in small.warehouse.artifacts()]
    often = max(set(firsts), key=firsts.count)
    is_one_sentence(say("show", often), rf"'{often}' begins several keys or digests \(.*\): give more characters")


def test_a_query_that_duckdb_cannot_answer_is_told_in_its_words(say: Say) -> None:
    refused = say("sql", "SELECT x FROM nowhere")
    assert refused.code == 1 and refused.out == ""
    assert "the query could not be answered: Catalog Error: Table with name nowhere does not exist" in refused.err


def test_a_setting_that_cannot_be_used(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLAKE_WORKERS", "many")
    is_one_sentence(say("ls"), "the environment variable EMOLAKE_WORKERS is 'many', but it must be")


def test_a_fault_of_our_own_is_one_sentence_that_says_where(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Warehouse, kind: str | None = None) -> None:
        raise KeyError("x")

    monkeypatch.setattr(Warehouse, "artifacts", broken)
    is_one_sentence(say("ls"), r"KeyError: 'x' \(.*test_cli\.py, line \d+\): a fault of Emolake's own")


def test_ctrl_c_is_one_sentence_and_130(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run", interrupted)
    said = say("run", "small.toml")
    assert (said.code, said.out) == (130, "")
    assert said.err == "emolake: interrupted: what was finished is kept, and the same command continues there\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("extrat demo", "No such command 'extrat'"),
        ("run", "Missing argument 'RECIPE'"),
        ("sql", "Invalid value for QUERY: give a SELECT"),
        ("ls --jsn", "No such option: --jsn"),
        ("run small.toml --workers 0", "Invalid value for '--workers'"),
        ("run small.toml --device gpu", "'gpu' is not one of 'cpu', 'cuda', 'mps', 'auto'"),
        ("run small.toml --root iemocap", "Invalid value for --root: 'iemocap' must be NAME=FOLDER"),
        ("lineage reports/small --down --utterance meld-x", "Invalid value for --utterance"),
    ],
)
def test_a_usage_error_exits_with_2(say: Say, arguments: str, sentence: str) -> None:
    said = say(*arguments.split())
    assert (said.code, said.out) == (2, ""), said
    assert sentence in said.err and "--help" in said.err


# -- as a user has it ------------------------------------------------------------------------------------------------


def test_from_a_shell(small: Small, tmp_path: Path) -> None:
    answered = small.cli("sql", "SELECT count(*) AS n FROM artifacts", "--json")
    assert (answered.returncode, answered.stderr) == (0, "")
    assert json.loads(answered.stdout) == [{"n": len(small.warehouse.artifacts())}]
    elsewhere = emolake("ls", cwd=tmp_path, EMOLAKE_LAKE=str(small.lake))
    assert elsewhere.returncode == 0 and "\x1b" not in elsewhere.stdout
    refused = emolake("ls", cwd=tmp_path)
    assert refused.returncode == 1 and refused.stdout == "" and len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith(f"emolake: {tmp_path / 'lake'} is no lake (")


def test_colours_are_for_terminals(small: Small) -> None:
    ours, theirs = pty.openpty()
    here = Path(cli.__file__).parents[1]
    variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    subprocess.run(
        [sys.executable, "-m", "flows", "ls", "report"], cwd=small.folder, stdout=theirs, check=True,
        env=variables | {"PYTHONPATH": str(here), "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    printed = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "\x1b[1mkey" in printed and "flows.report" in printed


def test_a_reader_that_goes_away_is_no_fault(small: Small) -> None:
    """As in `emolake lineage … | head -1`."""
    here = Path(cli.__file__).parents[1]
    query = "SELECT repeat('x', 1000) AS x FROM range(2000)"
    command = [sys.executable, "-m", "flows", "sql", query]
    asking = subprocess.Popen(
        command, cwd=small.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(here)},
    )  # fmt: skip
    assert asking.stdout is not None and asking.stderr is not None
    asking.stdout.readline()
    asking.stdout.close()
    assert asking.stderr.read() == ""
    asking.stderr.close()
    asking.wait()
