"""From which columns of which files a view's column comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse.audit.columns import EITHER, ROWS, VALUE, Source, asking, sources_of
from warehouse.errors import UnknownName
from warehouse.schema import METRICS, UTTERANCES

Ask = Callable[[str], list[Source]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    return small_lake(tmp_path_factory.mktemp("columns") / "lake")


@pytest.fixture(scope="module")
def ask(small: SmallLake) -> Iterator[Ask]:
    with asking(small.lake) as sources:
        yield sources


def told(ask: Ask, column: str, role: str) -> set[str]:
    """'kind/file.column' of those sources that have a role."""
    return {f"{one.kind}/{one.file}.{one.column}" for one in ask(column) if one.role == role}


@pytest.mark.parametrize("column", METRICS.names)
def test_a_column_of_one_file_is_itself(ask: Ask, column: str) -> None:
    assert told(ask, f"metrics.{column}", VALUE) == {f"metrics/metrics.parquet.{column}"}
    assert told(ask, f"metrics.{column}", ROWS) <= {"metrics/metrics.parquet.(its folder)"}


def test_every_column_of_utterances_is_of_utterances(ask: Ask) -> None:
    for column in ("text", "audio_id", "attributes"):
        assert column in UTTERANCES.names
        assert told(ask, f"utterances.{column}", VALUE) == {f"utterances/utterances.parquet.{column}"}
    assert told(ask, "utterances.artifact", VALUE) == {"utterances/utterances.parquet.(its folder)"}


def test_a_joined_column_names_what_it_is_and_what_it_is_joined_by(ask: Ask) -> None:
    assert told(ask, "predictions.label", VALUE) == {"truth/truth.parquet.label"}
    rows = told(ask, "predictions.label", ROWS)
    assert {"predictions/predictions.parquet.utterance_id", "truth/truth.parquet.utterance_id"} <= rows
    assert "(manifests and names)/judges.truth" in rows
    assert told(ask, "predictions.predicted", VALUE) == {"predictions/predictions.parquet.predicted"}


def test_rows_of_an_extractor_are_of_its_files(ask: Ask) -> None:
    assert told(ask, "features_voice.F0", VALUE) == {"features/features.parquet.F0"}
    assert "features/features.parquet.input_id" in told(ask, "features_voice.F0", ROWS)


def test_a_view_over_views_is_followed_to_files(ask: Ask) -> None:
    assert told(ask, "disagreement.tier", VALUE) | told(ask, "disagreement.tier", EITHER) >= {
        "intervals/intervals.parquet.tier"
    }


def test_manifests_are_no_files(ask: Ask) -> None:
    assert told(ask, "artifacts.step", VALUE) == {"(manifests and names)/artifacts.step"}
    assert told(ask, "aligners.name", VALUE) == {"(none in the lake)/aligners.name"}


def test_every_column_of_every_view_comes_from_somewhere(small: SmallLake, ask: Ask) -> None:
    """Views that are added are understood without a word about them."""
    query = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    columns = small.lake.connect().execute(query).fetchall()
    assert len(columns) > 100
    assert [one for one in columns if not ask(".".join(one))] == []
    assert sources_of(small.lake, "metrics.value") == ask("metrics.value")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [("metrcs.value", "no view 'metrcs'; did you mean 'metrics'"), ("metrics", "no column of metrics ''"),
     ("metrics.valu", "no column of metrics 'valu'; did you mean 'value'"), ("a.b.c", "no view 'a'"),
     ('metrics"."value', "no view"), ("metrics.value FROM x", "no column of metrics")],
)  # fmt: skip
def test_a_column_that_is_not_there_is_refused(ask: Ask, column: str, sentence: str) -> None:
    with pytest.raises(UnknownName, match=sentence):
        ask(column)
