"""A file with a seal says what was written, or nothing; its rows say what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.artifact import Artifact, Request
from warehouse.hashing import canonical_json, plain
from warehouse.manifest_rows import STAMPED, Rows, row_of, table_of, unsealed, unsealed_json, write_sealed


@given(st.binary(max_size=50), st.integers(0, 200), st.integers(1, 255))
def test_one_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, by: int
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "a"
    write_sealed(path, content, path.with_name("b"))
    assert unsealed(path) == content and not path.with_name("b").exists()
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ by]) + whole[at + 1 :])
    assert unsealed(path) is None
    path.write_bytes(whole[:at])
    assert unsealed(path) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.tuples(st.text(), st.dictionaries(st.text(), VALUES, max_size=4), st.dictionaries(st.text(), VALUES)),
        min_size=1, max_size=4,
    ),
    st.dictionaries(st.text(), st.lists(st.text(), max_size=3), max_size=3),
)  # fmt: skip
def test_what_is_remembered_is_what_was_read(
    told: list[tuple[str, dict[str, Any], dict[str, Any]]], inputs: dict[str, list[str]]
) -> None:
    """Also a request as text, and environments of which several artifacts have the same."""
    made = {}
    for step, params, environment in told:
        asked = {"kind": "k", "step": step, "version": 3, "params": params, "inputs": inputs}
        request = Request.from_json(plain(asked))
        one = Artifact(request, {}, "d", plain(environment), "2026-01-01T00:00:00+00:00", Path("k") / request.key)
        made[request.key] = one
    sink = pa.BufferOutputStream()
    pq.write_table(table_of([row_of(one, (1, 2)) for one in made.values()], STAMPED), sink)
    rows = Rows(sink.getvalue().to_pybytes(), Path("k"))
    assert list(rows.artifacts) == list(made) and set(rows.stamps.values()) == {(1, 2)}
    for key, one in made.items():
        found = rows.artifact(key)
        assert found.request.told() == one.request.told() == canonical_json(one.request.as_json()).decode()
        assert vars(found.request).keys().isdisjoint({"params", "inputs"}), "nothing was parsed for that"
        assert (found.request, found.environment) == (one.request, one.environment)
        assert (found.request.params, found.request.inputs) == (one.request.params, one.request.inputs)


def test_what_is_absent_says_nothing(tmp_path: Path) -> None:
    assert unsealed(tmp_path / "a") is None and unsealed(tmp_path) is None


@pytest.mark.parametrize("content", [b"[]", b"null", b"5", b'"abc"', b"{", b"\xff", b"", b"{}"])
def test_what_is_of_another_form_says_nothing(tmp_path: Path, content: bytes) -> None:
    write_sealed(tmp_path / "a", content, tmp_path / "b")
    assert unsealed(tmp_path / "a") == content and unsealed_json(tmp_path / "a") == {}
    write_sealed(tmp_path / "a", b'{"asked": [1]}', tmp_path / "b")
    assert unsealed_json(tmp_path / "a") == {"asked": [1]} and unsealed_json(tmp_path) == {}
