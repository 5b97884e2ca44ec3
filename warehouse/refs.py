"""The names of a lake: how one is read, and which are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from warehouse.errors import UnreadableRef

DIGESTS = ("raw", "utterances", "labels")

_FIELDS: Mapping[str, Mapping[str, type]] = {
    "corpora": {"reader": str, "root": str} | dict.fromkeys(DIGESTS, list),
    "features": {"plugin_key": str, "needs": str, "hops_s": dict},
    "aligners": {"plugin_key": str},
    "retries": {"input_ids": list},
    "weights": {"digest": str, "folder": str},
    "reports": {"artifact": str, "metrics": str},
    "bundles": {"digest": str, "keys": list},
    "tombstones": {"utterances": list},
    "purged": {"digests": dict},
    "tainted": {"purges": list, "why": str, "retrain": str},
}
"""Group -> what a name of it holds."""

_MEANT: Mapping[str, Callable[[Any], bool]] = {
    "needs": lambda value: value in ("", "audio", "text", "pair"),
    "hops_s": lambda value: all(type(hop_s) in (int, float) and hop_s > 0 for hop_s in value.values()),
}
"""Field that becomes part of a view -> whether it holds what can be meant."""

_OPTIONAL = ("needs", "hops_s", "metrics")  # older lakes lack them; who asks for them knows that


def read_ref(path: Path) -> dict[str, Any]:
    """What a name points at.

    Raises:
        UnreadableRef: it is a link, is no JSON object, or one of its fields holds what cannot be meant.
    """
    if path.is_symlink():
        raise UnreadableRef(path, "it is a link, which could lead out of the lake")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableRef(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableRef(path, "it holds no JSON object")
    for name, kind in _FIELDS.get(path.parent.name, {}).items():
        value = found.get(name, kind())
        if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
            raise UnreadableRef(path, f"its field '{name}' holds {json.dumps(value)[:60]}")
        if name in _MEANT and not _MEANT[name](value):
            raise UnreadableRef(path, f"its field '{name}' holds {json.dumps(value)[:60]}")
    return found


def corpus_root(lake: Path, ref: Mapping[str, Any]) -> Path:
    """The folder that a corpus' paths are relative to. A root that is not absolute lies in the lake, which may be
    moved: that of sound which was made here.

    Example:
        >>> corpus_root(Path("/lake"), {"root": "artifacts"}), corpus_root(Path("/lake"), {"root": "/corpora/meld"})
        (PosixPath('/lake/artifacts'), PosixPath('/corpora/meld'))
    """
    return lake / ref["root"]


def ref_faults(root: Path, digests: Collection[str], keys: Collection[str]) -> Iterator[tuple[str, str]]:
    """(name, what is wrong with it and what to do) of every name that cannot be read or points at nothing.

    Args:
        root: of the lake.
        digests, keys: of the artifacts it holds, and of those that were merged.
    """
    for path in sorted((root / "refs").rglob("[!.]*.json")):
        name = path.relative_to(root).with_suffix("").as_posix()
        try:
            found = read_ref(path)
        except UnreadableRef as error:
            yield name, str(error)
            continue
        group = path.parent.name
        missing = [field for field in _FIELDS.get(group, {}) if field not in found and field not in _OPTIONAL]
        again = f"delete {path}, and the next run writes it again"
        yield from ((name, f"its field '{field}' is missing: {again}") for field in missing)
        if group == "corpora":
            for role in DIGESTS:
                for digest in dict.fromkeys(found.get(role, ())):
                    if digest not in digests:
                        yield name, f"its {role} {digest[:12]} are not in the lake: ingest '{path.stem}' again"
        if group == "retries" and path.stem not in keys:
            yield name, f"it is about an artifact that is not in the lake: delete {path}"
        if group == "weights" and "digest" in found and found["digest"] not in digests:
            yield name, f"its digest {found['digest'][:12]} is not in the lake: {again}"
        if group == "reports":
            for field in ("artifact", "metrics"):
                if field in found and found[field] not in digests and found[field] not in keys:
                    yield name, f"its {field} {found[field][:12]} is not in the lake: run '{path.stem}' again"
