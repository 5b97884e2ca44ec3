"""Each kind of leak is planted alone in a clean split, is found alone, and nothing is found in the clean one."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.leakage import (
    GROUPS,
    MOST_EXAMPLES,
    Teachers,
    _database,
    _group_leaks,
    leakage,
    leakages,
    protocol_leakage,
)
from flows.leaks import Leak
from flows.protocol import Protocol
from flows.similarity import words_of
from flows.teacher_texts import TEXTS
from tests.flows.made import labels, utterance, utterances
from warehouse import Warehouse
from warehouse.hashing import digest
from warehouse.schema import SPLIT, UTTERANCES, audio_id, text_id
from warehouse.tables import table_of

Columns = dict[str, dict[str, Any]]
"""Utterance id -> the columns in which it differs from a clean one."""

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
PAIRS = [("test", "train"), ("dev", "train"), ("test", "dev")]
PARTS = {f"{part}{n}": part for part in ("train", "dev", "test") for n in range(4)}


def clean(name: str) -> dict[str, Any]:
    """An utterance that shares nothing with any other."""
    text = " ".join(f"{word} {name}" for word in WORDS)
    times = {"season": "1", "episode": name, "episode_start_s": "10.0", "episode_end_s": "12.0"}
    return {
        "speaker_id": name, "dialogue_id": name, "session": name, "text": text, "text_id": text_id(text),
        "attributes": list(times.items()),
    }  # fmt: skip


def split_of(parts: dict[str, str] = PARTS, label: str | None = "calm") -> pa.Table:
    return table_of([{"utterance_id": name, "part": part, "label": label} for name, part in parts.items()], SPLIT)


def table_with(planted: Columns) -> pa.Table:
    return table_of([utterance(name, **clean(name) | planted.get(name, {})) for name in PARTS], UTTERANCES)


def found_in(planted: Columns, **more: Any) -> dict[tuple[str, str, str], Leak]:
    found = leakage(table_with(planted), split_of(), **more).found
    return {(leak.kind, leak.part, leak.against): leak for leak in found}


def test_a_clean_split_has_no_leak_and_says_nothing() -> None:
    result = leakage(table_with({}), split_of(), "p")
    assert result.found == [] and result.sentences() == []
    assert result.parts == {"train": 4, "dev": 4, "test": 4}
    assert {(leak.part, leak.against) for leak in result.leaks} == set(PAIRS)
    assert {leak.kind for leak in result.leaks} == {
        "speaker", "dialogue", "session", "episode", "recording", "audio", "time", "text", "near text",
    }  # fmt: skip
    assert all(leak.n_compared == 4 for leak in result.leaks), "everything could have leaked"


def says(text: str) -> dict[str, Any]:
    return {"text": text, "text_id": text_id(text)}


def at(episode: str, start_s: str, end_s: str) -> dict[str, Any]:
    times = {"season": "1", "episode": episode, "episode_start_s": start_s, "episode_end_s": end_s}
    return {"attributes": list(times.items())}


def turn(start_s: str, end_s: str) -> dict[str, Any]:
    return {"dialogue_id": "d", "attributes": [("dialogue_start_s", start_s), ("dialogue_end_s", end_s)]}


def heard(start_s: float, end_s: float, audio_id: str) -> dict[str, Any]:
    return {"recording_id": "film", "start_s": start_s, "end_s": end_s, "audio_id": audio_id}


@pytest.mark.parametrize("time", ["nan", "inf", "-Infinity", "soon"])
def test_what_is_no_time_overlaps_with_none(time: str) -> None:
    planted = {"test0": at("e", time, "12"), "test1": at("e", "1", time), "train0": at("e", "0", "20")}
    leaks = leakage(table_with(planted), split_of()).leaks
    (leak,) = (one for one in leaks if (one.kind, one.part, one.against) == ("time", "test", "train"))
    assert leak.n_utterances == 0


LONG = "you told me that you would never come back here again"
NEAR = "you told me that you would never do it"
PLANTED: dict[str, tuple[Columns, set[str]]] = {
    "speaker": ({"test0": {"speaker_id": "s"}, "train1": {"speaker_id": "s"}}, {"speaker"}),
    "dialogue": ({"test0": {"dialogue_id": "d"}, "train1": {"dialogue_id": "d"}}, {"dialogue"}),
    "session": ({"test0": {"session": "1"}, "train1": {"session": "1"}}, {"session"}),
    "episode, not at the same time": ({"test0": at("7", "1", "2"), "train1": at("7", "2", "3")}, {"episode"}),
    "episode at the same time": ({"test0": at("7", "1", "2.5"), "train1": at("7", "2", "3")}, {"episode", "time"}),
    "dialogue at the same time": ({"test0": turn("1", "9"), "train1": turn("2", "3")}, {"dialogue", "time"}),
    "film": ({"test0": heard(0.0, 2.0, "a"), "train1": heard(2.0, 4.0, "b")}, {"recording"}),
    "film at the same time": ({"test0": heard(0.0, 2.0, "a"), "train1": heard(1.9, 4.0, "b")}, {"recording", "time"}),
    "a clip twice": (
        {"test0": heard(0.0, 2.0, "a"), "train1": heard(0.0, 2.0, "a")},
        {"recording", "audio", "time"},
    ),
    "sound": ({"test0": {"audio_id": "a"}, "train1": {"audio_id": "a"}}, {"audio"}),
    "words": ({"test0": says("Oh no!"), "train1": says("oh, no")}, {"text"}),
    "sentence": ({"test0": says(LONG), "train1": says(LONG)}, {"text", "near text"}),
    "half a sentence": ({"test0": says(NEAR), "train1": says(LONG)}, {"near text"}),
}


@pytest.mark.parametrize(
    ("name", "part", "against"),
    [  # each leak between one pair of parts, and each pair with every third leak; between all pairs it takes long
        pytest.param(name, *pair, marks=() if number % len(PAIRS) == place else pytest.mark.slow)
        for number, name in enumerate(PLANTED)
        for place, pair in enumerate(PAIRS)
    ],
)
def test_what_is_planted_is_found_and_nothing_else(name: str, part: str, against: str) -> None:
    planted, kinds = PLANTED[name]
    moved = {utt.replace("test", part).replace("train1", f"{against}1"): row for utt, row in planted.items()}
    found = found_in(moved)
    assert set(found) == {(kind, part, against) for kind in kinds}
    assert {leak.n_utterances for leak in found.values()} == {1}
    for kind in kinds - {"speaker", "dialogue", "session", "episode", "recording"}:
        leak = found[kind, part, against]
        assert leak.examples == ((f"{part}0", f"{against}1"),)
        assert (leak.n_agree, leak.n_labelled) == (1, 1)


@pytest.mark.parametrize(
    "planted",
    [
        {"test0": {"speaker_id": ""}, "train1": {"speaker_id": ""}},
        {"test0": {"dialogue_id": "", "session": ""}, "train1": {"dialogue_id": "", "session": ""}},
        {"test0": {"attributes": []}, "train1": {"attributes": []}},
        {"test0": says(""), "train1": says("")},
        {"test0": says("…"), "train1": says("...")},
        {"test0": {"speaker_id": "s", "corpus": "a"}, "train1": {"speaker_id": "s", "corpus": "b"}},
        {"test0": heard(0.0, 0.0, "a"), "train1": heard(0.0, 0.0, "a")},
        {"test0": at("7", "soon", "later"), "train1": at("8", "soon", "later")},
        {"test0": says("I told you so my dear"), "train1": says("she told you so your dear")},
        {"train0": {"speaker_id": "s"}, "train1": {"speaker_id": "s"}},
    ],
    ids=[
        "no speaker", "no dialogue and session", "no episode", "no text", "no word", "one name in two corpora",
        "text without sound", "no times", "a fourth in common", "within a part",
    ],
)  # fmt: skip
def test_what_is_shared_by_nobody_is_not_found(planted: Columns) -> None:
    assert found_in(planted) == {}


def test_groups_are_counted_with_their_utterances_and_few_examples() -> None:
    parts = {f"test{n:02}": "test" for n in range(16)} | {f"train{n}": "train" for n in range(9)}
    rows = [
        utterance(name, **clean(name) | {"speaker_id": f"s{int(name.removeprefix(part)) % 8}"})
        for name, part in parts.items()
    ]
    (leak,) = leakage(table_of(rows, UTTERANCES), split_of(parts)).found
    assert (leak.n_utterances, leak.n_compared, leak.n_shared, leak.n_groups) == (16, 16, 8, 8)
    assert leak.examples == (("made/s0",), ("made/s1",), ("made/s2",), ("made/s3",), ("made/s4",))
    assert len(leak.examples) == MOST_EXAMPLES


def test_groups_by_the_ten_thousand_are_counted_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of half as many as there are utterances, of each kind, has one in test and one in train."""
    monkeypatch.setattr("flows.leakage._MEMORY", "24MB")
    n_groups, groups = 30_000, ", ".join(f"'{kind} ' || i // 2 AS g_{kind}" for kind in GROUPS)
    with _database(str(tmp_path)) as connection:
        made = f"SELECT if(i % 2 = 0, 'test', 'train') AS part, {groups} FROM range({2 * n_groups}) AS made(i)"
        connection.execute(f"CREATE TEMP TABLE u AS {made}")
        found = _group_leaks(connection, "test", "train")
    assert [(one.n_utterances, one.n_compared, one.n_shared, one.n_groups) for one in found] == [4 * (n_groups,)] * 5
    assert found[0].examples == (("speaker 0",), ("speaker 1",), ("speaker 10",), ("speaker 100",), ("speaker 1000",))


