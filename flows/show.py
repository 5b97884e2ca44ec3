"""What a person sees while something runs and after it: progress, tables, trees; coloured only on a terminal."""

from __future__ import annotations

import base64
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)  # fmt: skip
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from flows.doer import Step
    from warehouse.artifact import Work
    from warehouse.audit.lineage import Node
    from warehouse.audit.trace import Hop
    from warehouse.audit.verify import Fault
    from warehouse.audit.why import Difference

Noter = Callable[[int, int, str], None]
"""Told how far a batch of works is: done, of how many, and a word on it."""


class StepWatcher(Protocol):
    """Who is shown the progress of one step."""

    def noter(self, works: Sequence[Work]) -> Noter: ...


class Watcher(Protocol):
    """Who is shown the progress of a run."""

    def step(self, name: str, n_rows: int) -> Any: ...

    def hashing(self, corpus: str) -> Callable[[int], None]: ...


class Silent:
    """Nobody."""

    @contextmanager
    def step(self, name: str, n_rows: int) -> Iterator[Silent]:
        yield self

    def noter(self, works: Sequence[Work]) -> Noter:
        return lambda done, total, note: None

    def hashing(self, corpus: str) -> Callable[[int], None]:
        return lambda n_bytes: None


class Terminal:
    """A person at a terminal: a bar per step while it runs. Where output is a file or a pipe, one line per step."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, name: str, n_rows: int) -> Iterator[_Bar]:
        began = time.monotonic()
        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        with progress:
            yield _Bar(progress, progress.add_task(f"{name:<32}", total=n_rows, note=""))
        self.console.print(f"{name:<40}{n_rows:>7} new {time.monotonic() - began:>8.1f} s", highlight=False)

    def status(self, what: str) -> AbstractContextManager[Any]:
        """A sign of life for what cannot say how far it is; nothing where output is no terminal."""
        return self.console.status(what) if self.console.is_terminal else nullcontext()

    def hashing(self, corpus: str) -> Callable[[int], None]:
        """A line that grows with the bytes hashed; shown from 64 MiB on, below which hashing is instant."""
        total = 0

        def progress(n_bytes: int) -> None:
            nonlocal total
            before, total = total, total + n_bytes
            if total // _HASHED_STEP > before // _HASHED_STEP and self.console.is_terminal:
                self.console.print(f"hashing {corpus}: {total / 2**30:.2f} GiB", end="\r", style="dim")

        return progress


_HASHED_STEP = 64 * 2**20


@contextmanager
def counting(console: Console, what: str, are_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar for anything that can say how many of how many; nothing where output is no terminal."""
    counts = (DownloadColumn(binary_units=True), TransferSpeedColumn()) if are_bytes else (MofNCompleteColumn(),)
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), *counts, TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._done: dict[str, float] = {}
        self._lock = threading.Lock()

    def noter(self, works: Sequence[Work]) -> Noter:
        n_rows = sum(work.n_rows for work in works)

        def note(done: int, total: int, text: str) -> None:
            with self._lock:
                self._done[works[0].request.key] = n_rows * min(done / max(total, 1), 1)
                self._progress.update(self._task, completed=int(sum(self._done.values())), note=text)

        return note


def steps_table(steps: Sequence[Step], planned: bool) -> Table:
    """One row per step: rows wanted, rows that are (or were) new, and why or how long."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("step")
    table.add_column("rows", justify="right")
    table.add_column("new", justify="right")
    table.add_column("why" if planned else "seconds", justify="left" if planned else "right")
    for step in steps:
        if planned:
            table.add_row(step.name, _count(step, step.n_rows), _count(step, step.n_new), _why(step))
        else:
            table.add_row(step.name, str(step.n_rows), str(step.n_new), f"{step.seconds:.1f}")
    return table


def _count(step: Step, n: int) -> str:
    return "?" if step.waits_for else str(n)


def _why(step: Step) -> str:
    if step.waits_for:
        return f"waits for: {step.waits_for}"
    if step.remark:
        return step.remark
    if not step.works:
        return "all there"
    if not step.differences:
        return "nothing like it in the lake"
    more = f" (+{len(step.differences) - 1} more)" if len(step.differences) > 1 else ""
    first = step.differences[0]
    return f"{_others(first) or first}{more}"


def _others(difference: Difference) -> str:
    """Of inputs, whose digests tell a reader nothing: how many of them are others. '' for any other difference."""
    asked, there = difference.asked, difference.there
    if not (difference.where.startswith("inputs.") and isinstance(asked, list) and isinstance(there, list)):
        return ""
    return f"{difference.where}: {len(set(asked) - set(there))} of {len(asked)} are other artifacts"


def differences_table(differences: Sequence[Difference], key: str, other: str) -> Table:
    """Where two requests differ, one place per row."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("where", key[:12], other[:12]):
        table.add_column(name, overflow="fold")
    for difference in differences:
        table.add_row(difference.where, side(difference.asked), side(difference.there))
    return table


