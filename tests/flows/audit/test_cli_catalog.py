"""The small lake in SQL, from the command line."""

from __future__ import annotations

import re

from tests.flows.saying import Say


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
