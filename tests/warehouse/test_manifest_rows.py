"""A file with a seal says what was written, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.manifest_rows import unsealed, unsealed_json, write_sealed


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


def test_what_is_absent_says_nothing(tmp_path: Path) -> None:
    assert unsealed(tmp_path / "a") is None and unsealed(tmp_path) is None


@pytest.mark.parametrize("content", [b"[]", b"null", b"5", b'"abc"', b"{", b"\xff", b"", b"{}"])
def test_what_is_of_another_form_says_nothing(tmp_path: Path, content: bytes) -> None:
    write_sealed(tmp_path / "a", content, tmp_path / "b")
    assert unsealed(tmp_path / "a") == content and unsealed_json(tmp_path / "a") == {}
    write_sealed(tmp_path / "a", b'{"asked": [1]}', tmp_path / "b")
    assert unsealed_json(tmp_path / "a") == {"asked": [1]} and unsealed_json(tmp_path) == {}
