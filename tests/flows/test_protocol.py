from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows import protocol as protocols
from flows.findings import METRICS
from flows.protocol import PROTOCOLS, Protocol, describe, folds_of, read_protocol, split_of, split_work
from flows.truth import truth_work
from tests.flows.made import labels, numbers, utterance, utterances
from tests.sparing import first
from warehouse import Artifact, Warehouse
from warehouse.errors import CountsDiffer, InvalidField, MalformedSource, MissingFolder, NoneInPart, UnknownName
from warehouse.schema import SPLIT
from warehouse.tables import read_table

RULES: dict[str, Any] = {
    "id": "p", "reader": "made", "title": "t", "labels": {"hap": "happy", "exc": "happy", "sad": "sad"},
    "folds": "session", "test": "session = $fold", "dev": "session = $next",
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def corpus(lake: Warehouse) -> tuple[Any, Any]:
    """Three sessions of three utterances: happy, excited, sad; one more without a label of the protocol."""
    rows = [utterance(f"s{s}{label}", session=str(s)) for s in (1, 2, 3) for label in ("hap", "exc", "sad")]
    rows.append(utterance("s1other", session="1"))
    values = {row["utterance_id"]: row["utterance_id"][2:] for row in rows}
    return [utterances(lake, rows)], [labels(lake, values)]


def split(lake: Warehouse, rules: Protocol, corpus: tuple[Any, Any], fold: str, **more: Any) -> list[dict[str, Any]]:
    work = split_work(rules, fold, folds_of(rules, corpus[0]), *corpus, **more)
    return read_table(lake.perform(work).path("split.parquet"), SPLIT).to_pylist()


@pytest.mark.parametrize("path", sorted(PROTOCOLS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_is_read(path: Path) -> None:
    rules = read_protocol(path.stem)
    assert describe(rules)["id"] == path.stem
    assert all(name in METRICS or name.partition("/")[2] in rules.classes for name in rules.metrics)


def test_folds_partition_the_protocol_and_every_utterance_is_tested_once(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES)
    folds = folds_of(rules, corpus[0])
    assert folds == ["1", "2", "3"]
    parts = {fold: split(lake, rules, corpus, fold) for fold in folds}
    tested = [row["utterance_id"] for rows in parts.values() for row in rows if row["part"] == "test"]
    assert len(tested) == len(set(tested)) == 9
    for fold, rows in parts.items():
        assert {row["utterance_id"][1] for row in rows if row["part"] == "test"} == {fold}
        assert {row["utterance_id"][1] for row in rows if row["part"] == "dev"} == {str(int(fold) % 3 + 1)}
        assert len(rows) == 9


def test_labels_are_mapped_and_others_left_out(lake: Warehouse, corpus: Any) -> None:
    rows = {row["utterance_id"]: row["label"] for row in split(lake, Protocol(**RULES), corpus, "1")}
    assert rows["s2exc"] == "happy" and rows["s2sad"] == "sad" and "s1other" not in rows


def test_without_labels_every_utterance_belongs(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(id="p", reader="made", title="t", dev="bucket(utterance_id, 2) = 0")
    rows = split(lake, rules, corpus, protocols.WHOLE)
    assert len(rows) == 10 and {row["label"] for row in rows} == {None}
    assert {row["part"] for row in rows} == {"train", "dev"}


def test_a_dev_rule_that_nothing_falls_under_is_refused_with_the_ways_out(lake: Warehouse) -> None:
    corpus = [utterances(lake, [utterance(f"u{n}") for n in range(5)])], []
    complaint = (
        r"'subtitles-unlabelled' puts none of 5 utterances into dev \(fold 'all'\): take more utterances, or "
        "'subtitles-unlabelled:dev=tenth' or 'subtitles-unlabelled:dev=none'"
    )
    with pytest.raises(NoneInPart, match=complaint):
        split(lake, read_protocol("subtitles-unlabelled"), corpus, "all")
    without_dev = split(lake, read_protocol("subtitles-unlabelled:dev=none"), corpus, "all")
    assert [row["part"] for row in without_dev] == ["train"] * 5
    rules = Protocol(**RULES | {"folds": "", "test": "false", "dev": "split = 'dev'"})
    rows = [utterance(name, split=name) for name in ("dev", "train")]
    own = [utterances(lake, rows)], [labels(lake, {"dev": "hap", "train": "sad"})]
    assert len(split(lake, rules, own, "all")) == 2
    with pytest.raises(NoneInPart, match=r"none of 1 utterances into dev .* or a protocol with another rule for dev"):
        split(lake, rules, own, "all", without=["dev"])


def test_options_do_not_change_what_the_defaults_were(lake: Warehouse) -> None:
    for name, n in (("films-unlabelled", 10), ("subtitles-unlabelled", 100)):
        rules = read_protocol(name)
        assert (rules.id, rules.dev) == (name, f"bucket(utterance_id, {n}) = 0")


def test_what_could_not_be_treated_is_left_out_and_part_of_identity(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES)
    assert len(split(lake, rules, corpus, "1", without=["s1hap"])) == 8
    keys = {split_work(rules, "1", ["1", "2", "3"], *corpus, without=w).request.key for w in ([], ["s1hap"])}
    assert len(keys) == 2


def test_counts_that_differ_are_listed_per_class(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES | {"counts": {"happy": 7, "sad": 3}})
    complaint = r"(?s)protocol 'p' must reproduce its counts.*happy +7 +6 +-1\nsad +3 +3 +0"
    with pytest.raises(CountsDiffer, match=complaint):
        split(lake, rules, corpus, "1")
    assert split(lake, Protocol(**RULES | {"counts": {"happy": 6, "sad": 3}}), corpus, "1")


def test_two_labels_of_one_utterance_are_refused(lake: Warehouse, corpus: Any) -> None:
    again = [*corpus[1], labels(lake, {"s1hap": "sad"})]
    with pytest.raises(InvalidField, match="field 'rater' gives utterance 's1hap' more than one label"):
        split(lake, Protocol(**RULES), (corpus[0], again), "1")


def test_a_predicate_that_is_no_sql_is_named(lake: Warehouse, corpus: Any) -> None:
    with pytest.raises(InvalidField, match=r"dev, test or train' is no SQL over utterances: .*sesion"):
        split(lake, Protocol(**RULES | {"test": "sesion = $fold"}), corpus, "1")


@pytest.mark.parametrize("field", ["dev", "filter", "folds"])
@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT count(*) FROM read_text('{outside}')) > 0",
        "true)) t; COPY (SELECT 1) TO '{outside}.csv'; --",
        "EXISTS (FROM read_csv('https://localhost:1/a.csv'))",
    ],
)
def test_a_protocol_of_somebody_else_reads_and_writes_no_file(
    lake: Warehouse, corpus: Any, tmp_path: Path, field: str, sql: str
) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret")
    rules = Protocol(**RULES | {field: sql.format(outside=outside)})
    with pytest.raises(InvalidField, match=rf"protocol 'p': field '.*{field}.*' is no SQL over utterances: "):
        folds_of(rules, corpus[0])
        split(lake, rules, corpus, "1")
    assert not outside.with_suffix(".csv").exists()


MADE = "CREATE MACRO sha256(x) AS length(x)"


@pytest.mark.parametrize(
    ("field", "sql"),
    [
        ("folds", f"session)::VARCHAR AS fold FROM utterances; {MADE}; SELECT (session"),
        ("dev", f"true), false) AS is_dev FROM redrawn) FROM chosen; {MADE}; WITH chosen AS (FROM redrawn), --"),
        ("counts_by", f"session)::VARCHAR, 1 FROM split JOIN utterances USING (utterance_id); {MADE}; SELECT (1"),
    ],
)
def test_a_protocol_makes_nothing_that_another_one_meets(lake: Warehouse, corpus: Any, field: str, sql: str) -> None:
    rules = Protocol(**RULES | {field: {sql: {}} if field == "counts_by" else sql})
    with pytest.raises(InvalidField, match="it ends the statement that it is put into, and begins another"):
        folds_of(rules, corpus[0])
        split_of(rules, "1", ["1", "2"], *corpus)
    drawn = Protocol(**RULES | {"dev": "false", "test": "drawn < 0.5"})
    parts = [one["part"] for one in split_of(drawn, "1", ["1", "2"], *corpus)[0].to_pylist()]
    assert len(set(parts)) > 1, "all are drawn by one hash"


def test_a_fold_value_with_a_quote_is_only_a_value(lake: Warehouse) -> None:
    rows = [utterance("a", session="x' OR true --"), utterance("b", session="y")]
    corpus = ([utterances(lake, rows)], [labels(lake, {"a": "hap", "b": "sad"})])
    parts = {row["utterance_id"]: row["part"] for row in split(lake, Protocol(**RULES), corpus, "x' OR true --")}
    assert parts == {"a": "test", "b": "dev"}


def test_unknown_and_misnamed_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="no protocol 'emodb4-loso5'; did you mean 'emodb4-loso6'"):
        read_protocol("emodb4-loso5")
    monkeypatch.setattr(protocols, "PROTOCOLS", tmp_path)
    (tmp_path / "a.toml").write_text('id = "b"\nreader = "r"\ntitle = "t"\n')
    with pytest.raises(InvalidField, match=r"protocol 'a': field 'id' is 'b', but the file is a\.toml"):
        read_protocol("a")
    (tmp_path / "c.toml").write_text('id = "c"\ntitle = "t"\nsplits = 3\n')
    with pytest.raises(InvalidField, match="protocol 'c': field 'reader' is wrong: field required"):
        read_protocol("c")


