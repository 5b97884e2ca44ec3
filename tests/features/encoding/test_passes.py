from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.encoding.passes import FEWEST, FULL, LONG, least_rows, passes, widen


@given(st.lists(st.integers(1, 2 * LONG), max_size=400), st.sampled_from([1, 2, 4, None]))
def test_each_text_passes_once_with_its_like(lengths: list[int], least: int | None) -> None:
    found = list(passes(lengths, least))
    assert sorted(text for one in found for text in one.texts[: one.n_kept]) == list(range(len(lengths)))
    for one in found:
        [n_tokens] = {lengths[text] for text in one.texts}
        assert set(one.texts[one.n_kept :]) <= {one.texts[one.n_kept - 1]}
        if least is None or n_tokens >= LONG:
            assert len(one.texts) == 1
        else:
            assert least <= len(one.texts) and len(one.texts) * n_tokens <= max(2 * FULL, 8 * LONG)
            assert one.n_kept >= least or one.n_kept == Counter(lengths)[n_tokens]


@given(st.lists(st.integers(1, LONG), max_size=400), st.sampled_from([2, 4]))
def test_only_lengths_that_come_seldom_are_filled_up(lengths: list[int], least: int) -> None:
    filled = sum(len(one.texts) - one.n_kept for one in passes(lengths, least))
    short = [n for n_tokens, n in Counter(lengths).items() if n_tokens < LONG]
    assert filled == sum(max(0, least - n) for n in short)


def machine(alike_from: int) -> tuple[list[tuple[int, int]], object]:
    """Gives a text other bits among fewer texts than `alike_from`, for each number others."""
    asked = []

    def rows(n_tokens: int, n_rows: int) -> list[bytes]:
        asked.append((n_tokens, n_rows))
        return [bytes([n_tokens, min(n_rows, alike_from)])] * n_rows

    return asked, rows


@pytest.mark.parametrize(("alike_from", "first", "least"), [(1, 1, 1), (2, 1, 2), (3, 1, 4), (1, 2, 2), (90, 1, None)])
def test_the_network_is_asked_from_how_many_texts_on_rows_are_alike(
    alike_from: int, first: int, least: int | None
) -> None:
    _, rows = machine(alike_from)
    assert least_rows(rows, 64, first) == least  # type: ignore[arg-type]


def test_places_in_a_pass_are_told_apart() -> None:
    assert least_rows(lambda n_tokens, n_rows: [b"a"] * (n_rows - 1) + [b"b"], 64, 1) is None


def test_no_text_is_asked_about_that_is_longer_than_texts_can_be() -> None:
    asked, rows = machine(1)
    least_rows(rows, 12, 1)  # type: ignore[arg-type]
    assert {n_tokens for n_tokens, _ in asked} == {3, 9, 12}


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 2), (FEWEST,), (2, 9)])
def test_small_products_are_made_of_more_rows(shape: tuple[int, ...]) -> None:
    layer = torch.nn.Linear(16, 5)
    given = torch.randn(*shape, 16)
    expected = layer(given)
    seen = []
    product = layer.forward
    layer.forward = lambda rows: seen.append(rows.shape[:-1].numel()) or product(rows)  # type: ignore[method-assign]
    widen(torch.nn.Sequential(layer))
    torch.testing.assert_close(layer(given), expected)
    assert layer(given).shape == (*shape, 5) and min(seen) >= FEWEST
