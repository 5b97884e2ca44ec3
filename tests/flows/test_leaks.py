"""How leaks are told."""

from __future__ import annotations

from flows.leaks import Leak, Leakage, sentences


def test_sentences_of_several_folds_tell_the_range() -> None:
    def fold(name: str, n: int, n_agree: int) -> Leakage:
        return Leakage("p", name, {}, (Leak("near text", "test", "train", n, 1000, None, None, n_agree, n),), "")

    assert sentences([fold("1", 380, 270), fold("2", 740, 585)]) == [
        "p, 2 folds: 38–74 % of the test utterances of 6 words or more (380–740) share at least half of their 4-grams "
        "with one in train; labels agree in 71–79 % of those."
    ]
    assert sentences([fold("1", 0, 0), fold("2", 50, 50)])[0].startswith("p, 2 folds: 0–5 % of the test utterances")
    assert sentences([]) == []
