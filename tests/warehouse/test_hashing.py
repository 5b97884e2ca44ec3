"""Laws of canonical JSON and digests."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.errors import NotCanonical
from warehouse.hashing import ID_LENGTH, canonical_json, digest, digest_of_pieces, file_digest, plain, short_digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXT, v, max_size=4), max_leaves=12)


def tagged(value: Any) -> Any:
    """An independent notion of sameness: the type of every leaf beside it, -0.0 as 0.0."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, tagged(inner)) for key, inner in value.items()))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(tagged(inner) for inner in value))
    return (type(value).__name__, value)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value


def with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: with_tuples(inner) for key, inner in value.items()}
    return tuple(with_tuples(inner) for inner in value) if isinstance(value, list) else value


@given(VALUES)
def test_order_of_keys_and_kind_of_sequence_do_not_matter(value: Any) -> None:
    assert canonical_json(value) == canonical_json(reversed_keys(value)) == canonical_json(with_tuples(value))


@given(VALUES, st.lists(st.integers(0, 10**6), max_size=5))
def test_pieces_of_the_json_have_the_digest_of_the_whole(value: Any, cuts: list[int]) -> None:
    whole = canonical_json(value)
    ends = sorted({cut % (len(whole) + 1) for cut in cuts} | {0, len(whole)})
    assert digest_of_pieces(whole[a:b] for a, b in pairwise(ends)) == digest(value)


@given(VALUES)
def test_json_gives_the_value_back(value: Any) -> None:
    assert tagged(json.loads(canonical_json(value))) == tagged(plain(value))
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(VALUES, VALUES)
def test_same_text_means_same_value(one: Any, other: Any) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (tagged(one) == tagged(other))


def test_values_that_python_calls_equal_are_told_apart() -> None:
    assert len({canonical_json(value) for value in (1, 1.0, "1", True, "true", [1], None, "null", "")}) == 9


def test_minus_zero_is_zero() -> None:
    assert canonical_json([-0.0]) == canonical_json([0.0]) == b"[0.0]"


def test_text_is_utf8_not_escapes() -> None:
    assert canonical_json("Zürich “x”") == '"Zürich “x”"'.encode()


def test_sorting_is_by_code_point_at_every_depth() -> None:
    assert canonical_json({"b": {"z": 1, "a": 2}, "B": 0, "é": 3}) == '{"B":0,"b":{"a":2,"z":1},"é":3}'.encode()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "the value holds float nan, which has no canonical JSON"),
        ({"a": math.inf}, r"the value\.a holds float inf"),
        ({"a": [0, -math.inf]}, r"the value\.a\[1\] holds float -inf"),
        ({"a": {1, 2}}, r"the value\.a holds set \{1, 2\}"),
        ([Path("x")], r"the value\[0\] holds PosixPath"),
        (b"x", "the value holds bytes b'x'.*use text, integers, finite floats"),
        ({1: "a"}, "a key of the value holds int 1"),
        ({"a": {None: 0}}, r"a key of the value\.a holds NoneType None"),
        (np.int64(3), "the value holds int64"),
        (np.zeros(2), "the value holds ndarray"),
        ({"a": "\ud800"}, r"the value\.a holds str '\\ud800'"),
        ({"\udcff": 1}, r"a key of the value holds str '\\udcff'"),
    ],
)
def test_what_has_no_canonical_json_is_named(value: Any, message: str) -> None:
    with pytest.raises(NotCanonical, match=message):
        canonical_json(value)


def test_digest_is_sha256_of_the_canonical_json() -> None:
    value = {"b": 1, "a": [True]}
    assert digest(value) == hashlib.sha256(b'{"a":[true],"b":1}').hexdigest()
    assert short_digest(value) == digest(value)[:ID_LENGTH]


def test_threads_hash_side_by_side(tmp_path: Path) -> None:
    contents = [bytes([number]) * 700_000 for number in range(8)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(file_digest, [tmp_path / str(number % 8) for number in range(64)]))
    assert found == [hashlib.sha256(contents[number % 8]).hexdigest() for number in range(64)]


def test_file_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("no sha256sum on this machine")
    for name, content in {"empty": b"", "one": b"x", "long": bytes(range(256)) * 5000}.items():
        (tmp_path / name).write_bytes(content)
        printed = subprocess.run([program, tmp_path / name], capture_output=True, text=True, check=True).stdout
        assert file_digest(tmp_path / name) == printed.split()[0]
