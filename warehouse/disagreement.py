"""Two alignments of one utterance side by side: which segment of one is which of the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb
import numpy as np

_STRESS = re.compile(r"\d")
"""In phones and syllables of ARPAbet; what is a digit in a word stays."""


def partners(
    symbols: Sequence[str], starts: Sequence[float], other_symbols: Sequence[str], other_starts: Sequence[float]
) -> list[tuple[int | None, int | None]]:
    """Which segments of two alignments are one: positions in either, in order, None where the other has none.

    The hard case is symbols that differ. Segments are matched in order and only where their symbols are the same: as
    many as can be (a longest common subsequence), and of all ways to match that many the one whose begins are nearest
    in sum. A segment that is left over has no partner, and is not compared.

    Example:
        >>> partners(["A", "B", "A"], [0.0, 1.0, 2.0], ["A"], [1.9])
        [(0, None), (1, None), (2, 0)]
    """
    if list(symbols) == list(other_symbols):
        return [(n, n) for n in range(len(symbols))]
    if not (symbols and other_symbols):
        return [*((n, None) for n in range(len(symbols))), *((None, m) for m in range(len(other_symbols)))]
    names = {symbol: number for number, symbol in enumerate(dict.fromkeys([*symbols, *other_symbols]))}
    own, other = (np.array([names[symbol] for symbol in some]) for some in (symbols, other_symbols))
    own_s, other_s = np.asarray(starts, float), np.asarray(other_starts, float)
    farthest_s = max(own_s.max() - other_s.min(), other_s.max() - own_s.min())
    scale_s = farthest_s * (min(len(own), len(other)) + 1) or 1.0  # all that is taken off is less than one match
    best = np.zeros((len(own) + 1, len(other) + 1))
    for n, symbol in enumerate(own):
        worth = 1 - np.abs(other_s - own_s[n]) / scale_s
        matched = np.where(other == symbol, best[n, :-1] + worth, 0.0)
        best[n + 1, 1:] = np.maximum.accumulate(np.maximum(best[n, 1:], matched))
    return _way_back(best)


def _way_back(best: np.ndarray) -> list[tuple[int | None, int | None]]:
    """From the table of what the first n and m segments are worth to the match that is worth that."""
    found: list[tuple[int | None, int | None]] = []
    n, m = best.shape[0] - 1, best.shape[1] - 1
    while n or m:
        if m and best[n, m] == best[n, m - 1]:
            m -= 1
            found.append((None, m))
        elif n and best[n, m] == best[n - 1, m]:
            n -= 1
            found.append((n, None))
        else:
            n, m = n - 1, m - 1
            found.append((n, m))
    return found[::-1]


def same_symbol(symbol: str, tier: str) -> str:
    """What of a symbol is compared: capitals are, and the stress of vowels is, what one aligner writes and another not.

    Example:
        >>> same_symbol("ah0", "phone"), same_symbol("R2D2", "word")
        ('AH', 'R2D2')
    """
    return (symbol if tier == "word" else _STRESS.sub("", symbol)).upper()


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates the views `side_by_side` and `disagreement` over `utterances` and `intervals`."""
    of_segments = ["VARCHAR[]", "DOUBLE[]"]
    connection.create_function(
        "partners", _partners, ["VARCHAR", *of_segments, *of_segments], "STRUCT(a INTEGER, b INTEGER)[]"
    )
    connection.execute(_SIDE_BY_SIDE)
    connection.execute(_DISAGREEMENT)


def _partners(
    tier: str, symbols: list[str], starts: list[float], other_symbols: list[str], other_starts: list[float]
) -> list[dict[str, int | None]]:
    own, other = ([same_symbol(symbol, tier) for symbol in some] for some in (symbols, other_symbols))
    return [{"a": a, "b": b} for a, b in partners(own, starts, other, other_starts)]


_SIDE_BY_SIDE = """
    CREATE VIEW side_by_side AS
    WITH spans AS (
        SELECT input_id, tier, step AS aligner, plugin_key, list(symbol ORDER BY position) AS symbols,
               list(start_s ORDER BY position) AS starts, list(end_s ORDER BY position) AS ends
        FROM intervals GROUP BY ALL
    ), matched AS (
        SELECT a.input_id, a.tier, a AS a, b AS b,
               unnest(partners(a.tier, a.symbols, a.starts, b.symbols, b.starts)) AS n
        FROM spans AS a JOIN spans AS b USING (input_id, tier)
        WHERE (a.aligner, a.plugin_key) < (b.aligner, b.plugin_key)
    )
    SELECT utterance_id, tier, a.aligner AS aligner_a, a.plugin_key AS plugin_key_a, b.aligner AS aligner_b,
           b.plugin_key AS plugin_key_b, n.a AS position_a, n.b AS position_b,
           a.symbols[n.a + 1] AS symbol_a, b.symbols[n.b + 1] AS symbol_b,
           a.starts[n.a + 1] AS start_a_s, b.starts[n.b + 1] AS start_b_s,
           a.ends[n.a + 1] AS end_a_s, b.ends[n.b + 1] AS end_b_s
    FROM utterances JOIN matched ON input_id = pair_id(audio_id, text_id)
"""

_DISAGREEMENT = """
    CREATE VIEW disagreement AS
    WITH apart AS (SELECT *, abs(start_a_s - start_b_s) AS start_s, abs(end_a_s - end_b_s) AS end_s FROM side_by_side)
    SELECT utterance_id, tier, aligner_a, plugin_key_a, aligner_b, plugin_key_b,
           count(position_a) AS n_a, count(position_b) AS n_b, count(start_s) AS n_matched,
           1 - 2 * n_matched / (n_a + n_b) AS unmatched,
           median(start_s) AS start_median_s, quantile_cont(start_s, 0.9) AS start_p90_s, max(start_s) AS start_max_s,
           median(end_s) AS end_median_s, quantile_cont(end_s, 0.9) AS end_p90_s, max(end_s) AS end_max_s
    FROM apart GROUP BY ALL
"""
