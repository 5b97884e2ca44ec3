"""The SQL views of a lake. They are derived from manifests, refs and Parquet files at the moment of asking.

artifacts, inputs, plugins         what exists, what each was made from, and by which aligner or extractor
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
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from warehouse import disagreement, functions, schema
from warehouse.artifact import Artifact
from warehouse.hashing import ID_LENGTH, short_digest
from warehouse.truths import truths_of

if TYPE_CHECKING:
    from warehouse.store import Warehouse

_LATER = {"metrics": "selected_on"}
"""View -> its column of text that artifacts of earlier versions lack; NULL there."""


def create(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Creates every view over the lake as it is now; an empty lake has them too, empty."""
    artifacts = warehouse.artifacts()
    _artifact_views(connection, artifacts)
    _pair_id(connection)
    functions.register(connection)

    corpora = warehouse.refs("corpora")
    current = {
        role: {digest for ref in corpora.values() for digest in ref[role]} for role in ("raw", "utterances", "labels")
    }
    read = {  # two requests may have given the same bytes, whose rows count once
        role: list({a.digest: a for a in artifacts if a.request.kind == role and a.digest in current[role]}.values())
        for role in current
    }
    _rows_view(connection, "raw_files", read["raw"], "files.parquet", schema.FILES)
    _rows_view(connection, "utterances", read["utterances"], "utterances.parquet", schema.UTTERANCES)
    _rows_view(connection, "labels", read["labels"], "labels.parquet", schema.LABELS)

    def of(kind: str) -> list[Artifact]:
        return [a for a in artifacts if a.request.kind == kind]

    aligned = [a for a in of("intervals") if set(a.request.inputs.get("raw", ())) <= current["raw"]]
    _rows_view(connection, "intervals", aligned, "intervals.parquet", schema.INTERVALS)
    names = [{"name": name, "plugin_key": ref["plugin_key"]} for name, ref in warehouse.refs("aligners").items()]
    columns = pa.schema([("name", pa.string()), ("plugin_key", pa.string())])
    _register(connection, "aligners", pa.Table.from_pylist(names, schema=columns))
    disagreement.create(connection)
    _rows_view(connection, "splits", of("split"), "split.parquet", schema.SPLIT)
    _rows_view(connection, "selections", of("selection"), "selection.parquet", schema.SELECTION)
    _rows_view(connection, "predicted", of("predictions"), "predictions.parquet", schema.PREDICTIONS)
    _rows_view(connection, "truths", of("truth"), "truth.parquet", schema.TRUTH)
    _predictions_view(connection, truths_of(artifacts, current["labels"]))
    _rows_view(connection, "metrics", of("metrics"), "metrics.parquet", schema.METRICS)
    asked = [*read["utterances"], *of("features"), *aligned, *of("shards")]
    failed = [a for a in asked if "failures.parquet" in a.files]
    ids = pa.schema([("input_id", pa.string())])
    _rows_view(connection, "features", of("features"), "features.parquet", ids)
    _failures_view(connection, failed)
    for name, ref in warehouse.refs("features").items():
        own = [a for a in of("features") if short_digest(a.request.params["plugin"]) == ref["plugin_key"]]
        if own:
            _rows_view(connection, f"features_{name}", own, "features.parquet", None)
            for output, hop_s in ref.get("hops_s", {}).items():
                view = f"means_{name}" if len(ref["hops_s"]) == 1 else f"means_{name}_{output}"
                _means_view(connection, view, f"features_{name}", output, hop_s, ref["needs"])


def _artifact_views(connection: duckdb.DuckDBPyConnection, artifacts: Iterable[Artifact]) -> None:
    columns = ("key", "digest", "kind", "step", "version", "params", "created_at", "n_bytes", "folder")
    rows, edges = [], []
    for a in artifacts:
        params = json.dumps(dict(a.request.params), ensure_ascii=False)
        values = (a.key, a.digest, a.request.kind, a.request.step, a.request.version, params, a.created_at,
                  a.n_bytes, str(a.folder))  # fmt: skip
        rows.append(dict(zip(columns, values, strict=True)))
        edges += [{"key": a.key, "role": r, "digest": d} for r, digests in a.request.inputs.items() for d in digests]
    texts = {name: pa.string() for name in columns}
    kinds = texts | {"version": pa.int64(), "n_bytes": pa.int64()}
    _register(connection, "artifacts", pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items()))))
    plugins = [
        {"artifact": a.key, "step": a.request.step, "plugin_key": short_digest(a.request.params["plugin"]),
         "attempt": a.request.params.get("attempt", 0)}
        for a in artifacts
        if "plugin" in a.request.params
    ]  # fmt: skip
    plugin_schema = pa.schema(
        [*((name, pa.string()) for name in ("artifact", "step", "plugin_key")), ("attempt", pa.int64())]
    )
    _register(connection, "plugins", pa.Table.from_pylist(plugins, schema=plugin_schema))
    edge_schema = pa.schema([("key", pa.string()), ("role", pa.string()), ("digest", pa.string())])
    _register(connection, "inputs", pa.Table.from_pylist(edges, schema=edge_schema))


