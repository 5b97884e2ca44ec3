"""One thread ahead: same values, same order, and mistakes where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from models.ahead import ahead


def test_the_next_is_fetched_while_one_is_used() -> None:
    fetched = [threading.Event() for _ in range(3)]

    def values() -> Iterator[int]:
        for number, event in enumerate(fetched):
            event.set()
            yield number

    reader = ahead(values())
    assert next(reader) == 0
    assert fetched[1].wait(10), "nobody asked for it yet"
    assert not fetched[2].is_set(), "but no further"
    assert list(reader) == [1, 2]


def test_a_mistake_comes_where_its_value_would_have_come() -> None:
    def values() -> Iterator[int]:
        yield 1
        raise KeyError("second")

    reader = ahead(values())
    assert next(reader) == 1
    with pytest.raises(KeyError, match="second"):
        next(reader)


def test_no_thread_is_left_behind_by_who_stops_early() -> None:
    before = threading.active_count()
    with closing(ahead(iter(range(5)))) as reader:
        assert next(reader) == 0
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert list(ahead(iter(()))) == []
