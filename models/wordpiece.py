"""A WordPiece vocabulary from counted words. The trainer of the `tokenizers` package gives another vocabulary at
every run, because equal counts are settled by the order of a hash map; here the alphabet settles them."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUED = "##"

Pair = tuple[str, str]


def train_vocabulary(counts: Mapping[str, int], size: int) -> list[str]:
    """The tokens, by position: special ones, letters, then pieces joined from the most frequent neighbours.

    Of neighbours that are equally frequent the alphabetically first are joined; those seen only once never are.
    When even the letters are too many, the most frequent stay.

    Args:
        counts: normalised word -> how often it occurs.
        size: tokens at most.

    Example:
        >>> train_vocabulary({"hug": 3, "pug": 2}, 11)[5:]
        ['##g', '##u', 'h', 'p', '##ug', 'hug']
    """
    words = sorted(counts)
    pieces = [[word[0], *(CONTINUED + letter for letter in word[1:])] for word in words]
    letters: Counter[str] = Counter()
    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for letter in pieces[i]:
            letters[letter] += counts[word]
        for pair in pairwise(pieces[i]):
            pair_counts[pair] += counts[word]
            where[pair].add(i)
    kept = sorted(sorted(letters), key=lambda letter: -letters[letter])[: max(0, size - len(SPECIAL))]
    vocabulary = [*SPECIAL, *sorted(kept)]
    known = set(vocabulary)
    queue = [(-count, pair) for pair, count in pair_counts.items()]
    heapq.heapify(queue)
    while queue and len(vocabulary) < size:
        count, pair = heapq.heappop(queue)
        if -count != pair_counts[pair]:
            continue  # it was pushed again when its count changed
        if -count < 2:
            break
        joined = pair[0] + pair[1].removeprefix(CONTINUED)
        if joined not in known:
            vocabulary.append(joined)
            known.add(joined)
        changed = set()
        for i in sorted(where.pop(pair)):
            changed |= _join(pieces[i], pair, joined, counts[words[i]], pair_counts, where, i)
        del pair_counts[pair]
        for other in sorted(changed - {pair}):
            if pair_counts[other] > 0:
                heapq.heappush(queue, (-pair_counts[other], other))
    return vocabulary


def _join(
    pieces: list[str], pair: Pair, joined: str, count: int,
    pair_counts: Counter[Pair], where: defaultdict[Pair, set[int]], i: int,
) -> set[Pair]:  # fmt: skip
    """Joins a pair wherever it occurs in one word, keeps the counts of neighbours, and says which changed."""
    before = list(pairwise(pieces))
    position = 0
    while position < len(pieces) - 1:
        if (pieces[position], pieces[position + 1]) == pair:
            pieces[position : position + 2] = [joined]
        position += 1
    after = list(pairwise(pieces))
    for old in before:
        pair_counts[old] -= count
    for new in after:
        pair_counts[new] += count
        where[new].add(i)
    return set(before) | set(after)