@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "a = " + "9" * 5000], ids=["brackets", "digits"])
def test_toml_that_goes_too_deep_or_too_far_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(MalformedSource, match="is not TOML: "):
        read_protocol("mine.toml", tmp_path)


def test_a_protocol_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('id = "mine"\nreader = "table"\ntitle = "t"\n[options.dev]\na = "1"\nb = "2"\n')
    assert read_protocol("mine.toml:dev=b", tmp_path).id == "mine:dev=b"
    with pytest.raises(MissingFolder, match=r"the protocol is not at .*yours\.toml: give a path relative"):
        read_protocol("yours.toml", tmp_path)
    (tmp_path / "yours.toml").write_text("id = ")
    with pytest.raises(MalformedSource, match=r"yours\.toml: is not TOML"):
        read_protocol("yours.toml", tmp_path)
    (tmp_path / "meld7.toml").write_text('id = "meld7"\nreader = "meld"\ntitle = "t"\n')
    with pytest.raises(InvalidField, match="'id' is that of a shipped protocol: results of the two"):
        read_protocol("meld7.toml", tmp_path)


# -- identity --------------------------------------------------------------------------------------------------------


def test_what_a_protocol_does_not_say_is_not_in_its_identity(lake: Warehouse, corpus: Any) -> None:
    """Fields that came later change no split that was made before them."""
    params = split_work(Protocol(**RULES), "1", ["1", "2", "3"], *corpus).request.params
    assert params["rules"].keys() == {"scheme", "rater", "labels", "counts", "dev", "test"}
    more = Protocol(**RULES | {"filter": "turn = 0", "seed": 3, "counts_must": "warn"})
    assert split_work(more, "1", ["1", "2", "3"], *corpus).request.params["rules"].keys() == {
        "scheme", "rater", "labels", "counts", "dev", "test", "filter", "seed", "counts_must",
    }  # fmt: skip