def side(value: Any) -> str:
    """What one of two things that differ has: of digests their beginnings."""
    listed = value if isinstance(value, list) and value else [value]
    digests = all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in listed)
    return ", ".join(one[:12] for one in listed) if digests else str(value)


_DIGEST = re.compile(r"[0-9a-f]{64}")


def totals(steps: Sequence[Step]) -> tuple[int, int]:
    """Rows new and rows wanted over all steps."""
    return sum(step.n_new for step in steps), sum(step.n_rows for step in steps)


_DEEPEST = 40


def lineage_tree(node: Node) -> Tree:
    """A lineage tree for the terminal: kind, step, and the beginning of each key. What is deeper than a line of a
    terminal is wide is left out, and said to be."""
    tree = Tree(_line(node))
    waiting = [(tree, node, 1)]
    while waiting:
        place, grown, depth = waiting.pop()
        if depth == _DEEPEST and grown.branches:
            place.add(Text(f"… and {sum(1 for _ in grown.walk()) - 1} below it, which --to json lists", style="dim"))
        elif depth < _DEEPEST:
            waiting += [(place.add(_line(branch)), branch, depth + 1) for branch in grown.branches]
    return tree


def _line(node: Node) -> Text:
    text = Text()
    if node.role:
        text.append(f"{node.role}: ", style="dim")
    text.append(node.artifact.request.kind, style="bold")
    text.append(f" {node.artifact.request.step} ")
    text.append(node.artifact.key[:12], style="cyan")
    if node.repeated:
        text.append(" (above)", style="dim")
    if node.n_more:
        text.append(f" (and {node.n_more} more)", style="dim")
    return text


def trace_table(hops: Sequence[Hop]) -> Table:
    """A trace, one hop per row, from the number down to the bytes."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("what", "artifact", "which"):
        table.add_column(name, overflow="fold")
    for hop in hops:
        table.add_row(hop.what, hop.key[:12], hop.note)
    return table


def fault_line(fault: Fault) -> Text:
    """What is wrong with an artifact and how much was made from it, or with a name, from which nothing is."""
    if fault.key.startswith("refs/"):
        return Text(f"{fault.key}  {fault.problem}")
    return Text(f"{fault.key[:12]}  {fault.problem}; taints {len(fault.taints)} artifacts")


def rows_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    """Dict rows as an aligned table, numbers to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if _is_numeric(rows, name) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    return table


def rows_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int) -> str | None:
    """What is printed of `rows_table` where no terminal is, in a hundredth of the time, which of a thousand rows is a
    third of a second. None where a cell is not plain text or a line is longer than `width`."""
    aligned = []
    for name in columns:
        cells = [name, *(_cell(row[name]) for row in rows)]
        if not all(cell.isascii() and cell.isprintable() and cell == cell.strip() for cell in cells):
            return None
        longest = max(map(len, cells))
        align = str.rjust if _is_numeric(rows, name) else str.ljust
        aligned.append([align(cell, longest) for cell in cells])
    lines = ["  ".join(cells) for cells in zip(*aligned, strict=True)]
    return "\n".join(lines) if columns and len(lines[0]) <= width else None


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    cells = [row[name] for row in rows if row[name] is not None]
    return bool(cells) and all(isinstance(cell, (int, float, Decimal)) for cell in cells)


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def numbered(names: Sequence[str]) -> list[str]:
    """Column names of which each is there once: joined tables share some, and a row is a mapping.

    Example:
        >>> numbered(["key", "artifact", "artifact"])
        ['key', 'artifact', 'artifact_2']
    """
    found: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in found or (number > 1 and unique in names):
            number += 1
            unique = f"{name}_{number}"
        found.append(unique)
    return found


def plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes as Base64, a number that is not finite as null, what has no JSON as text.

    Example:
        >>> plain({"a": (b"ab", float("nan"))})
        {'a': ['YWI=', None]}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Decimal):  # what DuckDB's sums of integers are
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
