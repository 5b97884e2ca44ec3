from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.plugin import normalised_words
from features.releases.untokenised import untokenised


@pytest.mark.parametrize(
    ("cut", "whole"),
    [
        ("Yours ?", "Yours?"),
        ("Well , [PERSON] ... no !", "Well, [PERSON]... no!"),
        ("... And then ?!", "... And then?!"),
        ("( Laughs ) It 's 5 % , is n't it ?", "(Laughs) It's 5%, isn't it?"),
        ("I 'm gon na go . We got ta .", "I'm gonna go. We gotta."),
        ("a half - hour -- or so", "a half - hour -- or so"),
        ('" What ? " he said .', '" What? " he said.'),
        ("at 8 :30 and .45", "at 8 :30 and .45"),
    ],
)
def test_marks_join_their_words(cut: str, whole: str) -> None:
    assert untokenised(cut) == whole


@given(st.lists(st.sampled_from(["so", "I", ",", ".", "...", "?", "(", ")", "-", '"', "don't", "[PERSON]", "5", "…"])))
def test_no_word_is_lost_and_again_changes_nothing(tokens: list[str]) -> None:
    once = untokenised(" ".join(tokens))
    assert normalised_words(once) == normalised_words(" ".join(tokens))
    assert untokenised(once) == once