def test_a_report_is_told_what_a_protocol_says_and_no_more() -> None:
    told = {"id", "title", "citation", "dev", "test", "folds", "metrics"}
    assert describe(read_protocol("sandbox4-loso5")).keys() == told
    assert describe(read_protocol("mosei4-cmd")).keys() == told | {"value", "filter"}
    assert describe(read_protocol("iemocap4-cmd-a:seed=2"))["seed"] == 2


# -- options ---------------------------------------------------------------------------------------------------------


def test_a_choice_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "iemocap4-loso5"
    assert read_protocol(name).dev == "session = $next" and read_protocol(f"{name}:dev=next,seed=0").id == name
    chosen = read_protocol(f"{name}:seed=03,dev=random10")
    assert (chosen.id, chosen.dev, chosen.seed) == (f"{name}:dev=random10,seed=3", "drawn < 0.1", 3)
    assert read_protocol(chosen.id) == chosen
    assert read_protocol(f"{name}:dev=none,dev=next").id == name, "the last choice counts"
    assert read_protocol(f"{name}:dev=none").judged_parts == ["test"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("iemocap4-loso5:dve=none", "no option of protocol 'iemocap4-loso5' 'dve'; did you mean 'dev'"),
        ("iemocap4-loso5:dev=nothing", "no 'dev' of protocol 'iemocap4-loso5' 'nothing'"),
        ("iemocap4-loso5:dev", r"no 'dev' of protocol 'iemocap4-loso5' '' \(there are: next, none, random10\)"),
        ("iemocap4-cmd-a:seed=-1", "'iemocap4-cmd-a': field 'seed' is '-1', but must be a whole number from 0"),
        ("iemocap4:dev=none", "no protocol 'iemocap4'"),
    ],
)
def test_a_choice_that_is_none_is_refused(name: str, complaint: str) -> None:
    with pytest.raises((UnknownName, InvalidField), match=complaint):
        read_protocol(name)


