"""The receipt of a purge: what went, signed, and the proof that it is gone.

    receipts/<purge>.json    what, when, digests before and after, tainted models, hashed ids; Ed25519 over all of it

The key lies outside the lake, so who can write to the lake cannot write receipts. The public key is in the receipt: it
says that nothing was changed since it was signed, and whose it is says only a comparison with the key one knows.

The proof needs no name in clear: `sha256(utterance_id) IN (…)` over every table, and of every other file each word that
could be an id. Of a lake on a store every file there is read for it, and those of this host's copy.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.audit.errors import ReceiptForged, UnreadableReceipt, UnusableKey
from warehouse.audit.rewriting import words_of
from warehouse.audit.tombstones import Tombstone, hashed
from warehouse.hashing import canonical_json
from warehouse.objects import at_once
from warehouse.store import Warehouse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = "receipts"
FORMAT = 1

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "utterance_id": ("utterances",),
    "input_id": ("audio", "pairs"),
    "audio_id": ("audio",),
    "recording_id": ("recordings",),
    "sha256": ("recordings",),
}
"""Column -> the sets of a tombstone that its values must not be in. A text may be said again by somebody else, so
nothing is proved of texts."""

QUERY = (
    "SELECT filename, count(*) FROM read_parquet($files, filename = true) WHERE sha256({column}) IN (FROM withdrawn)"
)

_APART = (".purge", ".cache", ".scratch")
"""Folders whose files are not looked into: the journal, what is remembered of raw files that still lie where they lay,
and work in progress."""

_AT_A_TIME, _BYTES_AT_A_TIME = 256, 1 << 30
"""Files of a store, and their bytes, that are on this disk at a time while they are looked into; a larger one alone."""


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key that signs; made, for its owner's eyes only, where there is none yet.

    Raises:
        UnusableKey: it cannot be read or made, or it is of another kind.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(pem)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableKey(path, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(path, f"it is {type(key).__name__}, not Ed25519")
    return key


def signed(content: Mapping[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """The content with the public key, and a signature over the canonical JSON of both."""
    whole = {**content, "public_key": key.public_key().public_bytes_raw().hex()}
    return whole | {"signature": key.sign(canonical_json(whole)).hex()}


def read_receipt(path: Path) -> dict[str, Any]:
    """A receipt whose signature holds.

    Raises:
        UnreadableReceipt: the file is none.
        ReceiptForged: it says something else than what was signed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        receipt = json.loads(path.read_bytes())
        said = {name: value for name, value in receipt.items() if name != "signature"}
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["public_key"]))
        signature, _ = bytes.fromhex(receipt["signature"]), Tombstone.from_json(receipt["withdrawn"])
        content = canonical_json(said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableReceipt(path, f"{type(error).__name__}: {error}") from error
    try:
        public.verify(signature, content)
    except InvalidSignature as error:
        raise ReceiptForged(path) from error
    return dict(receipt)


def remains(
    warehouse: Warehouse, tombstone: Tombstone, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[str]:
    """The files of a lake in which something withdrawn still is, relative to it: none, after a purge.

    Every column of every table that holds ids is asked in SQL (`QUERY`), and every other file is read for ids, but for
    networks' weights. What stands below `.cache` is not asked: it tells of raw files as they lie.

    Raises:
        StoreFails.
    """
    here = [path.relative_to(warehouse.root).as_posix() for path in sorted(warehouse.root.rglob("*")) if path.is_file()]
    found = set(_holding_any(warehouse.root, here, tombstone, progress))
    if warehouse.store is not None:
        objects = warehouse.store.objects
        there = {name: n_bytes for name, n_bytes in objects.sizes("").items() if _is_asked(name)}
        with warehouse.scratch("proof") as scratch:
            n_done = 0
            for part in _parts(there):
                at_once(lambda name: objects.download(name, scratch / name, -1, ""), part)
                found |= set(_holding_any(scratch, [name for name in part if (scratch / name).exists()], tombstone))
                shutil.rmtree(scratch)
                progress(n_done := n_done + len(part), len(there))
    return sorted(found)


def _parts(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names of files, so many that they may lie on the disk together."""
    part, n_bytes = list[str](), 0
    for name, size in sizes.items():
        if part and (len(part) == _AT_A_TIME or n_bytes + size > _BYTES_AT_A_TIME):
            yield part
            part, n_bytes = [], 0
        part.append(name)
        n_bytes += size
    if part:
        yield part


def _holding_any(
    root: Path, names: Iterable[str], tombstone: Tombstone,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[str]:  # fmt: skip
    """The files below a folder in which something withdrawn is."""
    asked = [name for name in names if _is_asked(name)]
    tables = [root / name for name in asked if name.endswith(".parquet")]
    for column in _COLUMNS:
        yield from (Path(name).relative_to(root).as_posix() for name in _holding(tables, column, tombstone))
    ids = tombstone.utterances | tombstone.audio | tombstone.pairs | tombstone.recordings
    others = [name for name in asked if not name.endswith(".parquet")]
    for number, name in enumerate(others, start=1):
        words = {*words_of(root / name), *name.replace(".", "/").split("/")}
        if ids and any(hashed(word) in ids for word in words):
            yield name
        progress(number, len(others))


def _is_asked(name: str) -> bool:
    return name.partition("/")[0] not in _APART and not name.endswith(".safetensors")


def _holding(tables: Iterable[Path], column: str, tombstone: Tombstone) -> list[str]:
    """The tables with a row whose id in this column is withdrawn."""
    withdrawn = frozenset[str]().union(*(getattr(tombstone, name) for name in _COLUMNS[column]))
    files = [str(path) for path in tables if column in pq.read_schema(path).names] if withdrawn else []
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.register("withdrawn", pa.table({"digest": pa.array(sorted(withdrawn), pa.string())}))
        query = f"{QUERY.format(column=column)} GROUP BY ALL"
        return [name for name, _ in connection.execute(query, {"files": files}).fetchall()]
