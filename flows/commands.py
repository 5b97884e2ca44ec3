"""The commands of `emolake`: what each does in one line, and the module that is imported when it is asked for.

To import all of them takes most of a second, and to answer any one of them as a rule a third of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("flows.cli_line", "Run the whole MCED line on miniature corpora."),
        "ingest": ("flows.cli_line", "Read the corpora of a recipe."),
        "align": ("flows.cli_line", "Align words and phones."),
        "extract": ("flows.cli_line", "Extract the features of a recipe."),
        "pack": ("flows.cli_line", "Pack the training shards of its models."),
        "run": ("flows.cli_line", "Run a recipe from raw files to its report."),
        "plan": ("flows.cli_line", "Show what a run would make, and why."),
        "ls": ("flows.cli_artifacts", "List artifacts, oldest first."),
        "show": ("flows.cli_artifacts", "Show one artifact."),
        "check": ("flows.cli_corpora", "Check a corpus against its published counts."),
        "protocols": ("flows.cli_corpora", "List the protocols."),
        "split": ("flows.cli_corpora", "Print the counts of a protocol's folds."),
        "leakage": ("flows.cli_corpora", "Report what train, dev and test share."),
        "features": ("flows.cli_features", "List what each extractor has done."),
        "canary": ("flows.cli_features", "List where each extractor gave other numbers."),
        "failures": ("flows.cli_features", "List why utterances could not be treated."),
        "transcripts": ("flows.cli_features", "Hold what was heard against what was spoken."),
        "retry": ("flows.cli_features", "Let the next run try again what failed."),
        "compact": ("flows.cli_compact", "Merge small artifacts."),
        "serve": ("flows.cli_operate", "Run recipes at the times that they name."),
        "status": ("flows.cli_operate", "Say what is scheduled, running, late and failed."),
        "table": ("flows.cli_papers", "Print a paper's table beside our own rows."),
        "compare": ("flows.cli_reports", "Hold two models against each other."),
        "cost": ("flows.cli_reports", "List what fits cost."),
        "predict": ("flows.cli_trained", "Label new clips."),
        "card": ("flows.cli_trained", "Print the card of a checkpoint."),
        "export": ("flows.cli_trained", "Give a fitted network away."),
        "top": ("flows.cli_watch", "Show the runs under way."),
        "logs": ("flows.cli_watch", "Show the log of a run."),
        "share": ("flows.audit.cli_bundle", "Write what others need to pack shards again."),
        "rebuild": ("flows.audit.cli_bundle", "Pack shards again from one's own copies."),
        "sql": ("flows.audit.cli_catalog", "Ask the lake in SQL."),
        "catalog": ("flows.audit.cli_catalog", "Write the catalog as a DuckDB file."),
        "contamination": ("flows.audit.cli_contamination", "Say what encoders and teachers learned from."),
        "diff": ("flows.audit.cli_diff", "List rows added, removed and changed."),
        "gc": ("flows.audit.cli_gc", "List, or remove, what nothing reaches."),
        "licence": ("flows.audit.cli_licence", "List whose terms hold for something."),
        "lineage": ("flows.audit.cli_lineage", "Trace up to raw files, or down to numbers."),
        "audit": ("flows.audit.cli_pages", "Write a report's audit as one HTML page."),
        "purge": ("flows.audit.cli_purge", "Remove what was withdrawn."),
        "verify": ("flows.audit.cli_verify", "Say what is not as it was made."),
        "why": ("flows.audit.cli_why", "Say what makes two artifacts differ."),
    }
)
"""Name -> the module that registers it, and what it does; its docstring says it in full."""


class Commands(TyperGroup):
    """Those of the table, in its order; the module of one is imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        load([cmd_name] if cmd_name in COMMANDS else COMMANDS)  # all, where the nearest name must be found
        self.commands = get_group(app).commands
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Feature store and experiment line for speech-and-text emotion recognition.",
)  # fmt: skip
app.callback()(lambda: None)  # makes it a group of commands before one has been registered


def load(names: Iterable[str]) -> None:
    """Imports the modules of these commands; a name that no command has is left to who parses the line."""
    for name in names:
        if name in COMMANDS:
            import_module(COMMANDS[name][0])