# -- what is drawn ---------------------------------------------------------------------------------------------------

DRAWN = Protocol(id="p", reader="made", title="t", test="drawn < 0.2", dev="drawn < 0.25")


def drawn(lake: Warehouse, ids: list[str], seed: int = 0, corpus: str = "made") -> dict[str, str]:
    """Own id -> its part."""
    rows = [utterance(f"{corpus}-{own}", corpus=corpus) for own in ids]
    rules = DRAWN.model_copy(update={"seed": seed})
    table, _ = split_of(rules, "all", ["all"], [utterances(lake, rows)], [])
    return {row["utterance_id"].removeprefix(f"{corpus}-"): row["part"] for row in table.to_pylist()}


@pytest.mark.parametrize("n", [*range(1, 12), 100])
def test_what_is_drawn_has_exact_sizes(lake: Warehouse, n: int) -> None:
    found = Counter(drawn(lake, [f"u{i}" for i in range(n)]).values())
    n_test = math.ceil(n / 5)
    n_dev = math.ceil((n - n_test) / 4)
    assert (found["test"], found["dev"], found["train"]) == (n_test, n_dev, n - n_test - n_dev)


def test_what_is_drawn_depends_on_seed_and_own_ids_alone(lake: Warehouse) -> None:
    ids = [f"u{i}" for i in range(60)]
    parts = drawn(lake, ids)
    assert drawn(lake, ids[::-1]) == parts and drawn(lake, ids, corpus="another") == parts
    assert drawn(lake, ids, seed=1) != parts


def test_each_corpus_is_drawn_from_by_itself(lake: Warehouse) -> None:
    rows = [utterance(f"{name}-{n}", corpus=name) for name, n_rows in (("a", 10), ("b", 50)) for n in range(n_rows)]
    table, _ = split_of(DRAWN, "all", ["all"], [utterances(lake, rows)], [])
    found = Counter((row["utterance_id"][0], row["part"]) for row in table.to_pylist())
    assert (found["a", "test"], found["b", "test"], found["a", "dev"], found["b", "dev"]) == (2, 10, 2, 10)