def test_labels_that_differ_do_not_agree_and_missing_ones_are_not_asked() -> None:
    planted = PLANTED["sentence"][0]
    parts = [{"utterance_id": name, "part": part, "label": name[-1]} for name, part in PARTS.items()]
    differing = leakage(table_with(planted), table_of(parts, SPLIT)).found
    assert {(leak.n_agree, leak.n_labelled) for leak in differing} == {(0, 1)}
    unlabelled = leakage(table_with(planted), split_of(label=None)).found
    assert {(leak.n_agree, leak.n_labelled) for leak in unlabelled} == {(0, 0)}


# -- teachers --------------------------------------------------------------------------------------------------------


def read_by(checkpoint: str, *texts: str) -> dict[str, list[pa.RecordBatch]]:
    """A checkpoint that has read these texts, one per batch."""
    rows = [{"utterance_id": f"{checkpoint}-{n}"} | says(text) for n, text in enumerate(texts)]
    return {checkpoint: table_of(rows, TEXTS).to_batches(max_chunksize=1)}


def test_what_a_teacher_has_read_is_found_per_teacher() -> None:
    planted = {"test0": says(LONG), "test1": says("Oh no!"), "dev3": says(NEAR)}
    teachers = read_by("k2", "oh no") | read_by("k1", LONG, "something else") | read_by("k3", "no") | read_by("k4")
    found = found_in(planted, teachers=teachers)
    assert set(found) - {("near text", "test", "dev")} == {
        ("text", "test", "teacher k1"), ("near text", "test", "teacher k1"), ("near text", "dev", "teacher k1"),
        ("text", "test", "teacher k2"),
    }  # fmt: skip
    assert found["text", "test", "teacher k1"].examples == (("test0", text_id(LONG)),)
    assert found["text", "test", "teacher k2"].n_labelled == 0


