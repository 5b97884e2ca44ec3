"""Receipts: signed, and what they say can be proved without a name in clear."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.warehouse.audit.withdrawn_lake import ANA, OWN, ROWS, withdrawn_lake
from tests.warehouse.small_lake import SmallLake
from warehouse.audit.errors import ReceiptForged, UnreadableReceipt, UnusableKey
from warehouse.audit.receipts import read_key, read_receipt, remains, signed
from warehouse.audit.tombstones import Tombstone, hashed_all


@pytest.fixture
def held(tmp_path: Path) -> SmallLake:
    return withdrawn_lake(tmp_path)


def _receipt(folder: Path) -> Path:
    content: dict[str, Any] = {"purge": "p", "what": {"utterances": 3}, "withdrawn": Tombstone().as_json()}
    path = folder / "p.json"
    path.write_text(json.dumps(signed(content, read_key(folder / "keys" / "key.pem"))))
    return path


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key.pem"
    first = read_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_key(path).private_bytes_raw() == first.private_bytes_raw()


def test_a_key_of_another_kind_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(
        UnusableKey, match=r"cannot be used \(it is .*not Ed25519\): set EMOLAKE_SIGNING_KEY to an Ed25519"
    ):
        read_key(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UnusableKey, match=r"^the signing key .* cannot be used \("):
        read_key(path)


def test_a_receipt_holds_until_a_letter_is_changed(tmp_path: Path) -> None:
    path = _receipt(tmp_path)
    receipt = read_receipt(path)
    assert receipt["purge"] == "p" and len(bytes.fromhex(receipt["public_key"])) == 32
    path.write_text(json.dumps(receipt, indent=4))  # how it is written does not matter
    assert read_receipt(path) == receipt
    path.write_text(json.dumps(receipt | {"what": {"utterances": 2}}))
    with pytest.raises(ReceiptForged, match="is not that of what it says: it was changed after it was signed"):
        read_receipt(path)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"public_key": "zz", "signature": "", "withdrawn": {}}'])
def test_what_is_no_receipt_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnreadableReceipt, match=r"is no receipt of a purge \(.*\): name a file of the lake's folder"):
        read_receipt(path)


@pytest.mark.parametrize(
    "tombstone, kinds",
    [
        (Tombstone(utterances=hashed_all([ANA[0]])),
         {"utterances", "labels", "shards", "split", "truth", "votes", "selection", "leakage"}),
        (Tombstone(audio=hashed_all([ROWS[0]["audio_id"]])), {"utterances", "features", "shards"}),
        (Tombstone(recordings=hashed_all([OWN])), {"raw", "utterances"}),
        (Tombstone(utterances=hashed_all(["clips-nobody"])), set()),
        (Tombstone(), set()),
    ],
)  # fmt: skip
def test_every_table_and_file_is_asked(held: SmallLake, tombstone: Tombstone, kinds: set[str]) -> None:
    found = remains(held.lake, tombstone)
    assert {place.split("/")[1] for place in found} == kinds


def test_names_of_files_are_asked_too_and_caches_are_not(held: SmallLake) -> None:
    gone = Tombstone(utterances=hashed_all(["spoken-ana-hello", "left-over-id"]))
    places = remains(held.lake, gone)
    assert any(place.endswith("wav/spoken-ana-hello.wav") for place in places)
    for name in (".cache/x.txt", ".purge/x.json", "notes.txt"):
        (held.lake.root / name).parent.mkdir(exist_ok=True)
        (held.lake.root / name).write_text("see left-over-id.wav")
    assert set(remains(held.lake, gone)) - set(places) == {"notes.txt"}


def test_progress_is_told(held: SmallLake) -> None:
    told: list[tuple[int, int]] = []
    remains(held.lake, Tombstone(), lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told)
