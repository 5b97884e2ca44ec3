"""Texts of equal length pass through a network together, without padding, and each gets the numbers it gets alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

FULL = 512
"""Tokens of a full pass: from there on a token costs no less."""

LONG = 128
"""A text of so many tokens passes alone, because company would make it hardly cheaper."""

FEWEST = 8
"""Rows of the smallest matrix product. Of fewer than 4, MKL adds up in another order."""

_LEAST = (1, 2, 4)
_LENGTHS = (3, 9, 20, 47)


@dataclass(frozen=True)
class Pass:
    """Positions of texts of equal length that go through the network together.

    Args:
        texts: their positions; where copies fill the pass, the last one's, again and again.
        n_kept: how many of them are no such copies.
    """

    texts: tuple[int, ...]
    n_kept: int


def passes(lengths: Sequence[int], least: int | None) -> Iterator[Pass]:
    """Passes of at least `least` texts, and at most twice FULL tokens, in which each text stands once; fewer texts of a
    length are filled up with copies of the last. Where `least` is None, and where texts are LONG, each passes alone.

    Args:
        lengths: tokens of each text.
        least: what `least_rows` found.

    Example:
        >>> [(one.texts, one.n_kept) for one in passes([5, 9, 5, 200, 5], 2)]
        [((0, 2, 4), 3), ((1, 1), 1), ((3,), 1)]
    """
    groups = defaultdict(list)
    for position, n_tokens in enumerate(lengths):
        groups[n_tokens].append(position)
    for n_tokens, texts in groups.items():
        fewest, full = _rows(n_tokens, least)
        n_passes = max(1, len(texts) // full)
        for number in range(n_passes):
            own = texts[number * len(texts) // n_passes : (number + 1) * len(texts) // n_passes]
            yield Pass((*own, *own[-1:] * (fewest - len(own))), len(own))


def least_rows(rows: Callable[[int, int], Sequence[bytes]], most_tokens: int, first: int) -> int | None:
    """From how many texts in a pass on this network gives, on this machine, a text the same bits whatever their number
    and its place. The network is asked, with one text many times over, in passes of several lengths and sizes; None
    where no number will do.

    What decides is how the machine's libraries cut products of matrices. They choose by their shapes, not by numbers.

    Args:
        rows: given a number of tokens and a number of texts, the answer about each of them.
        most_tokens: the longest that a text can be.
        first: with which number to begin. Attention that a network writes out in products itself takes a text alone by
            another way, which a small network may not show on the few texts that it is asked about: 2.
    """
    lengths = sorted({min(n_tokens, most_tokens) for n_tokens in _LENGTHS})
    for least in _LEAST[_LEAST.index(first) :]:
        if all(_agree(rows, n_tokens, least) for n_tokens in lengths):
            return least
    return None


def _agree(rows: Callable[[int, int], Sequence[bytes]], n_tokens: int, least: int) -> bool:
    fewest, full = _rows(n_tokens, least)
    return len({row for n_rows in (fewest, fewest + 1, full) for row in rows(n_tokens, n_rows)}) == 1


def _rows(n_tokens: int, least: int | None) -> tuple[int, int]:
    """Rows of the smallest pass of texts of this length, and of a full one."""
    if least is None or n_tokens >= LONG:
        return 1, 1
    return least, max(least, FULL // n_tokens)


def widen(network: Any) -> None:
    """Makes every linear layer multiply at least FEWEST rows, the missing ones zeros, so that a classifier, which has
    one row a text, and a text of three tokens are treated as larger products are."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = partial(_widened, module.forward)  # type: ignore[method-assign]


def _widened(product: Callable[[Any], Any], rows: Any) -> Any:
    import torch

    n_rows = rows.numel() // rows.shape[-1]
    if n_rows >= FEWEST:
        return product(rows)
    wide = torch.nn.functional.pad(rows.reshape(n_rows, -1), (0, 0, 0, FEWEST - n_rows))
    return product(wide)[:n_rows].reshape(*rows.shape[:-1], -1)
