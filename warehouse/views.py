"""The SQL views of a lake. They are derived from manifests, refs and Parquet files at the moment of asking.

artifacts, inputs, plugins         what exists, what each was made from, and by which aligner or extractor
merged                             what lies in one artifact with others now (`warehouse.compaction`)
raw_files                          the raw files of every corpus as last ingested
utterances, labels                 the corpora as last ingested
intervals                          words, phones, syllables; join by pair_id(audio_id, text_id) = input_id
aligners                           what recipes call the aligners: name, plugin_key
side_by_side                       the segments of every two aligners, matched (`warehouse.disagreement.partners`)
disagreement                       how far apart these are, by utterance and tier
features                           which artifact holds which row of which extractor
features_<name>                    the rows of the extractor that a recipe calls <name>; join by input_id
means_<name>[_<output>]            its frames' means over every word, phone and syllable of every aligner
failures                           what could not be treated, by which step, and why; of attempts the newest
splits, selections, metrics
predicted, truths, judges          predictions as they were made, the labels of judged parts, which judge which
predictions                        these joined: `label` is what the truth says
extractors, reports, works, soft_labels, agreement, class_balance, hours, coverage, costs
                                   what is asked most: `warehouse.summaries`

What every column says is in `warehouse.described`.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from warehouse import disagreement, functions, schema, summaries
from warehouse.arrays import texts_of
from warehouse.artifact import Artifact
from warehouse.merged import KINDS, is_merged, live, pieces, superseded
from warehouse.merged import STEP as MERGED
from warehouse.overlaps import once, overlapping
from warehouse.truths import truths_of

if TYPE_CHECKING:
    from warehouse.store import Warehouse

_LATER = {"metrics": "selected_on"}
"""View -> its column of text that artifacts of earlier versions lack; NULL there."""


_IDS = pa.schema([("input_id", pa.string())])

_MANY, _LARGE = 64, 1 << 20
"""Artifacts of a plug-in, and bytes of them, from which it is worth while to know beforehand which share an input."""

_LISTING = re.compile(
    r"\b(show|describe|pragma\w*|query|query_table|duckdb_\w+|information_schema|pg_\w+|sqlite_\w+)\b|(^|\()\s*desc\b",
    re.I,
)
"""What a query lists views with, or calls them by names that it composes."""


def create(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, query: str | None = None) -> None:
    """Creates views over the lake as it is now; an empty lake has them too, empty.

    Args:
        query: to create those only that it may read, because in a large lake the others take longer than the answer;
            a name that stands in it for something else does no harm. Without it, every view.
    """
    _pair_id(connection)
    functions.register(connection)
    views = _Views(connection, warehouse)
    if query is None or _LISTING.search(query):
        views.need(*views.names)
    else:
        views.need_named_in(query)


class _Views:
    """Makes views, each after those that it reads, and once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
        self._connection, self._warehouse = connection, warehouse
        self._features = warehouse.refs("features")
        rows, of = self._rows, warehouse.artifacts
        self._makers: dict[str, Callable[[], None]] = {
            "artifacts": self._artifacts,
            "plugins": self._plugins,
            "inputs": self._inputs,
            "merged": self._merged,
            "raw_files": lambda: rows("raw_files", self._read("raw"), "files.parquet", schema.FILES),
            "utterances": lambda: rows("utterances", self._read("utterances"), "utterances.parquet", schema.UTTERANCES),
            "labels": lambda: rows("labels", self._read("labels"), "labels.parquet", schema.LABELS),
            "intervals": lambda: self._plugin_rows("intervals", self._aligned(), "intervals.parquet", schema.INTERVALS),
            "aligners": self._aligners,
            "side_by_side": self._disagreement,
            "disagreement": lambda: self.need("side_by_side"),
            "splits": lambda: rows("splits", of("split"), "split.parquet", schema.SPLIT),
            "selections": lambda: rows("selections", of("selection"), "selection.parquet", schema.SELECTION),
            "predicted": lambda: rows("predicted", of("predictions"), "predictions.parquet", schema.PREDICTIONS),
            "truths": lambda: rows("truths", of("truth"), "truth.parquet", schema.TRUTH),
            "judges": self._judges,
            "predictions": self._predictions,
            "metrics": lambda: rows("metrics", of("metrics"), "metrics.parquet", schema.METRICS),
            "features": lambda: self._plugin_rows("features", self._live("features"), "features.parquet", _IDS),
            "failures": self._failures,
            "failures_of_attempts": lambda: self.need("failures"),
        }
        for name, ref in self._features.items():
            self._makers[f"features_{name}"] = partial(self._own_features, name)
            for output in ref.get("hops_s", {}):
                view = f"means_{name}" if len(ref["hops_s"]) == 1 else f"means_{name}_{output}"
                self._makers[view] = partial(self._means, view, name, output)
        self._makers["works"] = self._works
        for name in ("extractors", "reports"):
            self._makers[name] = partial(self._small, name)
        for name in summaries.VIEWS:
            self._makers[name] = partial(self._summary, name)
        self.names = tuple(self._makers)
        self._made: set[str] = set()

    def need(self, *names: str) -> None:
        """Makes views that are not there yet."""
        for name in names:
            if name not in self._made:
                self._made.add(name)
                self._makers[name]()

    def need_named_in(self, query: str) -> None:
        """Makes those whose names stand in a query."""
        query = query.lower().replace('""', '"')
        words = set(re.findall(r"\w+", query))
        odd = (name for name in self.names if re.search(r"\W", name.lower()) and name.lower() in query)
        self.need(*(name for name in self.names if name.lower() in words), *odd)

    # -- what was read -----------------------------------------------------------------------------------------

    @cached_property
    def _current(self) -> dict[str, set[str]]:
        corpora = self._warehouse.refs("corpora").values()
        return {role: {digest for ref in corpora for digest in ref[role]} for role in ("raw", "utterances", "labels")}

    def _read(self, role: str) -> list[Artifact]:
        """Two requests may have given the same bytes, whose rows count once."""
        of_role = self._warehouse.artifacts(role)
        return list({a.digest: a for a in of_role if a.digest in self._current[role]}.values())

    def _live(self, kind: str) -> list[Artifact]:
        return live(self._warehouse.artifacts(kind))

    def _aligned(self) -> list[Artifact]:
        made = self._live("intervals")
        return [a for a in made if set(a.request.inputs.get("raw", ())) <= self._current["raw"]]

    # -- what manifests and names say --------------------------------------------------------------------------

    def _artifacts(self) -> None:
        columns = ("key", "digest", "kind", "step", "version", "params", "created_at", "n_bytes")
        root = _text(f"{self._warehouse.root}/artifacts/")
        query = f"SELECT *, {root} || kind || '/' || key AS folder FROM incoming ORDER BY created_at, key"
        _register(self._connection, "artifacts", self._warehouse.manifests.table(*columns), query)

    @cached_property
    def _plugins_table(self) -> pa.Table:
        import pyarrow.compute as pc  # takes as long to import as small questions to answer

        table = self._warehouse.manifests.table("key", "step", "plugin_key", "attempt")
        table = table.filter(table["plugin_key"].is_valid()).rename_columns(["artifact", *table.column_names[1:]])
        if not pc.any(pc.equal(table["step"], texts_of([MERGED])[0])).as_py():
            return table
        gone = superseded([a for kind in KINDS for a in self._warehouse.artifacts(kind)])
        table = table.filter(pc.invert(pc.is_in(table["artifact"], texts_of(sorted(gone)))))
        made_by = {a.key: a.request.params["plugin"]["step"] for a in self._all_merged()}
        keys, steps = (table[name].to_pylist() for name in ("artifact", "step"))
        steps = [made_by.get(key, step) for key, step in zip(keys, steps, strict=True)]
        return table.set_column(1, "step", texts_of(steps))

    def _all_merged(self) -> list[Artifact]:
        return [a for kind in KINDS for a in self._live(kind) if is_merged(a)]

    def _plugins(self) -> None:
        _register(self._connection, "plugins", self._plugins_table)

    def _inputs(self) -> None:
        roles = """unnest(map_entries(from_json(inputs, '"MAP(VARCHAR, VARCHAR[])"')))"""
        query = (
            f"SELECT key, one.key AS role, unnest(one.value) AS digest FROM (SELECT key, {roles} AS one FROM incoming)"
        )
        _register(self._connection, "inputs", self._warehouse.manifests.table("key", "inputs"), query)

    def _merged(self) -> None:
        rows = [
            {"piece": p.key, "digest": p.digest, "artifact": a.key, "work_s": p.environment.get("work_s"),
             "n_bytes": p.n_bytes, "inputs": sorted({one for digests in p.request.inputs.values() for one in digests})}
            for a in self._all_merged() for p in pieces(a)
        ]  # fmt: skip
        columns = dict.fromkeys(("piece", "digest", "artifact"), pa.string())
        columns |= {"work_s": pa.float64(), "n_bytes": pa.int64(), "inputs": pa.list_(pa.string())}
        _register(self._connection, "merged", pa.Table.from_pylist(rows, schema=pa.schema(columns)))

    def _aligners(self) -> None:
        refs = self._warehouse.refs("aligners").items()
        names = [{"name": name, "plugin_key": ref["plugin_key"]} for name, ref in refs]
        columns = pa.schema([("name", pa.string()), ("plugin_key", pa.string())])
        _register(self._connection, "aligners", pa.Table.from_pylist(names, schema=columns))

    def _judges(self) -> None:
        artifacts = [*self._warehouse.artifacts("truth"), *self._warehouse.artifacts("predictions")]
        truths = truths_of(artifacts, self._current["labels"])
        pairs = {"artifact": list(truths), "truth": [truth.key for truth in truths.values()]}
        _register(self._connection, "judges", pa.table(pairs, schema=pa.schema(dict.fromkeys(pairs, pa.string()))))

    def _works(self) -> None:
        query = "SELECT key, (environment ->> '$.work_s')::DOUBLE AS work_s FROM incoming"
        _register(self._connection, "works", self._warehouse.manifests.table("key", "environment"), query)

    def _small(self, name: str) -> None:
        _register(self._connection, name, summaries.tables(self._warehouse)[name])

    # -- rows --------------------------------------------------------------------------------------------------

    def _rows(self, name: str, artifacts: Sequence[Artifact], file: str, columns: pa.Schema) -> None:
        """A view over one file of many artifacts; its column `artifact` is the key of the artifact of each row."""
        if not artifacts:
            fields = [*columns, pa.field("artifact", pa.string())]
            _register(self._connection, name, pa.Table.from_batches([], pa.schema(fields)))
            return
        read = f"{_reading(name, artifacts, file, columns)} {once(artifacts)}"
        self._connection.execute(f"CREATE VIEW {_named(name)} AS {read}")

    def _plugin_rows(self, name: str, artifacts: Sequence[Artifact], file: str, columns: pa.Schema | None) -> None:
        """The same where plug-ins made the rows, and may have answered an input id twice, in two runs that overlapped:
        then the rows of one artifact stand, the same one for every question. Where a view mixes plug-ins (`columns`
        given), a row also says whose it is."""
        if not artifacts:
            fields = [*(columns or ()), *(pa.field(name, pa.string()) for name in ("artifact", "step", "plugin_key"))]
            _register(self._connection, name, pa.Table.from_batches([], pa.schema(fields)))
            return
        of_plugin: dict[tuple[str, str | None], list[Artifact]] = {}
        for artifact in artifacts:
            request = artifact.request
            step = request.params["plugin"]["step"] if is_merged(artifact) else request.step
            of_plugin.setdefault((step, request.plugin_key or None), []).append(artifact)
        parts = []
        for (step, plugin_key), own in of_plugin.items():
            said = f", {_text(step)} AS step, {_text(plugin_key)} AS plugin_key" if columns else ""
            single, twice = self._apart(name, plugin_key, own, file)
            if single:
                read = _reading(name, single, file, columns)
                parts.append(f"SELECT *{said} FROM ({read})" if said else read)
            if twice:
                first = "SELECT input_id, min(artifact) FROM own GROUP BY input_id"
                parts.append(
                    f"(WITH own AS ({_reading(name, twice, file, columns)}) "
                    f"SELECT own.*{said} FROM own WHERE (input_id, artifact) IN ({first}))"
                )
        self._connection.execute(f"CREATE VIEW {_named(name)} AS {' UNION ALL '.join(parts)}")

    def _apart(
        self, name: str, plugin_key: str | None, artifacts: list[Artifact], file: str
    ) -> tuple[list[Artifact], list[Artifact]]:
        """Those that can be read as they are, and those of which an input id may have been answered twice."""
        if len(artifacts) == 1:
            return artifacts, []
        if len(artifacts) < _MANY and sum(a.n_bytes for a in artifacts) < _LARGE:
            return [], artifacts
        memory = self._warehouse.root / ".cache" / "overlaps" / f"{file.partition('.')[0]}-{plugin_key}"
        named = {f"{a.key} {a.digest}": glob.escape(a.address(file)) for a in artifacts}
        shared = overlapping(self._connection, named, memory, self._warehouse.manifests.beside())
        return (
            [a for a in artifacts if f"{a.key} {a.digest}" not in shared],
            [a for a in artifacts if f"{a.key} {a.digest}" in shared],
        )

    def _own(self, name: str) -> list[Artifact]:
        """The artifacts of the extractor that a recipe calls so."""
        own = self._features[name]["plugin_key"]
        return [a for a in self._live("features") if a.request.plugin_key == own]

    def _own_features(self, name: str) -> None:
        if made := self._own(name):
            self._plugin_rows(f"features_{name}", made, "features.parquet", None)

    def _failures(self) -> None:
        """What failed and was tried again is listed once, as the newest attempt has it, or not at all if one
        succeeded."""
        import pyarrow.compute as pc

        of = self._warehouse.artifacts
        asked = [*self._read("utterances"), *self._live("features"), *self._aligned(), *of("shards")]
        failed = [a for a in asked if "failures.parquet" in a.files]
        tried = set(self._plugins_table.filter(pc.field("attempt") > 0)["artifact"].to_pylist())
        if tried.isdisjoint(a.key for a in failed):
            self._rows("failures", failed, "failures.parquet", schema.FAILURES)
            return
        self._rows("failures_of_attempts", failed, "failures.parquet", schema.FAILURES)
        self.need("plugins", "features", "intervals")
        self._connection.execute(_FAILURES)

    # -- what views say ----------------------------------------------------------------------------------------

    def _disagreement(self) -> None:
        self.need("utterances", "intervals")
        disagreement.create(self._connection)

    def _predictions(self) -> None:
        self.need("predicted", "judges", "truths")
        self._connection.execute(_PREDICTIONS)

    def _means(self, view: str, name: str, output: str) -> None:
        """A view over frames and intervals: a new alignment costs no extraction. A segment outside the frames has
        NULL."""
        if self._own(name):
            self.need("utterances", "intervals", f"features_{name}")
            ref = self._features[name]
            self._connection.execute(_means(view, f"features_{name}", output, ref["hops_s"][output], ref["needs"]))

    def _summary(self, name: str) -> None:
        self.need_named_in(summaries.VIEWS[name])
        summaries.create(self._connection, lambda one: one == name)


