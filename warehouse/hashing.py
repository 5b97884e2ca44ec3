"""Canonical JSON and digests: the one place where identity becomes letters.

SHA-256 everywhere, because an auditor can repeat any figure with `sha256sum` and nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from warehouse.errors import NotCanonical

_BLOCK = 1 << 18  # bytes: what is read is still in the processor's cache when it is hashed
_OF_THREAD = threading.local()  # a block of its own, used again: making one costs a tenth of hashing a short clip

ID_LENGTH = 32  # hex characters: 128 bits, no accidental collision below 2**60 rows


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8.

    Tuples count as lists; -0.0 as 0.0. A float that is a whole number stays a float ("1.0"), because a
    plug-in field typed float and one typed int are different promises.

    Raises:
        NotCanonical: for sets, paths, NaN, infinities, bytes, non-text keys, text that is not Unicode.

    Example:
        >>> canonical_json({"b": (1, 2.0), "a": None})
        b'{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


recoded = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""The text of `canonical_json` of what was read from such, which need not be looked through value by value again.

Raises:
    ValueError: a number in it has no JSON.
"""


def plain(value: Any, where: str = "the value") -> Any:
    """The value as JSON gives it back: tuples as lists, mappings as dicts.

    Raises:
        NotCanonical.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotCanonical(where, value)
        return value + 0.0
    if isinstance(value, (list, tuple)):
        return [plain(inner, f"{where}[{i}]") for i, inner in enumerate(value)]
    if isinstance(value, (dict, Mapping)):  # in this order: of a class that may be anything, asking takes longer
        for key in value:
            if not isinstance(key, str):
                raise NotCanonical(f"a key of {where}", key)
            _text(key, f"a key of {where}")
        return {key: plain(inner, f"{where}.{key}") for key, inner in value.items()}
    raise NotCanonical(where, value)


def _text(value: str, where: str) -> str:
    """Half a surrogate pair, as in a file name that is not UTF-8, has no bytes to hash."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotCanonical(where, value) from error
    return value


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hex characters."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_of_pieces(pieces: Iterable[bytes]) -> str:
    """The `digest` of a value whose canonical JSON comes in pieces, because it is too long to be held."""
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def short_digest(value: Any) -> str:
    """The first ID_LENGTH characters of `digest`: what ids and keys are made of."""
    return digest(value)[:ID_LENGTH]


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hex characters; what `sha256sum` prints."""
    if not hasattr(_OF_THREAD, "block"):
        _OF_THREAD.block = memoryview(bytearray(_BLOCK))
    block, hasher = _OF_THREAD.block, hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while n_bytes := stream.readinto(block):
            hasher.update(block[:n_bytes])
    return hasher.hexdigest()
