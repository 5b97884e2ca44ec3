"""Which artifacts of one plug-in answer an input that another of them answers too.

Two runs that overlapped may cut other batches and so both answer an input id; then the rows of one stand. To look for
that in every question costs more than the question, and almost always there is none. Artifacts never change, so what
was looked at once is remembered below `.cache/overlaps`, by key and digest: a new artifact is held against the others
once. What is remembered may be deleted.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from warehouse.artifact import Artifact
from warehouse.manifest_rows import unsealed_json, write_sealed
from warehouse.merged import PIECES, held_before


def overlapping(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, str], memory: Path, beside: Path
) -> set[str]:
    """Those of some artifacts that share an input id with another of them.

    Args:
        files: key and digest of an artifact -> its file of rows, as DuckDB names it.
        memory: of this plug-in.
        beside: where that is written before it is renamed.
    """
    told = unsealed_json(memory)
    looked_at, shared = set(told.get("looked_at", ())), set(told.get("shared", ()))
    new = [name for name in files if name not in looked_at]
    if new:
        old = [name for name in files if name in looked_at]
        shared = {name for name in shared if name in files} | _sharing(connection, files, new, old)
        content = json.dumps({"looked_at": list(files), "shared": sorted(shared)}).encode()
        try:
            write_sealed(memory, content, beside)
        except OSError:
            return shared  # a lake that cannot be written to can be asked
    return shared & files.keys()


def once(artifacts: Iterable[Artifact]) -> str:
    """The condition, in SQL, under which a row of a file that is read with its `filename` counts: one of a piece that
    lies in two merged artifacts counts in the first."""
    unless = [
        f"(parse_path(filename)[-2] = {_text(a.key)} AND input_id IN (SELECT input_id FROM "
        f"read_parquet({_text(glob.escape(a.address(PIECES)))}) WHERE piece IN ({', '.join(map(_text, again))})))"
        for a, again in held_before(artifacts)
    ]
    return f"WHERE NOT ({' OR '.join(unless)})" if unless else ""


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sharing(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, str], new: list[str], old: list[str]
) -> set[str]:
    parameters = {"new": [files[name] for name in new], "old": [files[name] for name in old]}
    before = """
        UNION ALL SELECT DISTINCT input_id, file_index + len($new) FROM read_parquet($old)
        WHERE input_id IN (SELECT input_id FROM read_parquet($new))
    """
    rows = connection.execute(
        f"""
        WITH pairs AS MATERIALIZED (
            SELECT DISTINCT input_id, file_index AS n FROM read_parquet($new) {before if old else ""}
        )
        SELECT DISTINCT n FROM pairs
        WHERE input_id IN (SELECT input_id FROM pairs GROUP BY input_id HAVING count(*) > 1)
        """,
        parameters if old else {"new": parameters["new"]},
    ).fetchall()
    return {(new + old)[n] for (n,) in rows}
