"""Artifacts of the small lake, listed and shown."""

from __future__ import annotations

from pathlib import Path

from tests.flows.saying import Say
from tests.flows.small import Small


def test_ls(say: Say, small: Small) -> None:
    artifacts = small.warehouse.artifacts()
    assert [row["key"] for row in say("ls", "--json").json] == [a.key for a in artifacts]
    lines = say("ls").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [a.key[:12] for a in artifacts]
    assert {row["kind"] for row in say("ls", "checkpoint", "--json").json} == {"checkpoint"}
    assert say("ls", "nothing").out == "no rows\n" and say("ls", "nothing", "--json").json == []


def test_show(say: Say, small: Small) -> None:
    artifact = small.warehouse.resolve("reports/small")
    for reference in ("reports/small", artifact.key, artifact.key[:12], artifact.digest):
        assert say("show", reference, "--json").json["digest"] == artifact.digest
    shown = say("show", "reports/small").json
    assert shown["request"] == artifact.request.as_json() and set(shown["files"]) == {"report.html", "report.json"}
    assert shown["environment"]["packages"]["pyarrow"] and "log" not in shown
    fitted = [artifact for artifact in small.warehouse.artifacts("checkpoint") if "history.csv" in artifact.files]
    log = Path(say("show", fitted[0].key, "--json").json["log"])
    assert log == small.warehouse.root / ".logs" / fitted[0].key and len(list(log.glob("events.*"))) == 1