def test_the_filter_decides_before_anything_is_drawn(lake: Warehouse) -> None:
    rows = [utterance(f"u{n}", session=str(n % 2)) for n in range(20)]
    rules = DRAWN.model_copy(update={"filter": "session = '1'"})
    table, _ = split_of(rules, "all", ["all"], [utterances(lake, rows)], [])
    assert Counter(table.column("part").to_pylist()) == {"train": 6, "dev": 2, "test": 2}


# -- the shipped ones, on corpora of the published size ---------------------------------------------------------

Rows = dict[str, tuple[str, dict[str, str]]]


def corpus_of(lake: Warehouse, rows: Rows) -> tuple[list[Artifact], list[Artifact]]:
    """Own id -> its value and columns."""
    made = [utterance(f"c-{own}", corpus="c", **columns) for own, (_, columns) in rows.items()]
    return [utterances(lake, made)], [labels(lake, {f"c-{own}": value for own, (value, _) in rows.items()})]


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The published counts of every label, by speaker where they are known."""
    values = {"angry": "ang", "neutral": "neu", "sad": "sad"}
    excited = dict(zip("12345", (143, 210, 151, 238, 299), strict=True))
    rows: Rows = {}
    speakers = read_protocol("iemocap4-speaker10").counts_by["speaker_id"]
    for speaker, classes in speakers.items():
        session = speaker[4]
        for name, n in classes.items():
            for number in range(n):
                value = values.get(name) or ("exc" if excited[session] else "hap")
                excited[session] -= value == "exc"
                rows[f"{speaker}_{name}{number}"] = (value, {"speaker_id": speaker, "session": session})
    for value, n in {"fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3, "xxx": 2507}.items():
        for number in range(n):
            speaker = list(speakers)[number % 10]
            rows[f"{value}{number}"] = (value, {"speaker_id": speaker, "session": speaker[4]})
    assert len(rows) == 10_039
    return corpus_of(Warehouse(tmp_path_factory.mktemp("iemocap") / "lake", create=True), rows)


def checked(name: str, corpus: Any) -> dict[str, Counter[str]]:
    """Fold -> part -> utterances; every count is as published."""
    rules = read_protocol(name)
    folds = folds_of(rules, corpus[0])
    sizes = {}
    for fold in folds:
        table, counts = split_of(rules, fold, folds, *corpus)
        assert counts and [count for count in counts if count.difference] == []
        sizes[fold] = Counter(table.column("part").to_pylist())
    return sizes


def test_iemocap_by_session(iemocap: Any) -> None:
    sizes = checked("iemocap4-loso5", iemocap)
    assert [found["test"] for found in sizes.values()] == [1085, 1023, 1151, 1031, 1241]
    assert [found["dev"] for found in sizes.values()] == [1023, 1151, 1031, 1241, 1085]
    assert {found.total() for found in sizes.values()} == {5531}
    without = checked("iemocap4-loso5:dev=none", iemocap)
    assert [found["train"] for found in without.values()] == [4446, 4508, 4380, 4500, 4290]
    drawn_dev = checked("iemocap4-loso5:dev=random10", iemocap)
    assert [found["dev"] for found in drawn_dev.values()] == [445, 451, 438, 450, 429]


def test_iemocap_by_speaker(iemocap: Any) -> None:
    sizes = checked("iemocap4-speaker10", iemocap)
    assert len(sizes) == 10
    assert sizes["Ses03M"] == {"test": 629, "dev": 522, "train": 5531 - 1151}
    assert sizes["Ses03F"] == {"test": 522, "dev": 629, "train": 5531 - 1151}


@pytest.mark.parametrize("name", ["iemocap4-cmd-a", "iemocap4-cmd-b", "iemocap4-cmd-b:seed=7"])
def test_iemocap_in_the_two_readings_of_cmd(iemocap: Any, name: str) -> None:
    assert checked(name, iemocap) == {"all": {"train": 4491, "dev": 1498, "test": 1498}}


@pytest.fixture(scope="module")
def meld_rows() -> Rows:
    rules = read_protocol("meld7")
    rows: Rows = {own: (place["class"], {"split": place["split"]}) for own, place in rules.may_lack.items()}
    rows["test-dia38_utt4"] = ("joy", {"split": "test"})
    there = Counter((columns["split"], value) for value, columns in rows.values())
    for split_name, classes in rules.counts_by["split"].items():
        for value, n in classes.items():
            for number in range(n - there[split_name, value]):
                rows[f"{split_name}-{value}{number}"] = (value, {"split": split_name})
    assert len(rows) == 13_708
    return rows


@pytest.mark.parametrize(
    ("name", "sizes", "lacking"),
    first(
        1,
        [
            ("meld7", (9989, 1109, 2610), {"train": 1, "dev": 1}),
            ("meld4-cmd", (8245, 897, 2211), {"train": 1, "dev": 1, "test": 1}),
        ],
    ),
)
def test_meld_with_and_without_the_clips_that_cannot_be_read(
    lake: Warehouse, meld_rows: Any, name: str, sizes: tuple[int, ...], lacking: dict[str, int]
) -> None:
    whole = dict(zip(("train", "dev", "test"), sizes, strict=True))
    assert checked(name, corpus_of(lake, meld_rows)) == {"all": whole}
    known = read_protocol(name).may_lack
    usual = corpus_of(lake, {own: row for own, row in meld_rows.items() if own not in known})
    assert checked(name, usual) == {"all": {part: n - lacking.get(part, 0) for part, n in whole.items()}}


def test_meld_that_lacks_another_clip_is_refused_with_class_and_split(lake: Warehouse, meld_rows: Any) -> None:
    corpus = corpus_of(lake, {own: row for own, row in meld_rows.items() if own != "dev-joy7"})
    complaint = r"(?s)joy +2308 +2307 +-1\n.*joy, split dev +163 +162 +-1\nneutral, split dev +470 +470 +0\n"
    with pytest.raises(CountsDiffer, match=complaint) as raised:
        split(lake, read_protocol("meld7"), corpus, "all")
    assert "split train" not in str(raised.value), "groups in which nothing differs are not listed"


def test_the_counts_are_those_of_the_public_lists(real: Path) -> None:
    lists = json.loads((real / "expected_counts.json").read_text())

    def mapped(name: str, found: dict[str, int]) -> dict[str, int]:
        """Counts of verbatim values as counts of a protocol's classes."""
        counts: Counter[str] = Counter()
        for value, n in found.items():
            if value in (classes := read_protocol(name).labels):
                counts[classes[value]] += n
        return dict(counts)

    every = lists["iemocap"]["labels_all"]
    for name in ("iemocap4-loso5", "iemocap4-speaker10", "iemocap4-cmd-a", "iemocap4-cmd-b"):
        assert read_protocol(name).counts == mapped(name, every)
    speakers = lists["iemocap"]["four_class_by_session_speaker"]
    assert read_protocol("iemocap4-speaker10").counts_by["speaker_id"] == {
        f"Ses0{place[7]}{place[9]}": mapped("iemocap4-speaker10", found) for place, found in speakers.items()
    }
    for name in ("meld7", "meld4-cmd"):
        by_split = {part: mapped(name, found) for part, found in lists["meld"]["emotion"].items()}
        assert read_protocol(name).counts_by["split"] == by_split
        known = {place.replace("/", "-") for place in lists["meld"]["missing_or_corrupt"]}
        assert known <= set(read_protocol(name).may_lack)
    dropped = {place.replace("/", "-") for place in lists["meld"]["cmd_reproduced_by_dropping"]}
    assert set(read_protocol("meld4-cmd").may_lack) == dropped
    assert read_protocol("mosei4-cmd").total == lists["mosei"]["cmd_paper_total"]
    paper = lists["mced_teacher_table1"]
    adjectives = {
        "neutral": "neutral",
        "happiness": "happy",
        "surprise": "surprise",
        "sadness": "sad",
        "anger": "angry",
    }
    assert read_protocol("teacher5").counts_by["part"] == {
        ours: {adjectives[name]: n for name, n in paper[theirs].items()}
        for ours, theirs in (("train", "train"), ("dev", "val"), ("test", "test"))
    }
    assert sum(read_protocol("teacher5").counts.values()) == sum(paper["totals"].values())


