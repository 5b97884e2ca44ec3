"""A way to read the small sandbox, for all tests of corpora."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from features.plugin import Corpus, Rows
from tests.features.surveying import files_of, surveyed
from warehouse.schema import FAILURES, LABELS, UTTERANCES
from warehouse.tables import table_of

ReadAll = Callable[..., Rows]


@pytest.fixture(scope="session")
def read_all() -> ReadAll:
    """(reader, root, corpus) -> the rows of all units, checked against the schema."""

    def read(reader: Corpus, root: Path, corpus: str = "c") -> Rows:
        rows = Rows()
        units = files_of(reader, root)
        survey = surveyed(reader, root, units)
        for unit, files in units.items():
            found = reader.read(root, unit, files, corpus, **survey[unit])
            rows.utterances += found.utterances
            rows.labels += found.labels
            rows.failures += found.failures
        table_of(rows.utterances, UTTERANCES)
        table_of(rows.labels, LABELS)
        table_of(rows.failures, FAILURES)
        ids = [row["utterance_id"] for row in rows.utterances]
        assert len(set(ids)) == len(ids)
        assert {row["utterance_id"] for row in rows.labels} <= set(ids)
        assert str(root) not in repr(rows)
        return rows

    return read