def _register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("incoming", table)
    connection.execute(f'CREATE TABLE "{name}" AS FROM incoming')
    connection.unregister("incoming")


def _rows_view(
    connection: duckdb.DuckDBPyConnection, name: str, artifacts: list[Artifact], file: str, columns: pa.Schema | None
) -> None:
    """A view over one file of many artifacts; its column `artifact` is the key of the artifact of each row.

    Two runs that overlapped may both have answered an input id; then the rows of one artifact stand, the same one for
    every question. Where a view mixes plug-ins (`columns` given), a row also says whose it is.
    """
    is_plugins = name == "intervals" or name.startswith("features")
    whose = ["step", "plugin_key"] if is_plugins and columns else []
    if not artifacts:
        fields = [*(columns or pa.schema([])), *(pa.field(column, pa.string()) for column in ("artifact", *whose))]
        _register(connection, name, pa.schema(fields).empty_table())
        return
    wanted = ", ".join(f'"{column}"' for column in columns.names) if columns else "* EXCLUDE (filename)"
    files = ", ".join(_quote(glob.escape(str(a.path(file)))) for a in artifacts)
    read = f"FROM read_parquet([{files}], union_by_name = true, filename = true, hive_partitioning = false)"
    if name in _LATER:
        read = f"FROM (SELECT NULL::VARCHAR AS {_LATER[name]} WHERE false UNION ALL BY NAME {read})"
    rows = f"SELECT {wanted}, parse_path(filename)[-2] AS artifact {read}"
    if is_plugins:
        more = ", ".join(["own.*", *whose])
        owned = "own LEFT JOIN plugins USING (artifact)"
        first = f"SELECT input_id, min(artifact) FROM {owned} GROUP BY input_id, plugin_key"
        rows = f"WITH own AS ({rows}) SELECT {more} FROM {owned} WHERE (input_id, artifact) IN ({first})"
    connection.execute(f'CREATE VIEW "{name}" AS {rows}')


def _failures_view(connection: duckdb.DuckDBPyConnection, artifacts: list[Artifact]) -> None:
    """What failed and was tried again is listed once, as the newest attempt has it, or not at all if one succeeded."""
    if not any("attempt" in a.request.params for a in artifacts):
        _rows_view(connection, "failures", artifacts, "failures.parquet", schema.FAILURES)
        return
    _rows_view(connection, "failures_of_attempts", artifacts, "failures.parquet", schema.FAILURES)
    connection.execute("""
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
    """)


def _predictions_view(connection: duckdb.DuckDBPyConnection, truths: Mapping[str, Artifact]) -> None:
    pairs = {"artifact": list(truths), "truth": [truth.key for truth in truths.values()]}
    _register(connection, "judges", pa.table(pairs, schema=pa.schema(dict.fromkeys(pairs, pa.string()))))
    connection.execute("""
        CREATE VIEW predictions AS
        SELECT utterance_id, part, label, made.predicted, classes, probabilities, artifact
        FROM predicted AS made LEFT JOIN judges USING (artifact)
        LEFT JOIN (SELECT utterance_id, label, artifact AS truth FROM truths) USING (utterance_id, truth)
    """)


def _means_view(
    connection: duckdb.DuckDBPyConnection, name: str, features: str, output: str, hop_s: float, needs: str
) -> None:
    """A view over frames and intervals: a new alignment costs no extraction. A segment outside the frames has NULL."""
    key = "pair_id(audio_id, text_id)" if needs == "pair" else f"{needs}_id"
    cell = ", ".join(f'"{output}{part}"' for part in ("", "_shape", "_dtype"))
    connection.execute(f"""
        CREATE VIEW "{name}" AS
        WITH spans AS (
            SELECT input_id, step AS aligner, plugin_key, tier, count(*) AS n,
                   list(symbol ORDER BY position) AS symbols,
                   list(start_s ORDER BY position) AS starts, list(end_s ORDER BY position) AS ends
            FROM intervals GROUP BY ALL
        ), pooled AS (
            SELECT utterance_id, aligner, plugin_key, tier, n, symbols, starts, ends,
                   means_over({cell}, {hop_s!r}, starts, ends) AS means
            FROM utterances JOIN "{features}" AS frames ON frames.input_id = {key}
            JOIN spans ON spans.input_id = pair_id(audio_id, text_id)
        )
        SELECT utterance_id, aligner, plugin_key, tier, unnest(range(n)) AS position, unnest(symbols) AS symbol,
               unnest(starts) AS start_s, unnest(ends) AS end_s, unnest(means) AS mean
        FROM pooled
    """)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pair_id(connection: duckdb.DuckDBPyConnection) -> None:
    """SQL's own pair_id, equal to `warehouse.schema.pair_id`."""
    connection.execute(
        "CREATE MACRO pair_id(audio, words) AS "
        f"""left(sha256('["pair","' || audio || '","' || words || '"]'), {ID_LENGTH})"""
    )
