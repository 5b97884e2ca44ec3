"""The receipt of a purge: what went, signed, and the proof that it is gone.

    receipts/<purge>.json    what, when, digests before and after, tainted models, hashed ids; Ed25519 over all of it

The key lies outside the lake, so who can write to the lake cannot write receipts. The public key is in the receipt: it
says that nothing was changed since it was signed, and whose it is says only a comparison with the key one knows.

The proof needs no name in clear: `sha256(utterance_id) IN (…)` over every table, and of every other file each word that
could be an id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.audit.errors import ReceiptForged, UnreadableReceipt, UnusableKey
from warehouse.audit.rewriting import words_of
from warehouse.audit.tombstones import Tombstone, hashed
from warehouse.hashing import canonical_json
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
    """
    files = [path for path in sorted(warehouse.root.rglob("*")) if _is_asked(path, warehouse.root)]
    tables = [path for path in files if path.suffix == ".parquet"]
    found = {Path(name) for column in _COLUMNS for name in _holding(tables, column, tombstone)}
    ids = tombstone.utterances | tombstone.audio | tombstone.pairs | tombstone.recordings
    others = [path for path in files if path.suffix not in (".parquet", ".safetensors")]
    for number, path in enumerate(others, start=1):
        words = {*words_of(path), *path.relative_to(warehouse.root).as_posix().replace(".", "/").split("/")}
        if ids and any(hashed(word) in ids for word in words):
            found.add(path)
        progress(number, len(others))
    return sorted(path.relative_to(warehouse.root).as_posix() for path in found)


def _is_asked(path: Path, root: Path) -> bool:
    return path.is_file() and path.relative_to(root).parts[0] not in _APART


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
