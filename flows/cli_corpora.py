"""The commands about corpora and protocols: what is there, what is missing, what leaks."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from features.check import Findings
from flows import protocol as protocols
from flows.app import Json, Lake, command, print_json, print_rows, warehouse_of
from flows.counts import empty_parts
from flows.leakage import protocol_leakage
from flows.leaks import sentences
from flows.protocol_tables import count_rows, empty_rows, list_protocols, split_table
from flows.stand_ins import StandIns
from flows.teacher_texts import TrainedOn, teacher_texts
from warehouse import Artifact, Warehouse
from warehouse.catalog import build
from warehouse.errors import ArtifactNotFound, InvalidField, MalformedSource

ProtocolName = Annotated[str, typer.Argument(help="Name of a protocol, with options as in iemocap4-loso5:dev=none.")]
CorpusNames = Annotated[
    list[str] | None,
    typer.Option("--corpus", help="An ingested corpus (default: the only one of each of the protocol's readers)."),
]


@command("emolake check iemocap /corpora/IEMOCAP_full_release")
def check(
    reader: Annotated[str, typer.Argument(help="Reader of the corpus: iemocap, meld, films, table, …")],
    root: Annotated[Path, typer.Argument(help="Folder of the corpus.", exists=True, file_okay=False)],
    field: Annotated[
        list[str] | None, typer.Option("--field", help="NAME=VALUE of the reader, as a recipe would have it.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Exit 0 although something is missing or odd.")] = False,
    expected: Annotated[Path | None, typer.Option("--expected", help="JSON of other counts to check against.")] = None,
    as_json: Json = False,
) -> None:
    """Check a corpus against its published counts and name every anomaly; exit 1 when it is not as published."""
    plugin = build("features.corpora", reader, _fields(field or []), f"reader '{reader}'")
    found: Findings = plugin.check(root, _read_counts(expected) if expected else None)
    if as_json:
        print_json(found.as_json())
    else:
        _print_findings(found)
    if not found.is_clean and not partial:
        raise typer.Exit(1)


def _fields(given: list[str]) -> dict[str, Any]:
    """Values as TOML writes them; what is none is a text."""
    fields: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"'{one}' must be NAME=VALUE", param_hint="--field")
        try:
            fields[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            fields[name] = value
    return fields


def _read_counts(path: Path) -> dict[str, int]:
    try:
        counts = json.loads(path.read_bytes())
    except ValueError as error:
        raise MalformedSource(path, f"it is no JSON ({error})") from error
    if not isinstance(counts, dict) or not all(type(n) is int for n in counts.values()):
        raise MalformedSource(path, 'it is no JSON object of whole numbers, such as {"utterances": 10}')
    return counts


def _print_findings(found: Findings) -> None:
    """Counts that are not as published, those nobody published (one line per group), and anomalies."""
    published = [count.as_json() for count in found.counts if count.expected is not None]
    if published:
        odd = [row for row in published if row["difference"]]
        print_rows(odd, ["what", "expected", "found", "difference"], False, none="every count is as published")
    groups: dict[str, dict[str, Any]] = {}
    for count in found.counts:
        if count.expected is None and count.group:
            row = groups.setdefault(count.group, {"part": count.group})
            row[count.what.removesuffix(f", {count.group}")] = count.found
    own = [vars(count) for count in found.counts if count.expected is None and not count.group and count.found]
    if own:
        print_rows(own, ["what", "found"], False)
    if groups:
        columns = list(dict.fromkeys(name for row in groups.values() for name in row))
        print_rows([dict.fromkeys(columns) | row for row in groups.values()], columns, False)
    anomalies = [vars(anomaly) for anomaly in found.anomalies]
    print_rows(anomalies, ["name", "where", "problem", "known"], False, none="no anomaly")


@command("emolake protocols")
def protocols_(as_json: Json = False) -> None:
    """List the protocols: classes, counts, split and dev rules, options."""
    rows = list_protocols()
    columns = ["id", "classes", "n_utterances", "folds", "options", "title"]
    short = [row | {"classes": ", ".join(row["classes"]), "options": _options(row["options"])} for row in rows]
    print_rows(rows if as_json else short, columns, as_json)


@command("emolake split iemocap4-loso5")
def split(protocol: ProtocolName, corpus: CorpusNames = None, lake: Lake = None, as_json: Json = False) -> None:
    """Print a protocol's counts per fold, part, class and speaker, and how they differ from the expected."""
    rules = protocols.read_protocol(protocol)
    asked, utterances, labels, told = _read(warehouse_of(lake), rules, corpus)
    table, counts = split_table(rules, utterances, labels, told), count_rows(rules, utterances, labels)
    empty = empty_rows(rules, utterances, table)
    if as_json:
        print_json({"corpora": asked, "split": table, "counts": counts, "empty": empty})
        return
    _print_asked(rules, asked)
    print_rows(table, ["fold", "part", "by", "value", "n_utterances"], False)
    odd = [row for row in counts if row["difference"]]
    met = "every expected count is met" if counts else "no count is expected"
    print_rows(odd, ["what", "expected", "found", "difference"], False, none=met)
    for sentence in empty:
        typer.echo(sentence)


