"""The events are the standard's, they say what the manifests say, and they arrive."""

from __future__ import annotations

import json
import shutil
import threading
import types
import typing
import uuid
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import attr
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.generated import base
from openlineage.client.serde import Serde

from flows.audit.openlineage_events import run_events, run_id, write_events
from tests.warehouse.small_lake import SmallLake, small_lake
from warehouse import Warehouse
from warehouse.audit.errors import EventsRefused
from warehouse.audit.lineage import closure_up, graph_among
from warehouse.compaction import merge, merges
from warehouse.merged import copies_of


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def written(small: SmallLake, tmp_path: Path) -> list[dict[str, Any]]:
    """All events of the small lake, as a file has them."""
    out = tmp_path / "events.ndjson"
    n = write_events(run_events(small.lake, small.lake.artifacts()), str(out))
    told = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(told) == n == 2 * len(small.lake.artifacts())
    return told


FACETS = {
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "columnLineage": facet_v2.column_lineage_dataset.ColumnLineageDatasetFacet,
    "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "nominalTime": facet_v2.nominal_time_run.NominalTimeRunFacet,
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
}
"""The standard's facets that the events have, by the names that the standard gives them."""


def conforms(value: Any, kind: Any, place: str) -> None:
    """Holds a part of an event against the class that the library generates from the standard's schema: fields that
    must be there, no others, and their types; texts with a format are parsed by the class itself."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if origin in (typing.Union, types.UnionType):
        assert value is not None, f"{place}: what is not known is left out"
        conforms(value, next(one for one in arguments if one is not type(None)), place)
    elif origin is list:
        assert isinstance(value, list), place
        for n, one in enumerate(value):
            conforms(one, arguments[0], f"{place}[{n}]")
    elif origin is dict:
        assert isinstance(value, dict), place
        for name, one in value.items():
            conforms(one, FACETS.get(name, arguments[1]), f"{place}.{name}")
    elif attr.has(kind):
        whole(value, kind, place)
    elif isinstance(kind, type) and issubclass(kind, base.EventType):
        assert value in [one.value for one in kind], place
    else:
        assert type(value) is kind, f"{place}: {value!r}"


def whole(value: dict[str, Any], kind: type, place: str) -> None:
    """`conforms` for an object."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in attr.fields(kind)}
    is_facet = issubclass(kind, base.BaseFacet)
    own = kind in (
        base.RunFacet,
        base.DatasetFacet,
        base.JobFacet,
    )  # of our own: the standard lets these have any field
    assert own or value.keys() <= fields.keys(), f"{place}: {value.keys() - fields.keys()}"
    for name, field in fields.items():
        required = field.default is attr.NOTHING or name in ("_producer", "_schemaURL", "producer", "schemaURL")
        assert not required or name in value, f"{place}.{name} is missing"
        if name in value:
            conforms(value[name], hints[name], f"{place}.{name}")
    if is_facet:
        assert own or value["_schemaURL"] == kind._get_schema(), place  # type: ignore[attr-defined]
        assert value["_producer"].startswith("urn:"), place


def test_events_are_valid_by_the_librarys_own_classes(small: SmallLake, tmp_path: Path) -> None:
    for n, event in enumerate(written(small, tmp_path)):
        conforms(event, event_v2.RunEvent, f"event {n}")
        uuid.UUID(event["run"]["runId"])
        assert datetime.fromisoformat(event["eventTime"]).tzinfo


def test_what_is_not_the_standards_is_found(small: SmallLake, tmp_path: Path) -> None:
    """The law above can fail."""
    event = written(small, tmp_path)[-1]
    spoilt = [
        {**event, "more": 1}, {**event, "eventType": "DONE"}, {**event, "run": {}},
        {name: value for name, value in event.items() if name != "producer"},
        {**event, "outputs": [{"namespace": "n"}]},
    ]  # fmt: skip
    for one in spoilt:
        with pytest.raises(AssertionError):
            conforms(one, event_v2.RunEvent, "event")


