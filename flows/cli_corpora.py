"""The commands about corpora and protocols: what is there, what is missing, what leaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from features.check import Findings
from flows import protocol as protocols
from flows.app import Json, Lake, command, print_json, print_rows, warehouse_of
from flows.leakage import protocol_leakage, sentences
from flows.protocol_tables import count_rows, list_protocols, split_table
from flows.teacher_texts import teacher_texts
from warehouse import Artifact, Warehouse
from warehouse.catalog import build, names, plugin_class
from warehouse.errors import ArtifactNotFound, InvalidField

ProtocolName = Annotated[str, typer.Argument(help="Name of a protocol, with options as in iemocap4-loso5:dev=none.")]
CorpusName = Annotated[
    str | None, typer.Option("--corpus", help="An ingested corpus (default: the only one of the protocol's reader).")
]


@command("emolake check iemocap /corpora/IEMOCAP_full_release")
def check(
    reader: Annotated[str, typer.Argument(help="Reader of the corpus: iemocap, meld, mosei.")],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus.", exists=True, file_okay=False)],
    partial: Annotated[bool, typer.Option("--partial", help="Exit 0 although something is missing or odd.")] = False,
    expected: Annotated[Path | None, typer.Option("--expected", help="JSON of other counts to check against.")] = None,
    as_json: Json = False,
) -> None:
    """Check a corpus against its published counts and name every anomaly; exit 1 when it is not as published."""
    checked = [name for name in names("features.corpora") if hasattr(plugin_class("features.corpora", name), "check")]
    plugin = build("features.corpora", reader, {}, f"reader '{reader}'") if reader in checked else None
    if plugin is None:
        raise InvalidField("emolake check", "reader", f"is '{reader}', but those that check are {', '.join(checked)}")
    found: Findings = plugin.check(root, json.loads(expected.read_text()) if expected else None)
    if as_json:
        print_json(found.as_json())
    else:
        rows = [vars(count) | {"difference": count.difference} for count in found.counts]
        odd = [row for row in rows if row["difference"]]
        print_rows(odd, ["what", "expected", "found", "difference"], False, none="every count is as published")
        anomalies = [vars(anomaly) for anomaly in found.anomalies]
        print_rows(anomalies, ["name", "where", "problem", "known"], False, none="no anomaly")
    if not found.is_clean and not partial:
        raise typer.Exit(1)


@command("emolake protocols")
def protocols_(as_json: Json = False) -> None:
    """List the protocols: classes, counts, split and dev rules, options."""
    rows = list_protocols()
    columns = ["id", "classes", "n_utterances", "folds", "options", "title"]
    short = [row | {"classes": ", ".join(row["classes"]), "options": _options(row["options"])} for row in rows]
    print_rows(rows if as_json else short, columns, as_json)


@command("emolake split iemocap4-loso5")
def split(protocol: ProtocolName, corpus: CorpusName = None, lake: Lake = None, as_json: Json = False) -> None:
    """Print a protocol's counts per fold, part, class and speaker, and how they differ from the expected."""
    rules = protocols.read_protocol(protocol)
    utterances, labels = _read(warehouse_of(lake), rules, corpus)
    table, counts = split_table(rules, utterances, labels), count_rows(rules, utterances, labels)
    if as_json:
        print_json({"split": table, "counts": counts})
        return
    print_rows(table, ["fold", "part", "by", "value", "n_utterances"], False)
    odd = [row for row in counts if row["difference"]]
    print_rows(odd, ["what", "expected", "found", "difference"], False, none="every expected count is met")


@command("emolake leakage iemocap4-loso5 --teacher 3f2a81")
def leakage(
    protocol: ProtocolName,
    corpus: CorpusName = None,
    teacher: Annotated[list[str] | None, typer.Option("--teacher", help="A text teacher's checkpoint.")] = None,
    lake: Lake = None,
    as_json: Json = False,
) -> None:
    """Report what train, dev and test share: speakers, dialogues, texts, sound, time, and what a teacher has read."""
    warehouse = warehouse_of(lake)
    rules = protocols.read_protocol(protocol)
    utterances, labels = _read(warehouse, rules, corpus)
    texts = [teacher_texts(warehouse, warehouse.resolve(name)) for name in teacher or []]
    found = protocol_leakage(rules, utterances, labels, texts[0] if len(texts) == 1 else _concatenated(texts))
    if as_json:
        print_json([one.as_json() for one in found])
        return
    for sentence in sentences(found) or [f"{rules.id}: nothing that train, dev and test share was found"]:
        typer.echo(sentence)


def _concatenated(tables: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(tables) if tables else None


def _options(options: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{name}={'|'.join(alternatives)}" for name, alternatives in options.items())


def _read(warehouse: Warehouse, rules: protocols.Protocol, corpus: str | None) -> tuple[list[Artifact], list[Artifact]]:
    """The utterances and labels of the corpus a protocol is asked of."""
    refs = warehouse.refs("corpora")
    fitting = {name for name, ref in refs.items() if ref["reader"].rpartition(".")[2] in rules.readers}
    if corpus is None and len(fitting) != 1:
        known = ", ".join(sorted(fitting)) or "none"
        raise InvalidField("emolake", "--corpus", f"must be given: corpora of this protocol's reader are {known}")
    name = corpus or fitting.pop()
    if name not in refs:
        raise ArtifactNotFound(f"corpora/{name}")
    kinds = ([warehouse.with_digest(d)[0] for d in refs[name][kind]] for kind in ("utterances", "labels"))
    utterances, labels = kinds
    return utterances, labels