def _register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table, query: str = "FROM incoming") -> None:
    connection.register("incoming", table)
    connection.execute(f"CREATE TABLE {_named(name)} AS {query}")
    connection.unregister("incoming")


def _reading(name: str, artifacts: Sequence[Artifact], file: str, columns: pa.Schema | None) -> str:
    """The query for one file of many artifacts. Those of a view have the same columns, and `union_by_name` would open
    each of them before the first question; only where earlier versions had fewer it has to be."""
    wanted = ", ".join(map(_named, columns.names)) if columns else "* EXCLUDE (filename)"
    files = ", ".join(_text(glob.escape(a.address(file))) for a in artifacts)
    by_name = "true" if name in _LATER else "false"
    read = f"FROM read_parquet([{files}], union_by_name = {by_name}, filename = true, hive_partitioning = false)"
    if name in _LATER:
        read = f"FROM (SELECT NULL::VARCHAR AS {_LATER[name]} WHERE false UNION ALL BY NAME {read})"
    return f"SELECT {wanted}, parse_path(filename)[-2] AS artifact {read}"


_FAILURES = """
    CREATE VIEW failures AS
    WITH own AS (SELECT tried.*, plugin_key, attempt
                 FROM failures_of_attempts AS tried LEFT JOIN plugins USING (artifact)),
    newest AS (SELECT plugin_key, input_id, max(attempt) AS attempt FROM own GROUP BY ALL),
    answered AS (SELECT plugin_key, input_id FROM features UNION SELECT plugin_key, input_id FROM intervals)
    SELECT * EXCLUDE (plugin_key, attempt) FROM own
    WHERE plugin_key IS NULL OR (
        EXISTS (FROM newest WHERE newest.plugin_key = own.plugin_key AND newest.input_id = own.input_id
                AND newest.attempt = own.attempt)
        AND NOT EXISTS (FROM answered WHERE answered.plugin_key = own.plugin_key
                        AND answered.input_id = own.input_id)
    )
"""