def test_a_clean_split_repeats_nothing_of_a_teacher_that_has_read_other_lines() -> None:
    teachers = read_by("k1", "somebody said so", LONG) | read_by("k2", *(clean(f"other{n}")["text"] for n in range(9)))
    result = leakage(table_with({}), split_of(), teachers=teachers)
    assert result.found == []
    assert {leak.against for leak in result.leaks} == {"train", "dev", "teacher k1", "teacher k2"}


def test_a_teacher_is_read_once_for_all_folds_and_each_fold_is_told_what_it_is_told_alone() -> None:
    table = table_with({"test0": says(LONG), "train3": says(NEAR), "dev1": says("Oh no!")})
    turned = {"train": "dev", "dev": "test", "test": "train"}
    folds = {"1": split_of(), "2": split_of({name: turned[part] for name, part in PARTS.items()})}
    teachers = read_by("k1", LONG, "oh, no") | read_by("k2", NEAR)
    once = {key: iter(batches) for key, batches in teachers.items()}
    together = leakages(table, folds, "p", once)
    assert together == [leakage(table, split, "p", fold, teachers) for fold, split in folds.items()]
    assert all(one.found for one in together)


SAID = st.lists(st.sampled_from("ABC"), max_size=9).map(" ".join)


@settings(max_examples=settings.default.max_examples // 5)
@given(
    said=st.lists(st.tuples(st.sampled_from(["train", "dev", "test"]), SAID, st.sampled_from(["x", "y", None]))),
    read=st.dictionaries(st.sampled_from(["a" * 32, "b" * 32]), st.lists(SAID)), order=st.randoms(),
)  # fmt: skip
def test_texts_that_are_shared_or_read_by_a_teacher_are_those_of_the_definition(
    said: list[tuple[str, str, str | None]], read: dict[str, list[str]], order: Random
) -> None:
    """All that is told of texts, and the digest, computed from the definition pair by pair."""
    rows = [utterance(f"u{n:02}", **clean(f"u{n:02}") | says(text)) for n, (_, text, _) in enumerate(said)]
    parts: list[dict[str, Any]] = [
        {"utterance_id": f"u{n:02}", "part": part, "label": label} for n, (part, _, label) in enumerate(said)
    ]
    lines = {key: [(f"t{n:02}", text) for n, text in enumerate(texts)] for key, texts in read.items()}
    teachers = {}
    for key, own in lines.items():
        texts = [{"utterance_id": name} | says(text) for name, text in order.sample(own, len(own))]
        teachers[key] = table_of(texts, TEXTS).to_batches(max_chunksize=3)
    result = leakage(table_of(rows, UTTERANCES), table_of(parts, SPLIT), teachers=teachers)

    labels = {row["utterance_id"]: row["label"] for row in parts}
    spoken = {
        part: [(f"u{n:02}", text) for n, (own, text, _) in enumerate(said) if own == part]
        for part in ("train", "dev", "test")
    }  # fmt: skip
    pairs = [(part, other) for part, other in PAIRS if spoken[part] and spoken[other]]
    expected: list[Leak] = []
    for part, other in pairs:
        expected += by_definition(part, spoken[part], other, spoken[other], labels)
    for key, own in sorted(lines.items()):
        named = [(text_id(text), text) for _, text in own]
        for part in ("test", "dev"):
            if named and spoken[part]:
                expected += by_definition(part, spoken[part], f"teacher {key}", named, labels)
    assert [leak for leak in result.leaks if leak.kind.endswith("text")] == expected

    compared = [
        [row["utterance_id"], row["part"], row["label"], text_id(text), audio_id(row["utterance_id"], 0.0, 1.0, "mix"),
         *(f"made/{row['utterance_id']}",) * 2, f"made/{row['utterance_id']}", f"made/1.{row['utterance_id']}",
         f"r{row['utterance_id']}", [0.0, 1.0], [10.0, 12.0], [None, None]]
        for row, (_, text, _) in zip(parts, said, strict=True)
    ]  # fmt: skip
    ids = sorted({(key, text_id(text)) for key, own in lines.items() for _, text in own})
    assert result.digest == digest([compared, ids])


def by_definition(
    part: str, own: list[tuple[str, str]], against: str, others: list[tuple[str, str]], labels: dict[str, str | None]
) -> list[Leak]:
    def grams(words: tuple[str, ...]) -> set[tuple[str, ...]]:
        return {words[i : i + 4] for i in range(len(words) - 3)}

    leaks = []
    worded = [(name, words_of(text)) for name, text in own if words_of(text)]
    long = [(name, words) for name, words in worded if len(words) >= 6]
    for kind, compared in (("text", worded), ("near text", long)):
        pairs = []
        for name, words in compared:
            shares = [
                len(grams(words) & grams(words_of(text))) / len(grams(words)) if kind == "near text"
                else float(words_of(text) == words)
                for _, text in others
            ]  # fmt: skip
            if max(shares, default=0) >= 0.5:
                pairs.append((name, others[shares.index(max(shares))][0]))
        both = [(labels[one], labels[other]) for one, other in pairs if labels[one] and labels.get(other)]
        n_agree = sum(one == other for one, other in both)
        leaks.append(Leak(
            kind, part, against, len(pairs), len(compared), n_agree=n_agree, n_labelled=len(both),
            examples=tuple(pairs[:5]),
        ))  # fmt: skip
    return leaks


# -- the statement ---------------------------------------------------------------------------------------------------


def test_the_statement_is_json_of_ids_and_counts() -> None:
    planted = PLANTED["sentence"][0]
    result = leakage(table_with(planted), split_of(), "p", "1", read_by("k", LONG))
    value = json.loads(json.dumps(result.as_json()))
    assert value["rules"] == {"gram_words": 4, "least_words": 6, "contained": 0.5}
    assert (value["protocol"], value["fold"], value["compared"]) == ("p", "1", result.digest)
    assert value["leaks"] == [vars(leak) | {"examples": [*map(list, leak.examples)]} for leak in result.leaks]
    assert LONG not in json.dumps(value), "ids, never words"


def test_the_digest_is_that_of_what_was_compared() -> None:
    def digest_of(planted: Columns, split: pa.Table = split_of(), teachers: Teachers | None = None) -> str:  # noqa: B008
        return leakage(table_with(planted), split, teachers=teachers).digest

    same = digest_of({})
    assert digest_of({}, split_of(dict(reversed(PARTS.items())))) == same
    assert digest_of({"test0": {"path": "elsewhere.wav", "turn": 7}}) == same
    other = [
        digest_of({"test0": {"speaker_id": "x"}}), digest_of({"test0": says("x")}),
        digest_of({"test0": {"end_s": 3.0}}), digest_of({"test0": {"audio_id": "x"}}),
        digest_of({"test0": at("9", "1", "2")}), digest_of({"test0": turn("1", "2")}),
        digest_of({}, split_of(PARTS | {"test0": "train"})), digest_of({}, split_of(label="other")),
        digest_of({}, teachers=read_by("k", "x")), digest_of({}, teachers=read_by("k", "y")),
    ]  # fmt: skip
    assert len({same, *other}) == 1 + len(other)


SPOKEN = st.lists(
    st.tuples(
        st.sampled_from(["train", "dev", "test"]), st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 3)
    ),
    max_size=12,
)


