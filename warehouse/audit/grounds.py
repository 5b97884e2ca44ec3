"""What something rests on, in the end: raw files with their digests and seconds, protocols, versions of code, and the
environments in which they ran."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from warehouse.artifact import Artifact
from warehouse.audit.holders import asked_of
from warehouse.audit.lineage import closure_up
from warehouse.merged import is_merged, with_pieces
from warehouse.store import environment
from warehouse.tables import columns_of


@dataclass(frozen=True)
class Grounds:
    """What some artifacts rest on, themselves included.

    Args:
        files: corpus, unit, path, sha256, n_bytes, n_utterances, seconds of each raw file; the seconds are those that
            utterances among the artifacts cover, each stretch once.
        protocols: id, folds, and the SQL of the test and the dev part.
        steps: kind, step, version, artifacts, work_s of what made them, in the order of making, and `differing`: what
            of the environment was another than now, as 'torch 2.12.0'.
    """

    files: Sequence[Mapping[str, Any]]
    protocols: Sequence[Mapping[str, Any]]
    steps: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return {"files": list(self.files), "protocols": list(self.protocols), "steps": list(self.steps)}

    def corpora(self) -> list[dict[str, Any]]:
        """Files, seconds and utterances of each corpus."""
        found: dict[str, dict[str, Any]] = {}
        for file in self.files:
            fresh = {"corpus": file["corpus"], "files": 0, "n_bytes": 0, "n_utterances": 0, "seconds": 0.0}
            row = found.setdefault(file["corpus"], fresh)
            row["files"] += 1
            for name in ("n_bytes", "n_utterances", "seconds"):
                row[name] += file[name]
        return list(found.values())


def grounds(artifacts: Sequence[Artifact], keys: Collection[str]) -> Grounds:
    """What the artifacts with these keys rest on, among `artifacts`."""
    above = closure_up(artifacts, keys)
    own = [a for a in with_pieces(artifacts) if a.key in above and not is_merged(a)]
    return Grounds(_files(own), _protocols(own), _steps(own))


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of an environment was another than it is now, as it was: 'torch 2.12.0'. What is recorded now and was not
    then is not known to differ.

    Example:
        >>> differing({"python": "3.11.2", "packages": {"torch": "2.12.0"}}, {"python": "3.12.1", "packages": {}})
        ['python 3.11.2', 'torch 2.12.0']
    """
    whole = [(name, then[name], now.get(name)) for name in ("python", "machine") if name in then]
    of_now = now.get("packages", {})
    packages = [(name, version, of_now.get(name)) for name, version in then.get("packages", {}).items()]
    return [f"{name} {version}" for name, version, current in (*whole, *packages) if version != current]


def _protocols(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for a in artifacts:
        params = a.request.params
        if a.request.kind == "split" and "protocol" in params:
            rules = params.get("rules", {})
            own = str(params["protocol"]), str(rules.get("test", "")), str(rules.get("dev", ""))
            row = found.setdefault(own, dict(zip(("protocol", "test", "dev"), own, strict=True)) | {"folds": []})
            row["folds"] = sorted({*row["folds"], str(params.get("fold", ""))})
    return list(found.values())


def _steps(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    now = environment()
    groups: dict[tuple[str, str, int], dict[str, Any]] = {}
    for a in artifacts:
        request = a.request
        group = request.kind, request.step, request.version
        fresh = {**dict(zip(("kind", "step", "version"), group, strict=True)), "artifacts": 0, "work_s": 0.0,
                 "from": a.created_at, "differing": []}  # fmt: skip
        row = groups.setdefault(group, fresh)
        row["artifacts"] += 1
        row["work_s"] += a.environment.get("work_s", 0.0)
        row["to"] = a.created_at
        row["differing"] = sorted({*row["differing"], *differing(a.environment, now)})
    return list(groups.values())


def _files(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """A file that two units have, as all pieces of one file, is there once, under the first."""
    seconds = _seconds([a for a in artifacts if a.request.kind == "utterances"])
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for a in artifacts:
        if a.request.kind != "raw":
            continue
        corpus, unit = a.request.params.get("corpus", ""), a.request.params.get("unit", "")
        for row in columns_of(a.path("files.parquet")).to_pylist():
            n_utterances, heard_s = seconds.get(row["sha256"], (0, 0.0))
            found.setdefault(
                (corpus, row["path"], row["sha256"]),
                {
                    "corpus": corpus,
                    "unit": unit,
                    **row,
                    "n_utterances": n_utterances,
                    "seconds": heard_s,
                    "record": a.key,
                },
            )
    return list(found.values())


def _seconds(readings: Sequence[Artifact]) -> dict[str, tuple[int, float]]:
    """Digest of a recording -> how many stretches of it, or lines where it has no sound, and their seconds in sum."""
    paths = [a.path("utterances.parquet") for a in readings]
    # In order, for what threads add up in any order differs in the last digit from one time to the next.
    query = """
        SELECT recording_id, sum(if(audio_id = '', n, 1))::BIGINT, fsum(end_s - start_s ORDER BY end_s - start_s)
        FROM (SELECT recording_id, audio_id, start_s, end_s, count(*) AS n FROM rows GROUP BY ALL) GROUP BY recording_id
    """
    found = asked_of(paths, ("recording_id", "audio_id", "start_s", "end_s"), query)
    return {recording: (n, heard_s) for recording, n, heard_s in found}
