"""The small lake in SQL, from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from tests.flows.saying import Say, saying
from tests.warehouse.small_lake import small_lake


def test_sql(say: Say) -> None:
    query = "SELECT corpus, count(*) AS n, NULL AS nothing FROM utterances GROUP BY ALL ORDER BY ALL"
    rows = say("sql", query, "--json").json
    assert [row["corpus"] for row in rows] == ["films", "iemocap", "meld"]
    lines = [line.split() for line in say("sql", query).out.splitlines()]
    assert lines == [["corpus", "n", "nothing"], *([row["corpus"], str(row["n"])] for row in rows)]
    assert say("sql", "FROM failures").out == "no rows\n" and say("sql", "FROM failures", "--json").json == []


def test_sql_of_anything_is_json(say: Say) -> None:
    columns = "'nan'::DOUBLE AS x, 'ab'::BLOB AS b, DATE '2020-02-01' AS d, MAP {'k': [1.5]} AS m, sum(n) AS x"
    assert say("sql", f"SELECT {columns} FROM range(4) AS numbers(n)", "--json").json == [
        {"x": None, "b": "YWI=", "d": "2020-02-01", "m": [["k", [1.5]]], "x_2": 6}
    ]
    joined = say("sql", "SELECT * FROM utterances JOIN labels USING (utterance_id) LIMIT 1", "--json").json[0]
    assert joined["artifact"] != joined["artifact_2"], "two tables have a column of that name"
    frames = say("sql", "SELECT frames FROM features_lld LIMIT 1").out.splitlines()[1]
    assert re.fullmatch(r"\(\d+ bytes\) *", frames)


@pytest.fixture
def say_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Beside a hand-made lake."""
    small_lake(tmp_path / "lake")
    monkeypatch.chdir(tmp_path)
    return saying(monkeypatch, capsys)


def test_the_schema_of_all_and_of_one(say_made: Say) -> None:
    told = say_made("sql", "--schema").out.splitlines()
    assert told[0].split() == ["view", "column", "type", "says"]
    assert any(
        re.fullmatch(r"hours +view +Utterances, speakers and hours of sound by corpus\. *", line) for line in told
    )
    assert any(re.fullmatch(r" +n_speakers +BIGINT +how many speakers are told apart *", line) for line in told)
    found = say_made("sql", "--schema", "--json").json
    assert {"view", "form", "says", "columns"} == found[0].keys() and len(found) > 30
    assert say_made("sql", "--schema", "hours", "--json").json == [view for view in found if view["view"] == "hours"]
    unknown = say_made("sql", "--schema", "hour")
    assert unknown.code == 1 and "no view 'hour'; did you mean 'hours'?" in unknown.err


def test_sql_without_a_query_is_a_mistake_of_usage(say_made: Say) -> None:
    page = say_made("sql")
    assert page.code == 2 and "give a SELECT, or --schema to see what can be asked" in page.err


def test_what_is_no_question_is_refused_in_one_sentence(say_made: Say, tmp_path: Path) -> None:
    for query in ("COPY utterances TO 'lake/artifacts/x.csv'", "WITH x AS (COPY (SELECT 1) TO 'x.csv') FROM x"):
        page = say_made("sql", query)
        assert page.code == 1 and page.out == ""
        assert page.err == (
            "emolake: the query could not be answered: it must be one SELECT; the lake is changed by flows only\n"
        )
    page = say_made("sql", "FROM read_text('/etc/passwd')")
    assert page.code == 1 and "file system operations are disabled by configuration" in page.err
    assert not list(tmp_path.rglob("x.csv"))


def test_the_catalog_is_written_once(say_made: Say, tmp_path: Path) -> None:
    path = tmp_path / "lake" / "catalog.duckdb"
    assert say_made("catalog").out == (
        f"{path}: written\nwithout disagreement, side_by_side, which call Python: ask `emolake sql`\n"
    )
    assert say_made("catalog").out.splitlines()[0] == f"{path}: as the lake is now, nothing to do"
    told = {"path": str(path), "is_new": False, "left_out": ["disagreement", "side_by_side"]}
    assert say_made("catalog", "--json").json == told
    assert say_made("catalog", "--out", "mine.duckdb", "--json").json == told | {
        "path": str(tmp_path / "mine.duckdb"), "is_new": True
    }  # fmt: skip
    with duckdb.connect("mine.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM utterances").fetchall() == [(2,)]
