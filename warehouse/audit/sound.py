"""Manifests that are as `warehouse.artifact.commit` wrote them, told at a glance: nobody need ask what is wrong there.

In canonical JSON the request stands in the manifest as it stands in the key's digest, so that one writing of what was
read proves the form, the seal and the key at once. Whatever `sound` does not know for such is looked at again by
`warehouse.audit.verify`, which says what is wrong with it, if anything is.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

from warehouse.artifact import MANIFEST, SEAL, Artifact, Request, artifact_of
from warehouse.hashing import ID_LENGTH, recoded

_FIELDS = {"request", "files", "digest", "environment", "created_at"}
"""Of a manifest, but for the seal."""

_REQUEST = {"kind", "step", "version", "params", "inputs"}
"""Fields of its request."""

_parse = json.JSONDecoder().raw_decode
_BLOCK = 1 << 16


def sound(folder: Path) -> Artifact | None:
    """The artifact of a folder whose manifest is sealed, as it was written, and where it should be; None of any other.
    Its files are not looked at."""
    try:
        place = str(folder)
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return None
        text = _content(f"{place}/{MANIFEST}").decode()
        value, _ = _parse(text)
        seal, asked = value.pop(SEAL), value.pop("request")
        written = recoded(asked)
        unsealed = f'{recoded(value)[:-1]},"request":{written}}}'
        key = hashlib.sha256(written.encode()).hexdigest()[:ID_LENGTH]
        is_canonical = (
            {*value, "request"} == _FIELDS
            and asked.keys() == _REQUEST
            and all(type(digests) is list for digests in asked["inputs"].values())
            and hashlib.sha256(unsealed.encode()).hexdigest() == seal
            and text == f'{unsealed[:-1]},"{SEAL}":"{seal}"}}'
        )
        if not is_canonical or place.rsplit("/", 2)[1:] != [asked["kind"], key]:
            return None
        contents = recoded({name: [entry["sha256"], entry["n_bytes"]] for name, entry in value["files"].items()})
        if hashlib.sha256(contents.encode()).hexdigest() != value["digest"]:
            return None
        request = Request.from_json(asked)
        vars(request)["key"] = key
        return artifact_of(value | {"request": asked}, request, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_as_written(manifest: bytes) -> bool:
    """Whether a manifest that can be read has the form, the fields and, where it is sealed, the content that `commit`
    gave it."""
    value = json.loads(manifest)
    seal = value.pop(SEAL, None)
    try:  # as `canonical_json`, which checks again what has just come out of JSON
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # half a surrogate pair has no bytes
        return False
    if value.keys() != _FIELDS or value["request"].keys() != _REQUEST:
        return False
    if seal is None:
        return text == manifest
    return hashlib.sha256(text).hexdigest() == seal and manifest == text[:-1] + f',"{SEAL}":"{seal}"}}'.encode()


def is_misplaced(folder: Path) -> bool:
    """Whether a folder whose manifest is refused is only not where it should be: the manifest itself is sealed."""
    try:
        text = (folder / MANIFEST).read_bytes()
        return SEAL in json.loads(text) and is_as_written(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _content(path: str) -> bytes:
    """Of a file that is no link; a stream would ask the kernel four times as often."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        parts = [os.read(handle, _BLOCK)]
        while len(parts[-1]) == _BLOCK:
            parts.append(os.read(handle, _BLOCK))
    finally:
        os.close(handle)
    return b"".join(parts)