_PREDICTIONS = """
    CREATE VIEW predictions AS
    SELECT utterance_id, part, label, made.predicted, classes, probabilities, artifact
    FROM predicted AS made LEFT JOIN judges USING (artifact)
    LEFT JOIN (SELECT utterance_id, label, artifact AS truth FROM truths) USING (utterance_id, truth)
"""


def _means(name: str, features: str, output: str, hop_s: float, needs: str) -> str:
    key = "pair_id(audio_id, text_id)" if needs == "pair" else f"{needs}_id"
    cell = ", ".join(_named(f"{output}{part}") for part in ("", "_shape", "_dtype"))
    return f"""
        CREATE VIEW {_named(name)} AS
        WITH spans AS (
            SELECT input_id, step AS aligner, plugin_key, tier, count(*) AS n,
                   list(symbol ORDER BY position) AS symbols,
                   list(start_s ORDER BY position) AS starts, list(end_s ORDER BY position) AS ends
            FROM intervals GROUP BY ALL
        ), pooled AS (
            SELECT utterance_id, aligner, plugin_key, tier, n, symbols, starts, ends,
                   means_over({cell}, {hop_s!r}, starts, ends) AS means
            FROM utterances JOIN {_named(features)} AS frames ON frames.input_id = {key}
            JOIN spans ON spans.input_id = pair_id(audio_id, text_id)
        )
        SELECT utterance_id, aligner, plugin_key, tier, unnest(range(n)) AS position, unnest(symbols) AS symbol,
               unnest(starts) AS start_s, unnest(ends) AS end_s, unnest(means) AS mean
        FROM pooled
    """


def _text(text: str | None) -> str:
    return "NULL::VARCHAR" if text is None else "'" + text.replace("'", "''") + "'"


def _named(name: str) -> str:
    """As SQL names a view or a column, whatever a ref calls it."""
    return '"' + name.replace('"', '""') + '"'


def _pair_id(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"CREATE MACRO pair_id(audio, words) AS {schema.PAIR_ID}")