# -- values that are computed from numbers -----------------------------------------------------------------------

MOSEI = {
    "happy": {"happy": 2.0, "sad": 1.0}, "weak": {"happy": 0.6667}, "none": {}, "tied": {"anger": 1.0, "sad": 1.0},
    "stored": {"sad": 0.99999994}, "other": {"surprise": 3.0}, "under": {"anger": 1.3333, "fear": 2.0},
    "outside": {"happy": 1.0}, "silent": {"happy": 1.0}, "early": {"happy": 3.0}, "late": {"happy": 3.0},
}  # fmt: skip
PLACES: dict[str, dict[str, Any]] = {
    "outside": {"split": ""}, "silent": {"text": ""}, "late": {"dialogue_id": "v"},
    "early": {"dialogue_id": "v", "attributes": [("labelled_start_s", "-0.1")]},
}  # fmt: skip
DEFAULT = dict.fromkeys(("happy", "early", "late"), "happy") | {"none": "neutral", "stored": "sad", "under": "angry"}


def default_without(*names: str) -> dict[str, str]:
    return {name: value for name, value in DEFAULT.items() if name not in names}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("", DEFAULT),
        (":ties=first", DEFAULT | {"tied": "angry"}),
        (":zero=three", DEFAULT | {"other": "neutral"}),
        (":others=exclude", default_without("under")),
        (":least=exact", default_without("stored")),
        (":negative_start=drop_segment", default_without("early")),
        (":negative_start=drop_video", default_without("early", "late")),
        (":negative_start=drop_video,ties=first", default_without("early", "late") | {"tied": "angry"}),
    ],
)
def test_mosei_and_each_of_its_open_points(lake: Warehouse, chosen: str, expected: dict[str, str]) -> None:
    zeros = dict.fromkeys(("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear"), 0.0)
    rows = [utterance(name, **{"split": "train"} | PLACES.get(name, {})) for name in MOSEI]
    corpus = [utterances(lake, rows)], [numbers(lake, {name: zeros | own for name, own in MOSEI.items()})]
    table, counts = split_of(read_protocol(f"mosei4-cmd{chosen}"), "all", ["all"], *corpus)
    assert {row["utterance_id"]: row["label"] for row in table.to_pylist()} == expected
    assert [(c.what, c.expected, c.found) for c in counts] == [("all classes", 6228, len(expected))]


