"""Protocols: which utterances, which classes, which part is learned from, chosen on and tested on. Data, not code."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from features.check import Count
from flows.counts import compared, counts_table, empty_parts
from flows.firewall import SelectOn, seen
from flows.protocol_sql import asked, connection_over, distinct, must_be_sql, register
from flows.stand_ins import StandIns, as_read, as_told, read_ids
from warehouse.artifact import Artifact, Request, Work
from warehouse.catalog import wrong_field
from warehouse.errors import CountsDiffer, InvalidField, MalformedSource, MissingFolder, UnknownName
from warehouse.schema import LABELS, SELECTION, SPLIT
from warehouse.tables import read_table, write_table

if TYPE_CHECKING:
    import duckdb

PROTOCOLS = Path(__file__).parent / "protocols"
VERSION = 2
WHOLE = "all"
"""The name of the only fold of a protocol without folds."""

_SQL = ("value", "filter", "dev", "test", "train")
"""The fields in which an option's `$name` stands for the chosen alternative."""

_RULES = {"scheme", "rater", "labels", "counts", "dev", "test"}
_LATER_RULES = {"value", "filter", "train", "seed", "total", "counts_by", "counts_must", "may_lack"}
"""Part of identity only where given: splits made before there were these fields stay what they are."""


class Protocol(BaseModel):
    """One file of `flows/protocols`.

    Args:
        reader: the corpus reader it is made for; several where it joins corpora.
        scheme, rater: which labels count; without labels (`labels` empty) every utterance belongs to it.
        value: an SQL expression that gives an utterance's value where no single label does; the columns are the
            rater's schemes, their values the numbers. NULL: it does not belong to the protocol.
        labels: verbatim value -> class; an utterance whose value is not named does not belong to it.
        filter: an SQL predicate over utterances; what does not fulfil it does not belong to the protocol.
        voters, votes: whose labels are votes where a fit has soft labels, as a glob over raters' names (the rater above
            is none), and what they say -> class where they use other words than `labels`.
        folds: an SQL expression over utterances; one fold per distinct value, in order. Empty: one fold.
        dev, test: SQL predicates over utterances. $fold is the fold's value and $next the one after it, in a circle.
            What is neither is train. bucket(id, n) is a number from 0 to n - 1 that depends on the id alone. `drawn` is
            a number in [0, 1): the utterance's place in an order of its corpus that $seed and the corpus's own ids
            decide, divided by how many there are; in `test` among all of the protocol, in `dev` among those that are
            not test. So `drawn < 0.2` is exactly a fifth.
        train: an SQL predicate over what is neither dev nor test, among which `drawn` counts here; the rest of it is in
            no part.
        options: name -> alternative -> SQL, for what may be chosen; `$name` in the predicates stands for the chosen
            one, and the first is the default. A choice is part of the protocol's name (`read_protocol`).
        seed: of what is drawn.
        total: how many utterances the corpus must give, where nobody published how many of each class.
        counts: class -> utterances that the corpus must give.
        counts_by: column of utterances, or 'part' -> its value -> class -> utterances.
        counts_must: 'hold', or 'warn' where published counts cannot be reproduced: the truth then has a `counts.json`.
        may_lack: own id of an utterance that published copies lack -> its `class`, and its value of each column of
            `counts_by`. Where it is absent, it is not expected.
        metrics: the names of `models.metrics`, the first being the one the tables lead with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    reader: str | tuple[str, ...]
    title: str
    citation: str = ""
    scheme: str = "emotion"
    rater: str = "summary"
    value: str = ""
    labels: dict[str, str] = {}
    voters: str = "*"
    votes: dict[str, str] = {}
    filter: str = "true"
    folds: str = ""
    dev: str = "false"
    test: str = "false"
    train: str = "true"
    options: dict[str, dict[str, str]] = {}
    seed: int = 0
    total: int | None = None
    counts: dict[str, int] = {}
    counts_by: dict[str, dict[str, dict[str, int]]] = {}
    counts_must: Literal["hold", "warn"] = "hold"
    may_lack: dict[str, dict[str, str]] = {}
    metrics: list[str] = []

    @property
    def readers(self) -> tuple[str, ...]:
        return (self.reader,) if isinstance(self.reader, str) else self.reader

    @property
    def judged_parts(self) -> list[str]:
        """The parts that are predicted: dev and test, where the protocol has them."""
        return [part for part in ("dev", "test") if getattr(self, part) != "false"]

    @property
    def classes(self) -> list[str]:
        return sorted(set(self.labels.values()))


def protocol_names() -> list[str]:
    """The shipped protocols."""
    return sorted(path.stem for path in PROTOCOLS.glob("*.toml"))


def read_protocol(name: str, folder: Path = Path()) -> Protocol:
    """A protocol by name, with choices where it has options: 'iemocap4-loso5:dev=none,seed=3'.

    The name is that of a shipped one, or the path of a TOML file: 'mine.toml:dev=none'. Choices that differ from the
    defaults are in its id, in order of name: other choices are another protocol, whose results are told apart.

    Args:
        folder: what a path is relative to.

    Raises:
        UnknownName; MissingFolder; MalformedSource; InvalidField.
    """
    stem, _, chosen = name.partition(":")
    if stem.endswith(".toml"):
        path = folder / stem
        if not path.is_file():
            todo = "give a path relative to the recipe, or the name of a shipped one"
            raise MissingFolder("the protocol", path, todo)
    elif stem in protocol_names():
        path = PROTOCOLS / f"{stem}.toml"
    else:
        raise UnknownName("protocol", stem, protocol_names())
    where = f"protocol '{path.stem}'"
    try:
        protocol = Protocol.model_validate(read_toml(path)[1])
    except ValidationError as error:
        raise InvalidField(where, *wrong_field(error)) from error
    if protocol.id != path.stem:
        raise InvalidField(where, "id", f"is '{protocol.id}', but the file is {path.name}")
    if path.parent != PROTOCOLS and path.stem in protocol_names():
        raise InvalidField(where, "id", "is that of a shipped protocol: results of the two could not be told apart")
    return _with(protocol, _choices(protocol, chosen))


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """A TOML file: its text, and what it says.

    Raises:
        MalformedSource: it is not UTF-8, or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise MalformedSource(path, f"is not UTF-8 ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 brackets within each other
        raise MalformedSource(path, f"is not TOML: {error}") from error


def _choices(protocol: Protocol, chosen: str) -> dict[str, str]:
    """Option -> alternative, of those that are not the default."""
    where, choices = f"protocol '{protocol.id}'", {}
    for choice in filter(None, chosen.split(",")):
        name, _, alternative = choice.partition("=")
        if name == "seed":
            if not alternative.isascii() or not alternative.isdecimal():
                raise InvalidField(where, "seed", f"is '{alternative}', but must be a whole number from 0")
            default, alternative = str(protocol.seed), str(int(alternative))
        elif name not in protocol.options:
            raise UnknownName(f"option of protocol '{protocol.id}'", name, [*protocol.options, "seed"])
        elif alternative not in protocol.options[name]:
            raise UnknownName(f"'{name}' of protocol '{protocol.id}'", alternative, protocol.options[name])
        else:
            default = next(iter(protocol.options[name]))
        choices[name] = alternative
        if alternative == default:
            del choices[name]  # also one that was chosen before it
    return dict(sorted(choices.items()))


def _with(protocol: Protocol, choices: Mapping[str, str]) -> Protocol:
    """The protocol with its options decided."""
    sql = {name: choices.get(name, next(iter(own))) for name, own in protocol.options.items()}
    sql = {name: protocol.options[name][alternative] for name, alternative in sql.items()}
    decided: dict[str, Any] = {field: _filled(getattr(protocol, field), sql) for field in _SQL}
    if choices:
        told = ",".join(f"{name}={alternative}" for name, alternative in choices.items())
        decided |= {"id": f"{protocol.id}:{told}", "seed": int(choices.get("seed", protocol.seed))}
    return protocol.model_copy(update=decided)


def folds_of(protocol: Protocol, utterances: Sequence[Artifact]) -> list[str]:
    """The folds' values, in order; InvalidField where they are no SQL."""
    return distinct(protocol, "folds", utterances) if protocol.folds else [WHOLE]


def rules_of(protocol: Protocol) -> dict[str, Any]:
    """What of a protocol decides who is in which part of a fold, and with which class."""
    rules = protocol.model_dump(include=_RULES)
    return rules | protocol.model_dump(include=_LATER_RULES, exclude_defaults=True)


def split_work(
    protocol: Protocol,
    fold: str,
    folds: Sequence[str],
    utterances: Sequence[Artifact],
    labels: Sequence[Artifact],
    selection: Artifact | None = None,
    without: Sequence[str] = (),
    told: StandIns | None = None,
    select_on: SelectOn = "dev",
) -> Work:
    """The work that writes one fold's `split.parquet`.

    Args:
        utterances, labels: of the corpora as they were read.
        selection: keep these utterances only, with the teacher's class as label.
        without: utterances that a needed step could not treat; they are left out, and that is part of identity.
        told: what is split in the place of `utterances`, for corpora that are told again. The ids of `selection` and
            `without` are then theirs.
        select_on: 'test' makes the test part the dev part too (`flows.firewall.seen`), and is part of identity.
    """
    after = _after(fold, folds)
    rules = rules_of(protocol)
    params = {"protocol": protocol.id, "rules": rules, "fold": fold, "next": after, "without": sorted(without)}
    inputs = {"utterances": tuple(a.digest for a in utterances), "labels": tuple(a.digest for a in labels)}
    if selection is not None:
        inputs["selection"] = (selection.digest,)
    if told is not None:
        params["told"] = dict(told.corpora)
        inputs["told"] = tuple(a.digest for a in told.utterances)
    if select_on == "test":
        params["select_on"] = select_on
    arguments = {
        "protocol": protocol, "fold": fold, "after": after, "utterances": utterances, "labels": labels,
        "selection": selection, "without": without, "told": told, "select_on": select_on,
    }  # fmt: skip
    return Work(Request("split", "flows.protocol", VERSION, params, inputs), write_split, arguments)


def write_split(
    folder: Path, protocol: Protocol, fold: str, after: str, utterances: Sequence[Artifact],
    labels: Sequence[Artifact], selection: Artifact | None, without: Sequence[str], told: StandIns | None = None,
    select_on: SelectOn = "dev",
) -> None:  # fmt: skip
    """Writes `split.parquet`: every utterance of the protocol in this fold, as fits may see it (`flows.firewall.seen`).

    Raises:
        CountsDiffer: the corpus does not give the counts that the protocol must reproduce.
        NoneInPart: nothing is in the part to select on although the protocol has a rule for it: the last epoch would be
            kept for the best.
        InvalidField: an utterance has several labels of the wanted rater and scheme, or a predicate is no SQL.
    """
    import pyarrow.compute as pc  # takes as long to import as a plan with nothing to do

    table, counts = _split(protocol, fold, after, utterances, labels, selection, told)
    if protocol.counts_must == "hold" and any(count.difference for count in counts):
        raise CountsDiffer(protocol.id, counts_table(counts))
    kept = pc.invert(pc.is_in(table.column("utterance_id"), pa.array(list(without), pa.string())))
    table = table.filter(kept)
    for none in empty_parts(protocol, fold, Counter(table.column("part").to_pylist()), [select_on]):
        raise none
    write_table(folder / "split.parquet", seen(table, select_on), SPLIT)


def split_of(
    protocol: Protocol, fold: str, folds: Sequence[str], utterances: Sequence[Artifact], labels: Sequence[Artifact],
    selection: Artifact | None = None, told: StandIns | None = None,
) -> tuple[pa.Table, list[Count]]:  # fmt: skip
    """One fold as a table of SPLIT, and the counts expected and found, whatever they are. The arguments are those of
    `split_work`; counts are of what was read.

    Raises:
        InvalidField: as `write_split`.
    """
    return _split(protocol, fold, _after(fold, folds), utterances, labels, selection, told)


def _split(
    protocol: Protocol, fold: str, after: str, utterances: Sequence[Artifact], labels: Sequence[Artifact],
    selection: Artifact | None, told: StandIns | None,
) -> tuple[pa.Table, list[Count]]:  # fmt: skip
    connection = connection_over(utterances)
    ids, selected = read_ids(told, utterances) if told else None, None
    register(connection, "labels", [read_table(a.path("labels.parquet"), LABELS) for a in labels], LABELS)
    if selection is not None:
        chosen = read_table(selection.path("selection.parquet"), SELECTION)
        selected = chosen.column("utterance_id").to_pylist()
        connection.register("selection", as_read(chosen, ids) if ids is not None else chosen)
    values = {"fold": fold, "next": after, "seed": str(protocol.seed)}
    literals = {name: "'" + value.replace("'", "''") + "'" for name, value in values.items()}
    kept, test, dev, train = (_filled(getattr(protocol, name), literals) for name in ("filter", "test", "dev", "train"))
    with must_be_sql(protocol, "value, filter, dev, test or train"):
        query = f"""
            CREATE TEMP TABLE split AS
            WITH own AS ({_own(protocol, connection, selected=selection is not None)}),
            members AS (
                SELECT utterances.*, class, {_drawn(protocol.seed, "corpus")} AS drawn
                FROM utterances JOIN own USING (utterance_id) WHERE ({kept})
            ),
            tested AS (SELECT *, coalesce(({test}), false) AS is_test FROM members),
            redrawn AS (SELECT * REPLACE ({_drawn(protocol.seed, "corpus, is_test")} AS drawn) FROM tested),
            chosen AS (SELECT *, NOT is_test AND coalesce(({dev}), false) AS is_dev FROM redrawn),
            rest AS (SELECT * REPLACE ({_drawn(protocol.seed, "corpus, is_test, is_dev")} AS drawn) FROM chosen)
            SELECT utterance_id, own_id, class AS label,
                   CASE WHEN is_test THEN 'test' WHEN is_dev THEN 'dev' WHEN ({train}) THEN 'train' END AS part
            FROM rest ORDER BY utterance_id
        """
        asked(connection, query)
    query = "SELECT utterance_id, part, label FROM split WHERE part IS NOT NULL ORDER BY utterance_id"
    table = connection.sql(query).to_arrow_table()
    names = table.column("utterance_id").to_pylist()
    if len(set(names)) != len(names):
        _refuse_second_label(protocol, next(i for i, n in Counter(names).items() if n > 1))
    table = as_told(table, ids, selected) if ids is not None else table
    return table, compared(protocol, connection) if selection is None else []


def _own(protocol: Protocol, connection: duckdb.DuckDBPyConnection, selected: bool) -> str:
    """The query for utterance_id and class of what belongs to the protocol."""
    if selected:
        return "SELECT utterance_id, label AS class FROM selection"
    if not protocol.labels:
        return "SELECT utterance_id, NULL::VARCHAR AS class FROM utterances"
    mapped = pa.table({"value": list(protocol.labels), "class": list(protocol.labels.values())})
    connection.register("mapped", mapped)
    connection.execute("SET VARIABLE scheme = ?", [protocol.scheme])
    connection.execute("SET VARIABLE rater = ?", [protocol.rater])
    if not protocol.value:
        return (
            "SELECT utterance_id, class FROM labels JOIN mapped USING (value) "
            "WHERE scheme = getvariable('scheme') AND rater = getvariable('rater')"
        )
    numbers = "FROM labels WHERE rater = getvariable('rater') AND number IS NOT NULL"
    twice = f"SELECT utterance_id {numbers} GROUP BY utterance_id, scheme HAVING count(*) > 1 ORDER BY ALL"
    if found := connection.execute(twice).fetchone():
        _refuse_second_label(protocol, found[0])
    pivot = f"PIVOT (SELECT utterance_id, scheme, number {numbers}) ON scheme USING any_value(number)"
    connection.execute(f"CREATE TEMP TABLE numbers AS {pivot} GROUP BY utterance_id")
    return (
        f"SELECT utterance_id, class FROM (SELECT utterance_id, ({protocol.value}) AS value FROM numbers) "
        "JOIN mapped USING (value)"
    )


def _drawn(seed: int, among: str) -> str:
    """Rank by a hash, divided by the number: equal ids cannot be, and equal hashes will not."""
    window = f"OVER (PARTITION BY {among} ORDER BY sha256('{seed} ' || own_id), utterance_id)"
    return f"((row_number() {window} - 1) / count(*) OVER (PARTITION BY {among}))"


def _refuse_second_label(protocol: Protocol, utterance_id: str) -> None:
    raise InvalidField(f"protocol '{protocol.id}'", "rater", f"gives utterance '{utterance_id}' more than one label")


def _after(fold: str, folds: Sequence[str]) -> str:
    return folds[(folds.index(fold) + 1) % len(folds)]


def _filled(sql: str, values: Mapping[str, str]) -> str:
    """The SQL with every `$name` that is known replaced, in one pass: no value is read again."""
    return re.sub(r"\$(\w+)", lambda match: values.get(match[1], match[0]), sql)


def describe(protocol: Protocol) -> Mapping[str, Any]:
    """What the report says of a protocol."""
    told = protocol.model_dump(include={"id", "title", "citation", "classes", "dev", "test", "folds", "metrics"})
    return told | protocol.model_dump(include={"value", "filter", "train", "seed"}, exclude_defaults=True)