@settings(max_examples=settings.default.max_examples // 4)
@given(SPOKEN)
def test_groups_and_times_are_those_of_the_definition(spoken: list[tuple[str, str, str, int]]) -> None:
    rows, parts = [], {}
    for number, (part, speaker, film, start) in enumerate(spoken):
        columns = {"speaker_id": speaker, "recording_id": film, "start_s": float(start), "end_s": start + 1.5}
        rows.append(utterance(f"u{number}", **clean(f"u{number}") | columns))
        parts[f"u{number}"] = part
    result = leakage(table_of(rows, UTTERANCES), split_of(parts))
    for leak in result.leaks:
        own = [one for one in spoken if one[0] == leak.part]
        others = [one for one in spoken if one[0] == leak.against]
        if leak.kind == "speaker":
            assert leak.n_utterances == sum(any(a[1] == b[1] for b in others) for a in own)
        if leak.kind == "time":
            assert leak.n_utterances == sum(any(a[2] == b[2] and abs(a[3] - b[3]) < 1.5 for b in others) for a in own)
    looked_at = {pair for pair in PAIRS if set(pair) <= set(parts.values())}
    assert {(leak.part, leak.against) for leak in result.leaks} == looked_at


def test_sentences_tell_what_was_found() -> None:
    planted = PLANTED["speaker"][0] | {"test1": says(LONG), "train2": says(LONG)}
    assert leakage(table_with(planted), split_of(), "p", teachers=read_by("0123456789abcdef", NEAR)).sentences() == [
        "p: 1 of 4 speakers of test are in train too, with 25 % of the test utterances (1).",
        "p: 25 % of the test utterances (1) have the same words as one in train; labels agree in 100 % of those.",
        "p: 25 % of the test utterances of 6 words or more (1) share at least half of their 4-grams with one in train; "
        "labels agree in 100 % of those.",
        "p: 25 % of the test utterances of 6 words or more (1) share at least half of their 4-grams with a text that "
        "checkpoint 0123456789ab was trained on.",
    ]


def test_a_protocol_is_looked_at_fold_by_fold(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    rules = Protocol(
        id="p", reader="made", title="t", labels={"hap": "happy"}, folds="session", test="session = $fold",
        dev="session = $next",
    )  # fmt: skip
    rows = [utterance(f"u{n}", **clean(f"u{n}") | {"session": str(n % 3), "speaker_id": f"s{n}"}) for n in range(9)]
    rows[0]["speaker_id"] = rows[1]["speaker_id"]
    corpus = [utterances(lake, rows)], [labels(lake, {row["utterance_id"]: "hap" for row in rows})]
    found = {one.fold: [(leak.kind, leak.part, leak.against) for leak in one.found]
             for one in protocol_leakage(rules, *corpus)}  # fmt: skip
    assert found == {
        "0": [("speaker", "test", "dev")],
        "1": [("speaker", "test", "train")],
        "2": [("speaker", "dev", "train")],
    }