def test_two_numbers_of_one_scheme_are_refused(lake: Warehouse) -> None:
    twice = [numbers(lake, {"a": {"happy": number}}) for number in (1.0, 2.0)]
    corpus = [utterances(lake, [utterance("a")])], twice
    with pytest.raises(InvalidField, match="field 'rater' gives utterance 'a' more than one label"):
        split_of(read_protocol("mosei4-cmd"), "all", ["all"], *corpus)


# -- a protocol of two corpora ---------------------------------------------------------------------------------------


def test_the_teacher_never_learns_from_dev_and_test_of_emotionlines(lake: Warehouse) -> None:
    rules = read_protocol("teacher5")
    assert rules.readers == ("xed", "emotionlines") and read_protocol("meld7").readers == ("meld",)
    values = ["joy", "anger", "trust", "neutral"]
    rows, value_of = [], {}
    for corpus, parts in (("xed", [""]), ("lines", ["train", "dev", "test", "train"])):
        for number in range(80):
            own = f"{corpus}-{number}"
            rows.append(utterance(own, corpus=corpus, split=parts[number // 4 % len(parts)]))
            value_of[own] = values[number % 4]
    work = split_work(rules, "all", ["all"], [utterances(lake, rows)], [labels(lake, value_of)])
    artifact = lake.perform(work)
    table = read_table(artifact.path("split.parquet"), SPLIT).to_pylist()
    found = Counter((row["utterance_id"].split("-")[0], row["part"]) for row in table)
    assert found == {
        ("xed", "train"): 54, ("xed", "dev"): 6,
        ("lines", "train"): 30, ("lines", "dev"): 15, ("lines", "test"): 15,
    }  # fmt: skip
    truth = lake.perform(truth_work(work, artifact))
    counts = {row["what"]: row for row in json.loads(truth.path("counts.json").read_text())}
    assert counts["happy"] == {"what": "happy", "expected": 4542, "found": 40, "difference": -4502}
    assert counts["happy, part test"]["found"] == 5


def test_counts_that_hold_leave_no_file(lake: Warehouse, corpus: Any) -> None:
    work = split_work(Protocol(**RULES | {"counts": {"happy": 6, "sad": 3}}), "1", ["1", "2", "3"], *corpus)
    split = lake.perform(work)
    assert list(split.files) == ["split.parquet"]
    assert list(lake.perform(truth_work(work, split)).files) == ["truth.parquet"]


def test_counts_by_what_is_no_column(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES | {"counts_by": {"sesion": {"1": {"happy": 2, "sad": 1}}}})
    with pytest.raises(InvalidField, match=r"protocol 'p': field 'counts_by' is no SQL: .*sesion"):
        split(lake, rules, corpus, "1")


def test_a_fold_named_like_a_placeholder_is_only_a_value(lake: Warehouse) -> None:
    rows = [utterance("a", session="$next"), utterance("b", session="y")]
    corpus = ([utterances(lake, rows)], [labels(lake, {"a": "hap", "b": "sad"})])
    parts = {row["utterance_id"]: row["part"] for row in split(lake, Protocol(**RULES), corpus, "$next")}
    assert parts == {"a": "test", "b": "dev"}


@pytest.mark.parametrize("n", [1, 7, 30])
def test_a_share_of_what_is_learned_from_is_drawn_from_that_alone(lake: Warehouse, n: int) -> None:
    artifact = utterances(lake, [utterance(f"made-u{i}", corpus="made") for i in range(n)])

    def parts(train: str) -> dict[str, set[str]]:
        table, _ = split_of(DRAWN.model_copy(update={"train": train}), "all", ["all"], [artifact], [])
        rows = table.to_pylist()
        return {part: {r["utterance_id"] for r in rows if r["part"] == part} for part in ("train", "dev", "test")}

    whole, half, third, fifth = map(parts, ("true", "drawn < 0.5", "3 * drawn < 1", "drawn < 0.2"))
    n_train = len(whole["train"])
    assert [len(own["train"]) for own in (half, third, fifth)] == [math.ceil(n_train / m) for m in (2, 3, 5)]
    assert fifth["train"] <= third["train"] <= half["train"] <= whole["train"]
    assert all(own[part] == whole[part] for own in (half, third, fifth) for part in ("dev", "test"))


def test_counts_are_of_the_whole_protocol_though_a_share_is_learned_from(lake: Warehouse, corpus: Any) -> None:
    rules = Protocol(**RULES, counts={"happy": 6, "sad": 3}, train="drawn < 0.5")
    rows = split(lake, rules, corpus, "1")
    assert Counter(row["part"] for row in rows) == {"test": 3, "dev": 3, "train": 2}
    assert "train" in protocols.rules_of(rules) and "train" not in protocols.rules_of(Protocol(**RULES))
