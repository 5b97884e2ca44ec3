"""What can be asked of a lake in SQL, and what everybody tries who wants more than an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Warehouse
from warehouse.errors import QueryFailed
from warehouse.questions import closed_connection, refuse_unless_question

ONE_SELECT = "it must be one SELECT; the lake is changed by flows only"
NO_FILE = "file system operations are disabled by configuration"
LOCKED = "the configuration has been locked"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    """A lake beside which secrets lie, and in which links lead to them."""
    folder = tmp_path_factory.mktemp("asked")
    small = small_lake(folder / "lake")
    (folder / "secret").mkdir()
    (folder / "secret" / "secret.csv").write_text("a,b\nsecret,1\n")
    (folder / "lake2").mkdir()
    (folder / "lake2" / "near.csv").write_text("a,b\nsecret,1\n")
    (small.lake.root / "artifacts" / "folder").symlink_to(folder / "secret")
    (small.lake.root / "artifacts" / "file.csv").symlink_to(folder / "secret" / "secret.csv")
    return small


READS = [  # every way to a file that is not the lake's
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/etc/passwd')",
    "FROM read_csv('/etc/passwd')",
    "FROM read_json('/etc/passwd')",
    "FROM read_json_objects('/etc/passwd')",
    "FROM read_parquet('/etc/passwd')",
    "FROM parquet_metadata('/etc/passwd')",
    "FROM read_duckdb('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_text('~/.ssh/id_ed25519')",
    "FROM '{beside}/secret/secret.csv'",
    "FROM read_text('{beside}/secret/secret.csv')",
    "FROM read_text('file://{beside}/secret/secret.csv')",
    "FROM read_text('file:/etc/passwd')",
    "FROM read_text(['{lake}/artifacts/x', '/etc/passwd'])",
    "FROM read_text('{lake}/lake.json')",
    "FROM read_text('{lake}/refs/corpora/main.json')",
    "FROM read_text('{lake}/artifacts/../../secret/secret.csv')",
    "FROM read_text('{lake}/artifacts/./.././../secret/secret.csv')",
    "FROM read_text('{lake}/artifacts/folder/secret.csv')",
    "FROM read_text('{lake}/artifacts/file.csv')",
    "FROM read_text('{lake}/artifacts/*/secret.csv')",
    "FROM read_text('{lake}2/near.csv')",
    "FROM read_text('lake/lake.json')",
    "FROM glob('/etc/*')",
    "FROM glob('{lake}/artifacts/../../*')",
    "FROM glob('{lake}/artifacts/folder/*')",
    "WITH x AS (FROM read_text('/etc/passwd')) FROM x",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM utterances WHERE text IN (SELECT content FROM read_text('/etc/passwd'))",
    "PIVOT (FROM read_csv('/etc/passwd', header = false)) ON column0 USING count(*)",
    "DESCRIBE FROM read_csv('/etc/passwd')",
    "SUMMARIZE FROM read_text('/etc/passwd')",
    "FROM read_csv('http://localhost:1/a.csv')",
    "FROM read_parquet('https://localhost:1/a.parquet')",
    "FROM read_parquet('s3://bucket/a.parquet')",
    "FROM read_text('hf://datasets/x/y')",
]


@pytest.mark.parametrize("query", READS)
def test_a_question_reads_nothing_but_the_lake(small: SmallLake, query: str) -> None:
    query = query.format(lake=small.lake.root, beside=small.lake.root.parent)
    with pytest.raises(QueryFailed, match=f"{NO_FILE}|Table with name .* does not exist"):
        small.lake.table(query)


WRITES = [
    "COPY (SELECT 1) TO '{lake}/artifacts/x.csv'",
    "COPY utterances TO '{lake}/artifacts/x.parquet'",
    "COPY utterances FROM '{lake}/artifacts/x.parquet'",
    "COPY (PIVOT metrics ON part USING any_value(value)) TO '{lake}/artifacts/x.csv'",
    "WITH x AS (COPY (SELECT 1) TO '{lake}/artifacts/x.csv') FROM x",
    "WITH a AS (SELECT 1), x AS MATERIALIZED (COPY (SELECT 1) TO '{lake}/artifacts/x.csv') FROM a, x",
    "FROM (WITH x AS (COPY (SELECT 1) TO '{lake}/artifacts/x.csv') FROM x)",
    "SELECT (WITH x AS (COPY (SELECT 1) TO '{lake}/artifacts/x.csv') FROM x)",
    "SELECT 1 UNION ALL (WITH x AS (COPY (SELECT 1) TO '{lake}/artifacts/x.csv') FROM x)",
    "WITH x AS (COPY (SELECT 1) TO '{lake}/artifacts/x.csv'), y AS (PIVOT metrics ON part USING count(*)) FROM x, y",
    "FROM query('WITH x AS (COPY (SELECT 1) TO ''{lake}/artifacts/x.csv'') FROM x')",
    "FROM query('COPY (SELECT 1) TO ''{lake}/artifacts/x.csv''')",
    "FROM json_execute_serialized_sql(json_serialize_sql("
    "'WITH x AS (COPY (SELECT 1) TO ''{lake}/artifacts/x.csv'') FROM x'))",
    "PIVOT (FROM json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY (SELECT 1 AS a) TO "
    "''{lake}/artifacts/x.csv'') FROM x'))) ON Count USING count(*)",
    "PIVOT (FROM query('FROM json_' || 'execute_serialized_sql(json_serialize_sql(''SELECT 1 AS a''))')) "
    "ON a USING count(*)",
    'FROM "system".main."JSON_execute_serialized_sql"(json_serialize_sql(\'SELECT 1\'))',
    "FROM query_table('judges')",
    "FROM query('FROM read_text(''/etc/passwd'')')",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/artifacts/x.csv'",
    "PREPARE p AS COPY (SELECT 1) TO '{lake}/artifacts/x.csv'",
    "PREPARE p AS PIVOT metrics ON part USING count(*)",
    "EXECUTE p",
    "SELECT 1; COPY (SELECT 1) TO '{lake}/artifacts/x.csv'",
    "SELECT 1) UNION (SELECT 2",
    "EXPORT DATABASE '{lake}/artifacts/x'",
    "IMPORT DATABASE '{lake}/artifacts'",
    "ATTACH '{lake}/artifacts/x.duckdb'",
    "ATTACH ':memory:' AS more",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{lake}/artifacts/x.duckdb_extension'",
    "CREATE TABLE t (a INT)",
    "CREATE TABLE t AS PIVOT metrics ON part USING count(*)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE http)",
    "INSERT INTO artifacts PIVOT metrics ON part USING count(*)",
    "INSERT INTO judges VALUES ('a', 'b')",
    "WITH x AS (INSERT INTO judges VALUES ('a', 'b') RETURNING *) FROM x",
    "WITH x AS (DELETE FROM artifacts RETURNING *) FROM x",
    "WITH x AS (UPDATE artifacts SET kind = '' RETURNING *) FROM x",
    "UPDATE artifacts SET kind = ''",
    "DELETE FROM artifacts",
    "TRUNCATE artifacts",
    "MERGE INTO artifacts USING artifacts b ON artifacts.key = b.key WHEN MATCHED THEN DELETE",
    "DROP VIEW utterances",
    "ALTER TABLE artifacts RENAME TO x",
    "COMMENT ON TABLE artifacts IS 'x'",
    "SET enable_external_access = true",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL enable_logging(storage = 'file', storage_config = {{'path': '{lake}/artifacts/log'}})",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
]


@pytest.mark.parametrize("query", WRITES)
def test_a_question_writes_nothing_not_even_in_the_lake(small: SmallLake, query: str) -> None:
    before = {path: path.lstat().st_mtime_ns for path in small.lake.root.parent.rglob("*")}
    with pytest.raises(QueryFailed, match=f"{ONE_SELECT}|must be at the top level|[Ss]yntax"):
        small.lake.table(query.format(lake=small.lake.root))
    assert {path: path.lstat().st_mtime_ns for path in small.lake.root.parent.rglob("*")} == before


@pytest.mark.parametrize(
    "query",
    [
        "FROM enable_logging(storage = 'file', storage_config = {'path': 'log'})",
        "FROM enable_profiling(save_location = 'profile.json')",
        "FROM disable_profiling()",
    ],
)
def test_settings_stay_as_they_are_also_where_a_select_would_change_them(small: SmallLake, query: str) -> None:
    with pytest.raises(QueryFailed, match=LOCKED):
        small.lake.table(query)


def test_there_are_no_secrets(small: SmallLake) -> None:
    assert small.lake.table("FROM duckdb_secrets()").num_rows == 0
    assert small.lake.table("FROM which_secret('s3://bucket', 's3')").num_rows == 0


def test_what_runs_a_text_is_named(small: SmallLake) -> None:
    with pytest.raises(QueryFailed, match=rf"{ONE_SELECT}, and query\(…\) runs what a text says"):
        small.lake.table("SELECT * FROM QUERY('SELECT 1')")


def test_nobody_reads_the_environment(small: SmallLake) -> None:
    with pytest.raises(QueryFailed, match="getenv does not exist"):
        small.lake.table("SELECT getenv('HOME')")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1;",
        "VALUES (1)",
        "TABLE metrics",
        "(SELECT 1)",
        "SHOW TABLES",
        "DESCRIBE utterances",
        "SUMMARIZE metrics",
        "SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3",
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 5) FROM x",
        "WITH x AS MATERIALIZED (FROM metrics) FROM x, x AS y",
        "PIVOT metrics ON part USING any_value(value)",
        "PIVOT metrics ON part USING any_value(value) -- by part",
        "PIVOT metrics ON part USING any_value(value);\n",
        "FROM (PIVOT metrics ON part USING any_value(value))",
        "WITH x AS (PIVOT metrics ON part USING any_value(value)) FROM x",
        "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b",
        """SELECT '"type":"COPY_QUERY_NODE"' AS "COPY" """,
        "SELECT 'x); COPY (SELECT 1) TO ''y''' AS text -- ; COPY",
        "FROM glob('{lake}/artifacts/*/*/manifest.json')",
        "FROM read_text('{lake}/artifacts/metrics/*/manifest.json')",
    ],
)
def test_what_only_asks_is_answered(small: SmallLake, query: str) -> None:
    assert small.lake.table(query.replace("{lake}", str(small.lake.root))).num_rows > 0


def test_an_answer_keeps_its_order_and_takes_parameters(small: SmallLake) -> None:
    numbers = "SELECT n, n % 7 AS rest FROM range(10000) AS r(n) WHERE n < $most ORDER BY hash(n)"
    asked = small.lake.sql(numbers, {"most": 5000}).fetchall()
    assert asked == duckdb.connect().execute(numbers, {"most": 5000}).fetchall()
    pivot = "PIVOT (SELECT n % 3 AS three FROM range($most) AS r(n)) ON three IN (0, 1, 2) USING count(*)"
    assert small.lake.sql(pivot, {"most": 9}).fetchall() == [(3, 3, 3)]
    with pytest.raises(QueryFailed, match=r"PIVOT statements .* cannot have parameters in their source"):
        small.lake.sql(pivot.replace("IN (0, 1, 2)", ""), {"most": 9})


def test_a_lake_behind_a_link_is_read_and_what_is_behind_it_is_not(tmp_path: Path, small: SmallLake) -> None:
    (tmp_path / "linked").symlink_to(small.lake.root)
    linked = Warehouse(tmp_path / "linked")
    assert linked.table("SELECT utterance_id FROM utterances ORDER BY ALL").num_rows == 2
    with pytest.raises(QueryFailed, match=NO_FILE):
        linked.table(f"FROM read_text('{tmp_path}/linked/artifacts/../lake.json')")


def test_names_of_the_lake_are_no_sql(tmp_path: Path) -> None:
    """Whoever gives away a lake chooses what its refs are called."""
    small = small_lake(tmp_path / "lake")
    key = small.lake.refs("features")["voice"]["plugin_key"]
    name = 'x" AS SELECT 1; CREATE TABLE taken (a INT); --'
    ref = {"plugin_key": key, "needs": "audio", "hops_s": {'F0" , 1); --': 0.01}}
    small.lake.set_ref(f"features/{name}", {"plugin_key": key, "needs": "audio", "hops_s": {}})
    names = [row[0] for row in small.lake.sql("SELECT table_name FROM duckdb_columns()").fetchall()]
    assert f"features_{name}" in names and "taken" not in names
    small.lake.set_ref("features/voice", ref)
    with pytest.raises(QueryFailed, match="the lake is damaged"):
        small.lake.table("SHOW TABLES")


# -- connections ----------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with closed_connection([tmp_path / "open [1]"], tmp_path / "spill") as connection:
        yield connection


def test_a_folder_may_be_called_like_a_pattern(closed: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for name in ("open [1]", "open 1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    found = closed.execute("SELECT content FROM read_text($path)", {"path": f"{tmp_path}/open [[]1]/a.txt"})
    assert found.fetchall() == [("open [1]",)]
    with pytest.raises(duckdb.PermissionException, match=NO_FILE):
        closed.execute("FROM read_text($path)", {"path": f"{tmp_path}/open 1/a.txt"})


def test_without_a_folder_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    with closed_connection() as connection:
        for path in ("a.txt", ".tmp/a.txt", str(tmp_path / "a.txt"), "/etc/passwd"):
            with pytest.raises(duckdb.PermissionException, match=NO_FILE):
                connection.execute("FROM read_text($path)", {"path": path})


def test_what_does_not_fit_the_memory_is_spilled_and_swept(tmp_path: Path) -> None:
    with closed_connection(spill=tmp_path / "spill") as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [(f"{tmp_path}/spill",)]
        assert not (tmp_path / "spill").exists()
    small = small_lake(tmp_path / "lake")
    spills = small.lake.table("SELECT current_setting('temp_directory') AS spill").column("spill").to_pylist()
    assert Path(spills[0]).parent == small.lake.root / ".scratch"


def test_the_empty_question_and_the_broken_one(closed: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryFailed, match=ONE_SELECT):
        refuse_unless_question(closed, " -- nothing")
    with pytest.raises(duckdb.ParserException):
        refuse_unless_question(closed, "SELEC 1")


@pytest.mark.parametrize(
    "query",
    [
        "WITH x AS (COPY (SELECT 1 a) TO '{path}') PIVOT labels ON scheme",
        "FROM (WITH x AS (COPY (SELECT 1 a) TO '{path}') PIVOT labels ON scheme)",
        "WITH x AS (COPY (SELECT 1 a) TO '{path}') FROM (PIVOT labels ON scheme)",
        "PIVOT (WITH x AS (COPY (SELECT 1 a) TO '{path}') FROM labels) ON scheme",
    ],
)
def test_nothing_hidden_in_a_pivot_is_carried_out(lake: Warehouse, query: str) -> None:
    """DuckDB carries out what a PIVOT's WITH says before it can be asked whether it writes."""
    target = lake.root / "artifacts" / "written.parquet"
    target.parent.mkdir(exist_ok=True)
    with pytest.raises(QueryFailed):
        lake.table(query.format(path=target))
    assert not target.exists()
