"""What people see: plain text in a pipe, colours on a terminal, and bars that end where they should."""

from __future__ import annotations

import io
import json
import math
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from flows import show
from flows.doer import Step
from flows.show import Silent, Terminal
from warehouse import Artifact, Request, Work
from warehouse.audit.lineage import Node
from warehouse.audit.trace import Hop
from warehouse.audit.verify import Fault
from warehouse.audit.why import ABSENT, Difference

WORKS = [Work(Request("made", name, 1), n_rows=n_rows) for name, n_rows in (("a", 1), ("b", 5), ("c", 7))]


def a_console(terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=120, markup=False, highlight=False), file


def printed(*things: Any, terminal: bool = False) -> str:
    console, file = a_console(terminal)
    for thing in things:
        console.print(thing)
    return file.getvalue()


def lines(*things: Any) -> list[str]:
    return [line.rstrip() for line in printed(*things).splitlines()]


PLANNED = [
    Step("record", 12),
    Step("extract", 10, 4, WORKS, differences=[Difference("params.level", "lld", "functionals")] * 3),
    Step("pack", 10, 4, WORKS, differences=[Difference("inputs.features", ["a" * 64, "b" * 64], ["b" * 64])]),
    Step("fit", 1, 1, WORKS),
    Step("canary", works=WORKS, differences=[Difference("params.x", 1, 2)], remark="to be run: soxr 0.5 → 1.0"),
    Step("report", waits_for="fit"),
]


def test_a_plan_says_why() -> None:
    assert [line.split(maxsplit=3) for line in lines(show.steps_table(PLANNED, planned=True))] == [
        ["step", "rows", "new", "why"],
        ["record", "12", "0", "all there"],
        ["extract", "10", "4", 'params.level: "lld" instead of "functionals" (+2 more)'],
        ["pack", "10", "4", "inputs.features: 1 of 2 are other artifacts"],
        ["fit", "1", "1", "nothing like it in the lake"],
        ["canary", "0", "0", "to be run: soxr 0.5 → 1.0"],
        ["report", "?", "?", "waits for: fit"],
    ]
    assert show.totals(PLANNED) == (9, 33)


def test_a_run_says_how_long() -> None:
    done = lines(show.steps_table([Step("fit", 2, 1, seconds=12.34)], planned=False))
    assert [line.split() for line in done] == [["step", "rows", "new", "seconds"], ["fit", "2", "1", "12.3"]]


def artifact(kind: str, step: str) -> Artifact:
    return Artifact(Request(kind, step, 1), {}, "d", {}, "", None)  # type: ignore[arg-type]


def test_tables_and_trees_are_plain_in_a_pipe_and_coloured_on_a_terminal() -> None:
    leaf = Node(artifact("raw", "features.raw"), "raw", repeated=True)
    shown = (
        show.steps_table(PLANNED, planned=True),
        show.lineage_tree(Node(artifact("report", "flows.report"), branches=[leaf])),
        show.trace_table([Hop("raw file", "", "a.wav, seconds 0–1")]),
        show.rows_table([{"a": 1}], ["a"]),
        show.differences_table([Difference("version", 1, 2)], "k" * 32, "l" * 32),
    )
    assert "\x1b" not in printed(*shown)
    assert all("\x1b" in printed(one, terminal=True) for one in shown)
    key = leaf.artifact.key[:12]
    assert lines(shown[1])[1] == f"└── raw: raw features.raw {key} (above)"


def test_square_brackets_are_only_brackets() -> None:
    rows = [{"text": "[bold]oh[/bold] [door closes]"}]
    assert lines(show.rows_table(rows, ["text"]))[1] == "[bold]oh[/bold] [door closes]"


def test_faults_of_artifacts_say_what_they_taint_and_those_of_names_what_they_are() -> None:
    made = show.fault_line(Fault("k" * 32, "[x] is gone", ["a", "b"]))
    assert made.plain == "kkkkkkkkkkkk  [x] is gone; taints 2 artifacts"
    assert show.fault_line(Fault("refs/corpora/films", "[x] is gone", [])).plain == "refs/corpora/films  [x] is gone"


def test_cells() -> None:
    rows = [
        {"text": "a", "count": 12_345_678, "mean": 0.123456789, "frames": b"\0" * 3000, "none": None},
        {"text": "bb", "count": 1, "mean": 1234.5, "frames": b"", "none": None},
    ]
    table = lines(show.rows_table(rows, list(rows[0])))
    assert table[1].split() == ["a", "12345678", "0.123457", "(3000", "bytes)"]
    assert table[2] == "bb           1    1234.5  (0 bytes)"


CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=3) | st.text(max_size=8)
PLAIN = st.none() | st.integers() | st.floats() | st.text("ab [/]:'", max_size=5)


@given(
    st.sampled_from([CELLS, PLAIN]).flatmap(
        lambda cells: st.lists(st.fixed_dictionaries({"a": cells, "the :b:": cells, "c": PLAIN}), max_size=4)
    )
)
def test_the_table_that_a_pipe_gets_is_written_as_rich_would(rows: list[dict[str, Any]]) -> None:
    text = show.rows_text(rows, columns := ["a", "the :b:", "c"], 10_000)
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, emoji=False, width=10_000)
    console.print(show.rows_table(rows, columns))
    assert text is None or f"{text}\n" == out.getvalue()


