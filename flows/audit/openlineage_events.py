"""The making of artifacts as OpenLineage events, for a file or for a server such as Marquez.

Each artifact is the one output of one run. Run ids follow from keys, so the same lake gives the same events however
often they are told.

Source: https://openlineage.io/docs/spec/object-model; the classes are those of `openlineage-python`.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import attr
import pyarrow.parquet as pq
from openlineage.client import event_v2 as events
from openlineage.client import facet_v2 as facets
from openlineage.client.generated.base import DatasetFacet, RunFacet
from openlineage.client.serde import Serde

from flows.audit.columns_made import columns_made
from warehouse.artifact import Artifact
from warehouse.audit.errors import EventsRefused
from warehouse.audit.lineage import edges
from warehouse.refs import corpus_root

if TYPE_CHECKING:
    from warehouse import Warehouse

PRODUCER = "urn:emolake:openlineage"
_RUNS = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
JOBS = "emolake"
"""The namespace of jobs, which are steps: 'extractors.opensmile'."""


@attr.define
class EnvironmentRunFacet(RunFacet):
    """Where a step ran: as the manifest has it."""

    python: str
    machine: str
    packages: dict[str, str]


@attr.define
class StepRunFacet(RunFacet):
    """What was asked for: all that the key is a digest of, but for the inputs, which are datasets."""

    kind: str
    step: str
    version: int
    key: str
    params: dict[str, Any]


def run_events(warehouse: Warehouse, artifacts: Sequence[Artifact]) -> Iterator[events.RunEvent]:
    """A START and a COMPLETE event for the making of each artifact, in the order in which they were made.

    START is when its work began, as far as its seconds of work are recorded; COMPLETE is when it was there, with its
    inputs and its output. An input that is not in the lake any more is named by its digest alone.
    """
    known = warehouse.artifacts()
    sources: dict[str, list[tuple[str, Artifact]]] = {}
    wanted = {a.key for a in artifacts}
    for user, role, source in edges(known):
        if user.key in wanted:
            sources.setdefault(user.key, []).append((role, source))
    for a in artifacts:
        ended = datetime.fromisoformat(a.created_at)
        began = ended - timedelta(seconds=a.environment.get("work_s", 0.0))
        run = events.Run(run_id(a.key), dict(_run_facets(a, began, ended)))
        job = events.Job(JOBS, a.request.step, {
            "jobType": facets.job_type_job.JobTypeJobFacet("BATCH", "EMOLAKE", a.request.kind, producer=PRODUCER)
        })  # fmt: skip
        own = sources.get(a.key, [])
        inputs = [*_raw_input(warehouse, a), *_inputs(warehouse, a, own)]
        output = _output(warehouse, a, own)
        for state, moment, read, written in (
            (events.RunState.START, began, [], []), (events.RunState.COMPLETE, ended, inputs, [output]),
        ):  # fmt: skip
            yield events.RunEvent(
                eventType=state, eventTime=_iso(moment), run=run, job=job, inputs=read, outputs=written,
                producer=PRODUCER,
            )  # fmt: skip


def run_id(key: str) -> str:
    """The run that made the artifact of a key.

    Example:
        >>> run_id("3f2a81") == run_id("3f2a81") != run_id("90bc17")
        True
    """
    return str(uuid.uuid5(_RUNS, key))


def write_events(told: Iterable[events.RunEvent], out: str, progress: Callable[[int], None] = lambda n: None) -> int:
    """Sends events to an endpoint (http:// or https://), or writes them to a file, one JSON object per line; '-' is
    standard output.

    An API key is read from OPENLINEAGE_API_KEY, as the library's own clients do.

    Returns:
        How many.

    Raises:
        EventsRefused: the endpoint does not answer, or does not take one; those before it are there.
    """
    n = 0
    if urlsplit(out).scheme in ("http", "https"):
        emit = _sender(out)
        for event in told:
            emit(event, n)
            n += 1
            progress(n)
        return n
    with nullcontext(sys.stdout) if out == "-" else Path(out).open("w", encoding="utf-8") as stream:
        for event in told:
            stream.write(Serde.to_json(event, ensure_ascii=False) + "\n")
            n += 1
            progress(n)
    return n


def _sender(url: str) -> Callable[[events.RunEvent, int], None]:
    import requests
    from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport, TokenProvider

    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
    key = os.environ.get("OPENLINEAGE_API_KEY")
    auth = ApiKeyTokenProvider({"apiKey": key}) if key else TokenProvider({})
    endpoint = urlunsplit(("", "", parts.path or "api/v1/lineage", parts.query, ""))
    retry = {"total": 2, "backoff_factor": 0.2, "allowed_methods": ["POST"]}
    transport = HttpTransport(HttpConfig(url=base, endpoint=endpoint, auth=auth, retry=retry))
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))  # without a password

    def emit(event: events.RunEvent, n: int) -> None:
        try:
            transport.emit(event)
        except requests.HTTPError as error:
            code = error.response.status_code if error.response is not None else "an error"
            raise EventsRefused(shown, n, f"it answered {code}") from error
        except requests.RequestException as error:
            raise EventsRefused(shown, n, type(error).__name__) from error

    return emit


# -- facets ------------------------------------------------------------------------------------------------------------


def _run_facets(a: Artifact, began: datetime, ended: datetime) -> Iterator[tuple[str, RunFacet]]:
    request, then = a.request, a.environment
    yield "nominalTime", facets.nominal_time_run.NominalTimeRunFacet(_iso(began), _iso(ended), producer=PRODUCER)
    if "python" in then:
        engine = facets.processing_engine_run.ProcessingEngineRunFacet(then["python"], "Python", producer=PRODUCER)
        yield "processing_engine", engine
    packages = dict(then.get("packages", {}))
    place = EnvironmentRunFacet(then.get("python", ""), then.get("machine", ""), packages, producer=PRODUCER)
    yield "emolake_environment", place
    params = request.as_json()["params"]
    asked = StepRunFacet(request.kind, request.step, request.version, a.key, params, producer=PRODUCER)
    yield "emolake_step", asked


def _inputs(
    warehouse: Warehouse, a: Artifact, sources: Sequence[tuple[str, Artifact]]
) -> Iterator[events.InputDataset]:
    by_key = {source.key: source for _, source in sources}
    for source in by_key.values():
        yield events.InputDataset(*_name(warehouse, source), facets={"version": _version(source.digest)})
    there = {source.digest for source in by_key.values()}
    for digest in dict.fromkeys(one for digests in a.request.inputs.values() for one in digests):
        if digest not in there:
            named = warehouse.uri, f"digests/{digest}"
            yield events.InputDataset(*named, facets={"version": _version(digest)})


def _raw_input(warehouse: Warehouse, a: Artifact) -> Iterator[events.InputDataset]:
    """What a record of raw files is of: a unit of a corpus, below the root of this."""
    corpus = a.request.params.get("corpus")
    if a.request.kind != "raw" or a.request.inputs or not isinstance(corpus, str):
        return
    ref = warehouse.ref(f"corpora/{corpus}")
    namespace = corpus_root(warehouse.root, ref).absolute().as_uri() if ref else f"corpus:{corpus}"
    sizes = pq.read_table(a.path("files.parquet"), columns=["n_bytes"]).column(0).to_pylist()
    statistics = facets.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
        size=sum(sizes), fileCount=len(sizes), producer=PRODUCER
    )
    unit = str(a.request.params.get("unit", ""))
    yield events.InputDataset(
        namespace, unit or ".", facets={"version": _version(a.digest)}, inputFacets={"inputStatistics": statistics}
    )


def _output(warehouse: Warehouse, a: Artifact, sources: Sequence[tuple[str, Artifact]]) -> events.OutputDataset:
    told = _dataset_facets(a)
    fields: dict[str, list[Any]] = {}
    for column, source, field in columns_made(a, sources):
        how = [facets.column_lineage_dataset.Transformation("DIRECT")]
        one = facets.column_lineage_dataset.InputField(*_name(warehouse, source), field, transformations=how)
        fields.setdefault(column, []).append(one)
    if fields:
        made = {column: facets.column_lineage_dataset.Fields(inputs) for column, inputs in fields.items()}
        told["columnLineage"] = facets.column_lineage_dataset.ColumnLineageDatasetFacet(made, producer=PRODUCER)
    statistics = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        size=a.n_bytes, fileCount=len(a.files), producer=PRODUCER
    )
    return events.OutputDataset(*_name(warehouse, a), facets=told, outputFacets={"outputStatistics": statistics})


def _dataset_facets(a: Artifact) -> dict[str, DatasetFacet]:
    found: dict[str, DatasetFacet] = {"version": _version(a.digest)}
    columns = [
        facets.schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in columns_of(a).items()
    ]  # fmt: skip
    if columns:
        found["schema"] = facets.schema_dataset.SchemaDatasetFacet(columns, producer=PRODUCER)
    return found


def _version(digest: str) -> DatasetFacet:
    return facets.dataset_version_dataset.DatasetVersionDatasetFacet(digest, producer=PRODUCER)


def columns_of(a: Artifact) -> Mapping[str, str]:
    """'table.column' -> type of all Parquet files of an artifact; none of one whose files are gone or damaged."""
    found: dict[str, str] = {}
    for file in sorted(name for name in a.files if name.endswith(".parquet")):
        try:
            schema = pq.read_schema(a.path(file))
        except (OSError, ValueError):
            continue  # `verify` says so
        found |= {f"{file.removesuffix('.parquet')}.{field.name}": str(field.type) for field in schema}
    return found


def _name(warehouse: Warehouse, a: Artifact) -> tuple[str, str]:
    return warehouse.uri, f"artifacts/{a.request.kind}/{a.key}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
