from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from models.wordpiece import SPECIAL, train_vocabulary

COUNTS = st.dictionaries(st.text("abcd", min_size=1, max_size=6), st.integers(1, 9), min_size=1, max_size=12)


def _slowly(counts: dict[str, int], size: int) -> list[str]:
    """The same vocabulary by counting everything anew for every piece."""
    words = {word: [word[0], *("##" + letter for letter in word[1:])] for word in counts}
    letters: Counter[str] = Counter()
    for word, pieces in words.items():
        for piece in pieces:
            letters[piece] += counts[word]
    frequent = sorted(letters, key=lambda letter: (-letters[letter], letter))
    vocabulary = [*SPECIAL, *sorted(frequent[: size - len(SPECIAL)])]
    while len(vocabulary) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = best[0] + best[1].removeprefix("##")
        if joined not in vocabulary:
            vocabulary.append(joined)
        for word, pieces in words.items():
            position = 0
            while position < len(pieces) - 1:
                if (pieces[position], pieces[position + 1]) == best:
                    pieces[position : position + 2] = [joined]
                position += 1
            words[word] = pieces
    return vocabulary


@given(COUNTS, st.integers(5, 40))
def test_fast_is_slow(counts: dict[str, int], size: int) -> None:
    assert train_vocabulary(counts, size) == _slowly(counts, size)


@given(COUNTS, st.integers(5, 40), st.randoms())
def test_order_of_the_words_changes_nothing(counts: dict[str, int], size: int, chance: random.Random) -> None:
    shuffled = list(counts.items())
    chance.shuffle(shuffled)
    vocabulary = train_vocabulary(counts, size)
    assert train_vocabulary(dict(shuffled), size) == vocabulary
    assert len(set(vocabulary)) == len(vocabulary) <= size


def test_every_word_of_known_letters_can_be_written() -> None:
    counts = {"happiness": 3, "happy": 5, "sadness": 4}
    vocabulary = train_vocabulary(counts, 60)
    model = WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    assert tokenizer.encode("sadness").tokens == ["sadness"]
    assert "[UNK]" not in tokenizer.encode("sappiness").tokens
