"""Expected counts beside found ones; how protocols use them is in test_protocol."""

from __future__ import annotations

import pytest

from features.check import Count
from flows.counts import ALL, as_json, counts_sentences, counts_table, empty_parts, expected_counts
from flows.protocol import Protocol, protocol_names, read_protocol

MELD = read_protocol("meld7")


@pytest.mark.parametrize("name", protocol_names())
def test_the_counts_of_a_shipped_protocol_add_up(name: str) -> None:
    protocol = read_protocol(name)
    assert set(protocol.counts) <= set(protocol.classes)
    assert protocol.total is None or not protocol.counts
    for groups in protocol.counts_by.values():
        for label, n in protocol.counts.items():
            assert sum(classes[label] for classes in groups.values()) == n
        assert all(set(classes) == set(protocol.counts) for classes in groups.values())
    for place in protocol.may_lack.values():
        assert place["class"] in protocol.classes
        assert all(place[column] in groups for column, groups in protocol.counts_by.items())


def test_what_published_copies_lack_is_not_expected_where_it_lacks() -> None:
    all_of_them = set(MELD.may_lack)
    whole = expected_counts(MELD, all_of_them)
    assert (whole["neutral"], whole["neutral, split train"], whole["neutral, split dev"]) == (6436, 4710, 470)
    usual = expected_counts(MELD, all_of_them - {"train-dia125_utt3"})
    assert {what: whole[what] - usual[what] for what in whole if whole[what] != usual[what]} == {
        "neutral": 1, "neutral, split train": 1,
    }  # fmt: skip


def test_a_total_lacks_what_its_classes_lack() -> None:
    rules = Protocol(id="p", reader="r", title="t", total=9, may_lack={"x": {"class": "sad"}})
    assert expected_counts(rules, {"x"}) == {ALL: 9} and expected_counts(rules, set()) == {ALL: 8}


COUNTS = [
    Count("happy", 6, 6), Count("sad", 4, 3), Count("happy, session 1", 3, 3), Count("sad, session 1", 2, 2),
    Count("happy, session 2", 3, 3), Count("sad, session 2", 2, 1),
]  # fmt: skip


def test_a_table_lists_all_classes_and_the_groups_that_differ() -> None:
    assert counts_table(COUNTS).splitlines() == [
        "class               expected   found  difference",
        "happy                      6       6           0",
        "sad                        4       3          -1",
        "happy, session 2           3       3           0",
        "sad, session 2             2       1          -1",
    ]


def test_a_sentence_names_the_classes_that_differ() -> None:
    assert counts_sentences("p", COUNTS) == [
        "Protocol 'p' does not give the published counts: 3 sad instead of 4 (-1)."
    ]
    assert counts_sentences("p", COUNTS[:1]) == []
    assert as_json(COUNTS[1:2]) == [{"what": "sad", "expected": 4, "found": 3, "difference": -1}]


def test_a_part_is_missed_where_there_is_a_rule_for_it() -> None:
    assert empty_parts(MELD, "all", {"train": 2, "dev": 1, "test": 1}) == []
    assert [str(told).split("into ")[1].split()[0] for told in empty_parts(MELD, "all", {})] == ["train", "dev", "test"]
    without_dev = read_protocol("subtitles-unlabelled:dev=none")
    assert empty_parts(without_dev, "all", {"train": 2}) == []
    (told,) = empty_parts(read_protocol("films-unlabelled"), "all", {"train": 2})
    assert str(told) == (
        "protocol 'films-unlabelled' puts none of 2 utterances into dev (fold 'all'): "
        "take more utterances, or 'films-unlabelled:dev=none'"
    )
