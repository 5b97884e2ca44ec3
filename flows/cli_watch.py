"""Watching runs: what is going on now, and what was."""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import top as tops
from flows.app import Json, Lake, command, complain, console_for, print_json, print_rows, warehouse_of
from flows.run_events import Reader, find_run, is_live, recipe_of, run_folders
from flows.tally import Tally

EVERY_S = 1.0
"""How often `top` looks, and `logs --follow`."""

MOMENT_S = 0.2
"""Over which `top --once` counts what processes use of a CPU."""

_BESIDE = 16
"""Lines of a terminal that are not for steps."""

_TROUBLE = ("failed", "retried", "worker died", "metrics")


@command("emolake top")
def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once and end, as where output is no terminal.")] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Show the runs under way: steps, pace, hits, failures, what each worker is at. `q` ends it, and no run."""
    root = warehouse_of(lake).root
    looking, console = tops.Top(root), console_for(as_json)
    views = looking.look()
    if views and (once or as_json or not console.is_terminal):
        time.sleep(MOMENT_S)
        views = looking.look() or views
    if as_json:
        print_json(views)
    elif not views:
        console.print(tops.nothing_under_way(root), soft_wrap=True)
    elif once or not console.is_terminal:
        console.print(tops.shown(views))
    else:
        _show_live(looking, views)


def _show_live(looking: tops.Top, views: list[dict[str, Any]]) -> None:
    """Until `q`, Ctrl-C, or until no run is under way; then says how each stands."""
    from rich.live import Live

    console, seen = console_for(False), set[str]()
    with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
        while views:
            seen |= {str(view["run"]) for view in views}
            live.update(tops.shown(views, max(5, console.height // len(views) - _BESIDE)), refresh=True)
            if _asks_to_end(EVERY_S):
                break
            views = looking.look()
    for folder in run_folders(looking.lake):
        if folder.name in seen:
            console.print(f"{folder.name} {tops.state_of(folder)}", soft_wrap=True)


@contextmanager
def _keys() -> Iterator[None]:
    """Within it a key is read without the key for a new line; a terminal is left as it was found."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _asks_to_end(patience_s: float) -> bool:
    if not sys.stdin.isatty():
        time.sleep(patience_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], patience_s)
    return bool(ready) and sys.stdin.read(1) in ("q", "Q", "")


@command("emolake logs demo --failures")
def logs(
    run: Annotated[
        str | None, typer.Argument(help="A run, the beginning of its name, or a recipe: its last (default: the last).")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run is over.")] = False,
    step: Annotated[str, typer.Option("--step", help="Only steps, or makers, with this in their name.")] = "",
    failures: Annotated[bool, typer.Option("--failures", help="Only what failed, died or was tried again.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs that are kept, oldest first.")] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Show the log of a run, one line per event; --follow --json prints one JSON object per line."""
    root = warehouse_of(lake).root
    if runs:
        rows = [_summary(folder) for folder in run_folders(root)]
        print_rows(rows, ["run", "recipe", "state", "made", "found", "failed"], as_json, "no run was logged")
        return
    folder = find_run(root, run)
    if folder is None:
        print_rows([], [], as_json, "no run was logged")
        return
    reader, kept = Reader(folder), list[dict[str, Any]]()
    for events in _batches(reader, follow):
        wanted = [event for event in events if _is_wanted(event, step, failures)]
        for event in wanted:
            if not as_json:
                console_for(False).print(_line(event), soft_wrap=True)
            elif follow:
                print(json.dumps(event, ensure_ascii=False), flush=True)
        kept += wanted
    if as_json and not follow:
        print_json(kept)
    if reader.n_cut:
        complain(f"cut lines that are left out: {reader.n_cut} (whoever wrote them was killed, or the disk was full)")


def _batches(reader: Reader, follow: bool) -> Iterator[list[dict[str, Any]]]:
    while True:
        is_over = not follow or not is_live(reader.folder)
        yield reader.more()
        if is_over:
            return
        time.sleep(EVERY_S)


def _is_wanted(event: Mapping[str, Any], step: str, failures: bool) -> bool:
    is_of_step = step in str(event.get("step", "")) or step in str(event.get("maker", ""))
    is_trouble = event["event"] in _TROUBLE or event.get("failures") or event.get("error")
    return is_of_step and bool(is_trouble or not failures)


def _line(event: Mapping[str, Any]) -> str:
    """Time, event, step, key, rows, seconds, and the rest in words."""
    rest = {name: event[name] for name in _REST if event.get(name) not in (None, "", 0)}
    words = ", ".join(f"{name} {value}" for name, value in rest.items())
    where, key = str(event.get("step") or event.get("maker") or ""), str(event.get("key", ""))[:12]
    rows, seconds = event.get("rows", ""), event.get("seconds", "")
    begin = f"{str(event['time'])[11:23]}  {event['event']:<11}  {where:<28}  {key:<12}"
    return f"{begin}  {rows:>6}  {seconds:>8}  {words}".rstrip()


_REST = (
    "verb", "device", "workers", "outcome", "new", "works", "found", "bytes", "failures", "done", "total", "note",
    "status", "error", "place", "why",
)  # fmt: skip


def _summary(folder: Path) -> dict[str, Any]:
    tally = Tally()
    tally.add(Reader(folder).more())
    steps = tally.steps.values()
    counts = {name: sum(getattr(step, name) for step in steps) for name in ("made", "found", "failed")}
    return {"run": folder.name, "recipe": recipe_of(folder.name), "state": tops.state_of(folder)} | counts