def test_they_say_what_the_manifests_say(small: SmallLake, tmp_path: Path) -> None:
    metrics = small.named["metrics"]
    began, done = [e for e in written(small, tmp_path) if e["run"]["runId"] == run_id(metrics.key)]
    assert (began["eventType"], done["eventType"], done["eventTime"]) == ("START", "COMPLETE", metrics.created_at)
    lasting = datetime.fromisoformat(done["eventTime"]) - datetime.fromisoformat(began["eventTime"])
    assert abs(lasting.total_seconds() - metrics.environment["work_s"]) < 0.01
    assert (done["job"]["namespace"], done["job"]["name"]) == ("emolake", "flows.report")
    [output] = done["outputs"]
    lake = small.lake.root.as_uri()
    assert (output["namespace"], output["name"]) == (lake, f"artifacts/metrics/{metrics.key}")
    assert output["facets"]["version"]["datasetVersion"] == metrics.digest
    columns = {field["name"]: field["type"] for field in output["facets"]["schema"]["fields"]}
    assert columns["metrics.value"] == "double" and columns["metrics.variant"] == "string"
    made = output["facets"]["columnLineage"]["fields"]["metrics.value"]["inputFields"]
    truth = small.named["truth"]
    assert {(one["name"], one["field"]) for one in made} >= {(f"artifacts/truth/{truth.key}", "truth.label")}
    read = {one["name"]: one["facets"]["version"]["datasetVersion"] for one in done["inputs"]}
    assert read == {f"artifacts/{a.request.kind}/{a.key}": a.digest for a in (small.predictions, truth)}
    facets = done["run"]["facets"]
    assert facets["emolake_environment"]["packages"] == metrics.environment["packages"]
    assert facets["emolake_step"] | metrics.request.as_json() | {"inputs": 0} == facets["emolake_step"] | {
        "inputs": 0, "key": metrics.key,
    }  # fmt: skip


def test_what_was_merged_since_is_told_as_it_was_made(small: SmallLake) -> None:
    def told() -> list[str]:
        artifacts = small.lake.artifacts()
        graph = graph_among(artifacts, closure_up(artifacts, [small.named["metrics"].key]))
        return [Serde.to_json(event) for event in run_events(small.lake, graph.artifacts)]

    before = told()
    (made,) = (merge(small.lake, one) for one in merges(small.lake))
    assert told() == before and len(copies_of(small.lake)) == 2
    for a in copies_of(small.lake):
        shutil.rmtree(a.folder)
    assert told() == before and made.key not in "".join(before), "sizes and files too"


def test_raw_files_are_inputs_by_corpus_and_unit(small: SmallLake, tmp_path: Path) -> None:
    done = [e for e in written(small, tmp_path) if e["run"]["runId"] == run_id(small.named["raw main"].key)][1]
    [source] = done["inputs"]
    root = Path(small.lake.refs("corpora")["main"]["root"])
    assert (source["namespace"], source["name"]) == (root.as_uri(), ".")
    statistics = source["inputFacets"]["inputStatistics"]
    assert (statistics["fileCount"], statistics["size"]) == (1, 9)


def test_the_same_lake_tells_the_same_events_and_an_input_that_is_gone_is_named_by_its_digest(
    small: SmallLake, tmp_path: Path
) -> None:
    assert written(small, tmp_path) == written(small, tmp_path)
    truth = small.named["truth"]
    shutil.rmtree(truth.folder)
    lake = Warehouse(small.lake.root)
    *_, done = run_events(lake, [lake.resolve(small.named["metrics"].key)])
    names = [one.name for one in done.inputs or ()]
    assert f"digests/{truth.digest}" in names and f"artifacts/predictions/{small.predictions.key}" in names


class Server(BaseHTTPRequestHandler):
    """Takes events until it was told to answer otherwise."""

    told: typing.ClassVar[list[tuple[str, str | None, Any]]] = []
    answers: typing.ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(self.answers.pop(0) if self.answers else 201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Server.told, Server.answers = [], []
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
        server.shutdown()
        thread.join()


def test_an_endpoint_gets_them_in_the_order_of_making(
    small: SmallLake, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    artifacts = small.lake.artifacts()[:3]
    seen: list[int] = []
    assert write_events(run_events(small.lake, artifacts), endpoint, seen.append) == 6 == seen[-1]
    assert {(path, key) for path, key, _ in Server.told} == {("/api/v1/lineage", "Bearer secret")}
    expected = [json.loads(Serde.to_json(event)) for event in run_events(small.lake, artifacts)]
    assert [event for _, _, event in Server.told] == expected


def test_an_endpoint_that_refuses_is_named_without_its_password(small: SmallLake, endpoint: str) -> None:
    Server.answers = [201, 404]
    place = endpoint.replace("http://", "http://me:hush@")
    sentence = (
        r"^http://127\.0\.0\.1:\d+/api/v1/lineage did not take event 2 \(it answered 404\), and has the 1 before it"
    )
    with pytest.raises(EventsRefused, match=sentence) as refused:
        write_events(run_events(small.lake, small.lake.artifacts()), place)
    assert "hush" not in str(refused.value)


def test_an_endpoint_that_is_not_there(small: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with pytest.raises(EventsRefused, match=r"did not take event 1 \(ConnectionError\)"):
        write_events(run_events(small.lake, small.lake.artifacts()), "http://127.0.0.1:9/api/v1/lineage")


def test_standard_output_and_whatever_else_is_a_file(
    small: SmallLake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert write_events(run_events(small.lake, [small.utterances]), "-") == 2
    assert [json.loads(line)["eventType"] for line in capsys.readouterr().out.splitlines()] == ["START", "COMPLETE"]