def test_what_a_table_for_a_pipe_leaves_to_rich() -> None:
    assert show.rows_text([{"a": 1, "b": "x"}], ["a", "b"], 100) == "a  b\n1  x"
    for row in ({"a": "two\nlines"}, {"a": "é"}, {"a": "\x1b[1m"}, {"a": " x"}, {"a": "x" * 101}):
        assert show.rows_text([row], ["a"], 100) is None


def test_where_requests_differ_inputs_are_named_by_their_beginnings() -> None:
    found = [
        Difference("inputs.features", ["a" * 64, "b" * 64], ABSENT),
        Difference("params.layers", [1, 2], [3]),
        Difference("params.name", "x", "y"),
    ]
    assert [line.split(maxsplit=1) for line in lines(show.differences_table(found, "k" * 32, "l" * 32))] == [
        ["where", "kkkkkkkkkkkk                llllllllllll"],
        ["inputs.features", "aaaaaaaaaaaa, bbbbbbbbbbbb  (absent)"],
        ["params.layers", "[1, 2]                      [3]"],
        ["params.name", "x                           y"],
    ]


# -- progress --------------------------------------------------------------------------------------------------------


def test_in_a_pipe_there_is_one_line_per_step() -> None:
    console, file = a_console(False)
    terminal = Terminal(console)
    for name, n_rows in (("align", 13), ("extract lld", 7)):
        with terminal.step(name, n_rows) as bar:
            for work in WORKS:
                bar.noter([work])(1, 1, "a word")
    terminal.hashing("films")(2**30)
    with show.counting(console, "counting") as count:
        count(1, 2)
    text = file.getvalue()
    assert "\x1b" not in text and "\r" not in text
    assert [line.split()[:-2] for line in text.splitlines()] == [["align", "13", "new"], ["extract", "lld", "7", "new"]]


def test_on_a_terminal_a_bar_moves_and_the_line_stays() -> None:
    console, file = a_console(True)
    with Terminal(console).step("align", 13) as bar:
        bar.noter([WORKS[1]])(1, 2, "half of it")
        bar._progress.refresh()
    assert "2/13" in file.getvalue() and "half of it" in file.getvalue()
    plain = re.sub(r"\x1b\[\??[\d;]*[a-zA-Z]", "", file.getvalue())
    assert plain.splitlines()[-1].split()[:3] == ["align", "13", "new"]


def test_a_step_that_fails_leaves_no_line_that_says_it_is_done() -> None:
    console, file = a_console(False)
    with pytest.raises(KeyError), Terminal(console).step("align", 13):
        raise KeyError
    assert file.getvalue() == ""


def test_a_sign_of_life_only_where_somebody_looks() -> None:
    console, file = a_console(False)
    with Terminal(console).status("starting Prefect"):
        pass
    assert file.getvalue() == ""
    console, file = a_console(True)
    with Terminal(console).status("starting Prefect"):
        pass
    assert "starting Prefect" in file.getvalue()


def test_hashing_is_shown_from_where_it_takes_time() -> None:
    console, file = a_console(True)
    progress = Terminal(console).hashing("films")
    progress(2**20)
    assert file.getvalue() == ""
    progress(2**30)
    assert "hashing films: 1.00 GiB" in file.getvalue()


NOTES = st.lists(st.tuples(st.sampled_from(WORKS), st.integers(0, 400), st.integers(0, 300)), max_size=30)


@given(NOTES)
def test_progress_never_passes_its_end_and_reaches_it(notes: list[tuple[Work, int, int]]) -> None:
    progress = Progress(disable=True, console=Console(file=io.StringIO()))
    n_rows = sum(work.n_rows for work in WORKS)
    task = progress.add_task("align", total=n_rows, note="")
    bar = show._Bar(progress, task)
    for work, done, total in notes:
        bar.noter([work])(done, total, "")
        assert 0 <= progress.tasks[0].completed <= n_rows
    for work in WORKS:
        bar.noter([work])(1, 1, "")
    assert progress.tasks[0].completed == n_rows


def test_nobody_is_shown_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Silent().step("align", 3) as bar:
        bar.noter([WORKS[0]])(1, 2, "a word")
    Silent().hashing("films")(2**40)
    assert capsys.readouterr() == ("", "")


# -- for machines ----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_a_cell_holds_is_json_that_every_reader_takes(value: Any) -> None:
    text = json.dumps(show.plain(value), allow_nan=False)
    assert json.loads(text) == show.plain(value)


def test_what_json_can_hold_stays() -> None:
    value = {"a": [1, 2.5, "ü", True, None, {"b": []}]}
    assert show.plain(value) == value
    assert show.plain([math.inf, math.nan, -math.inf]) == [None, None, None]
    assert [repr(show.plain(Decimal(text))) for text in ("12345678901234567890", "1.50")] == [
        "12345678901234567890", "1.5",
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["a", "b", "a_2", "a_3", "b_2"]), max_size=8))
def test_numbered_names_are_there_once_and_the_first_keeps_its_own(names: list[str]) -> None:
    found = show.numbered(names)
    assert len(set(found)) == len(names)
    for name in set(names):
        assert found[names.index(name)] == name