@command("emolake leakage iemocap4-loso5 --teacher 3f2a81")
def leakage(
    protocol: ProtocolName,
    corpus: CorpusNames = None,
    teacher: Annotated[list[str] | None, typer.Option("--teacher", help="A text teacher's checkpoint.")] = None,
    lake: Lake = None,
    as_json: Json = False,
) -> None:
    """Report what train, dev and test share: speakers, dialogues, texts, sound, time, and what a teacher has read."""
    warehouse = warehouse_of(lake)
    rules = protocols.read_protocol(protocol)
    asked, utterances, labels, told = _read(warehouse, rules, corpus)
    read: dict[str, TrainedOn] = {}
    silent = []
    for name in teacher or []:
        own = teacher_texts(warehouse, warehouse.resolve(name))
        read |= own
        silent += [] if own else [name]
    found = protocol_leakage(rules, utterances, labels, read, told)
    empty = [str(none) for one in found for none in empty_parts(rules, one.fold, one.parts)]
    if as_json:
        print_json([one.as_json() for one in found])
        return
    _print_asked(rules, asked)
    for name in silent:
        typer.echo(f"{name}: no transcript it was trained on is known, so nothing is said of what it has read")
    for sentence in sentences(found) or [f"{rules.id}: nothing that train, dev and test share was found"]:
        typer.echo(sentence)
    for sentence in empty:
        typer.echo(sentence)


def _options(options: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{name}={'|'.join(alternatives)}" for name, alternatives in options.items())


def _print_asked(rules: protocols.Protocol, corpora: list[str]) -> None:
    """Several corpora are told: a protocol for films or subtitles is asked of both where both are there."""
    if len(corpora) > 1:
        typer.echo(f"{rules.id}: asked of {', '.join(corpora)} together (--corpus names some of them)")


def _read(
    warehouse: Warehouse, rules: protocols.Protocol, corpora: list[str] | None
) -> tuple[list[str], list[Artifact], list[Artifact], StandIns | None]:
    """The corpora a protocol is asked of; the utterances and labels they were read with; and what is split in their
    place, where one is told again."""
    refs = warehouse.refs("corpora")
    fitting = {name: ref["reader"].rpartition(".")[2] for name, ref in sorted(refs.items())}
    fitting = {name: reader for name, reader in fitting.items() if reader in rules.readers}
    read = {name: reader for name, reader in fitting.items() if "told" not in refs[name]}
    if not corpora and (not read or len(set(read.values())) < len(read)):
        known = ", ".join(fitting) or "none: ingest one, as in `emolake ingest RECIPE`"
        raise InvalidField("emolake", "--corpus", f"must be given: corpora of this protocol's reader are {known}")
    asked = list(dict.fromkeys(corpora or read))
    for name in asked:
        if name not in refs:
            raise ArtifactNotFound(f"corpora/{name}")
        if name not in fitting:
            readers = " or ".join(f"'{reader}'" for reader in rules.readers)
            problem = f"is '{name}', but protocol '{rules.id}' is for the reader {readers}"
            raise InvalidField("emolake", "--corpus", problem)
    told = {name: _read_as(refs, name) for name in asked if "told" in refs[name]}
    whole = list(dict.fromkeys(told.get(name, name) for name in asked))

    def of(names: Sequence[str], kind: str) -> list[Artifact]:
        return [warehouse.with_digest(digest)[0] for name in names for digest in refs[name][kind]]

    stand_ins = StandIns(told, of(asked, "utterances")) if told else None
    return asked, of(whole, "utterances"), of(whole, "labels"), stand_ins


def _read_as(refs: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The corpus that was read, of one that is told again."""
    while "told" in refs[name]:
        name = refs[name]["source"]
        if name not in refs:
            raise ArtifactNotFound(f"corpora/{name}")
    return name
