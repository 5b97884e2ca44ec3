from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.audit import contamination as contaminations
from flows.audit import counted
from flows.audit.contamination import UNHEARD, UNJUDGED, contamination, count_all
from flows.audit.declarations import CLEAN, UNKNOWN
from flows.audit.overlap import KINDS
from tests.flows.audit.lent import LONG, Lent, lent_lake, row
from warehouse import Warehouse
from warehouse.errors import ArtifactNotFound, QueryFailed, UnknownName


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return lent_lake(tmp_path / "lake")


def test_a_model_its_teacher_and_its_encoder_are_held_against_everything_that_judges(lent: Lent) -> None:
    steps: list[tuple[int, int]] = []
    found = contamination(lent.lake, "mine:best", progress=lambda done, total: steps.append((done, total)))
    teacher = f"students.text_encoder {lent.teacher.key[:12]}"
    rows = found.measured_rows()
    assert [(r["learner"], r["learned from"], r["protocol"], r["judges it"]) for r in rows] == [
        ("mine:best", "iemocap", "p", "yes"), (teacher, "films", "p", "yes"),
        ("mine:best", "iemocap", "q", "no"), (teacher, "films", "q", "no"),
        ("w2v", "not in this lake", "all", ""),
    ]  # fmt: skip
    assert rows[1]["text"] == "1" and rows[1]["near text"] == "1" and rows[1]["utterance"] == "0"
    assert steps == [(1, 2), (2, 2)]


def test_what_comes_from_outside_is_unknown_and_never_0(lent: Lent) -> None:
    rows = [row for row in contamination(lent.lake, "mine:best").measured_rows() if row["learner"] == "w2v"]
    assert [{row[kind] for kind in KINDS} for row in rows] == [{"unknown"}]
    assert contamination(lent.lake, "mine:best").as_json()["unknown"] == ["w2v"]


def test_what_is_declared_is_told_with_who_says_so(lent: Lent) -> None:
    assert contamination(lent.lake, "mine:best").declared_rows() == [
        {"encoder": "w2v", "trained on": "LibriSpeech 960 h", "said by": "the list of published ones",
         "test corpus": "iemocap", "so": CLEAN}
    ]  # fmt: skip
    ref = lent.lake.ref("weights/w2v") or {}
    lent.lake.set_ref("weights/w2v", ref | {"folder": "nobody/knows"})
    (row,) = contamination(lent.lake, lent.student.key).declared_rows()
    assert row["trained on"] == "unknown" and row["so"] == "unknown: nobody said what it was trained on"


def test_a_declared_corpus_that_the_lake_has_is_measured(lent: Lent) -> None:
    ref = lent.lake.ref("weights/w2v") or {}
    lent.lake.set_ref("weights/w2v", ref | {"folder": "mine", "trained_on": ["IEMOCAP, all of it"]})
    found = contamination(lent.lake, "mine:best")
    rows = {(row["learner"], row["protocol"]): row for row in found.measured_rows()}
    assert rows["w2v, as declared", "p"]["utterance"] == "2" and rows["w2v", "all"]["utterance"] == "unknown"
    assert "declared to have learned from the test corpus" in found.declared_rows()[0]["so"]


def test_each_declared_corpus_that_the_lake_has_is_measured(lent: Lent) -> None:
    lent.read("mosei", [row("mosei", "m", f"{LONG}, never!")])
    ref = lent.lake.ref("weights/w2v") or {}
    lent.lake.set_ref("weights/w2v", ref | {"folder": "mine", "trained_on": ["IEMOCAP and MOSEI"]})

    def met() -> dict[tuple[str, str], tuple[str, str]]:
        rows = contamination(lent.lake, "mine:best").measured_rows()
        own = [row for row in rows if row["learner"] == "w2v, as declared"]
        return {(row["learned from"], row["protocol"]): (row["utterance"], row["near text"]) for row in own}

    heard = {("iemocap", "p"): ("2", "1"), ("iemocap", "q"): ("2", "0")}
    assert met() == met() == heard | {("mosei", "p"): ("0", "1"), ("mosei", "q"): ("0", "0")}
    lent.lose("utterances mosei")
    assert met() == heard | {("unknown", protocol): ("unknown", "unknown") for protocol in ("p", "q")}


def test_a_protocol_is_all_models_that_it_judges_and_its_own_folds(lent: Lent) -> None:
    found = contamination(lent.lake, "p")
    assert {row["protocol"] for row in found.measured_rows()} == {"p", "all"}
    assert [fit.model for fit in found.fits] == ["best"] and found.protocol == "p"
    with pytest.raises(UnknownName, match=r"no protocol with fits in a report of this lake 'q' \(there are: p\)"):
        contamination(lent.lake, "q")
    with pytest.raises(UnknownName, match="no protocol with fits in a report of this lake 'meld7'"):
        contamination(lent.lake, "meld7")


def test_a_teacher_is_asked_of_like_a_model(lent: Lent) -> None:
    """Its own protocol has no test part, so nothing judges it; what it learned from is held against all the same."""
    found = contamination(lent.lake, lent.teacher.key)
    assert found.declared == [] and {row["judges it"] for row in found.measured_rows()} == {"no"}


def test_missing_weights_are_unknown_and_still_there(lent: Lent) -> None:
    lent.lose("weights w2v")
    found = contamination(lent.lake, "mine:best")
    assert [(row["encoder"], row["trained on"], row["so"]) for row in found.declared_rows()] == [
        ("w2v", "unknown", UNKNOWN)
    ]  # fmt: skip
    assert {row[kind] for row in found.measured_rows() if row["learner"] == "w2v" for kind in KINDS} == {"unknown"}


def test_a_missing_teacher_is_unknown(lent: Lent) -> None:
    digest = lent.lose("teacher")
    found = contamination(lent.lake, "mine:best")
    assert {row["encoder"]: row["so"] for row in found.declared_rows()}[digest[:12]] == UNKNOWN
    assert set(found.as_json()["unknown"]) == {"w2v", digest[:12]}


def test_missing_utterances_of_a_learner_are_unknown(lent: Lent) -> None:
    lent.lose("utterances films")
    rows = {(row["learner"], row["protocol"]): row for row in contamination(lent.lake, "mine:best").measured_rows()}
    teacher = rows[f"students.text_encoder {lent.teacher.key[:12]}", "p"]
    assert teacher["learned from"] == "unknown" and {teacher[kind] for kind in KINDS} == {"unknown"}
    assert rows["mine:best", "p"]["speaker"] == "1"


def test_missing_utterances_of_what_judges_are_unknown(lent: Lent) -> None:
    lent.lose("utterances iemocap")
    found = contamination(lent.lake, "p")
    assert {row[kind] for row in found.measured_rows() for kind in KINDS} == {"unknown"}
    assert [(row["test corpus"], row["so"]) for row in found.declared_rows()] == [("unknown", UNHEARD)]


def test_a_missing_split_is_told(lent: Lent) -> None:
    """What it was fitted to is unknown, whatever judges; of no fold at all where no report knows it."""
    digest = lent.lose("p split")
    found = contamination(lent.lake, "mine:best")
    rows = {(row["learner"], row["protocol"]): row for row in found.measured_rows()}
    assert {rows["mine:best", "q"][kind] for kind in KINDS} == {"unknown"} == {rows[digest[:12], "all"]["text"]}
    assert {row["encoder"]: row["so"] for row in found.declared_rows()}[digest[:12]] == UNKNOWN
    digest = lent.lose("films split")
    with pytest.raises(ArtifactNotFound, match=digest):
        contamination(lent.lake, lent.teacher.key)


def test_an_encoder_is_told_of_where_nothing_judges(lent: Lent) -> None:
    heard = lent.named["utterances iemocap"]
    blind = lent.split("blind", heard, "blind", "false", train=["i_train"])
    init = lent.named["packed states"]
    fit = lent.fitted("alone", "students.mced", **{"split": [blind], "shards:states": [init]})
    for name in ("p split", "q split"):
        lent.lose(name)
    assert [(row["encoder"], row["so"]) for row in contamination(lent.lake, fit.key).declared_rows()] == [
        ("w2v", UNJUDGED)
    ]  # fmt: skip


def test_a_fold_or_a_seed_that_no_fit_of_a_protocol_has_is_told(lent: Lent) -> None:
    with pytest.raises(UnknownName, match=r"no seed of 'p' '99' \(there are: 0\)"):
        contamination(lent.lake, "p", seed=99)
    with pytest.raises(UnknownName, match=r"no fold of 'p' '7' \(there are: 1\)"):
        contamination(lent.lake, "p", fold="7")


def asked(lent: Lent) -> list[str]:
    """What is known of the model, of its protocol and of two checkpoints, as JSON, in a newly opened lake."""
    lake = Warehouse(lent.lake.root)
    names = "mine:best", "p", lent.teacher.key, lent.student.key
    return [json.dumps(contamination(lake, name).as_json()) for name in names]


def test_after_all_was_counted_whoever_asks_only_looks_it_up(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As told by who counts it himself; of what an encoder is declared to know, too, also where that is declared only
    then."""
    lent.read("mosei", [row("mosei", "m", f"{LONG}, never!")])
    ref, memory = lent.lake.ref("weights/w2v") or {}, lent.lake.root / ".cache" / "overlaps-met"
    declared = {"folder": "mine", "trained_on": ["IEMOCAP and MOSEI"]}
    lent.lake.set_ref("weights/w2v", ref | declared)
    fresh = asked(lent)
    memory.unlink()
    lent.lake.set_ref("weights/w2v", ref)
    steps: list[tuple[int, int]] = []
    count_all(lent.lake, lambda done, total: steps.append((done, total)))
    assert steps == [(number, 5) for number in range(1, 6)], "three corpora, a student and a teacher"
    monkeypatch.setattr(counted, "count", None)
    count_all(Warehouse(lent.lake.root))
    lent.lake.set_ref("weights/w2v", ref | declared)
    assert asked(lent) == fresh and memory.exists()
    memory.unlink()
    with pytest.raises(TypeError):
        asked(lent)


def test_names_that_lack_a_field_are_no_reason_to_count_nothing(lent: Lent) -> None:
    """`verify` names them."""
    lent.lake.set_ref("weights/other", {"folder": "x"})
    lent.lake.set_ref("corpora/other", {"root": "x"})
    count_all(lent.lake)
    assert len(asked(lent)) == 4


def test_a_lake_with_nothing_from_outside_counts_no_corpus_for_later(
    lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners: list[str] = []

    def noted(pairs: Any, *known: Any) -> None:
        learners.extend(one.name for one, _ in pairs)

    monkeypatch.setattr(contaminations, "placed", lambda warehouse, artifacts: [])
    monkeypatch.setattr(contaminations, "count_new", noted)
    count_all(lent.lake)
    assert learners and "what somebody may declare" not in learners


def test_what_is_missing_is_no_reason_to_count_nothing(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    lent.lose("utterances films")
    count_all(lent.lake)
    monkeypatch.setattr(counted, "count", None)
    assert len(asked(lent)) == 4


def test_who_is_interrupted_goes_on_there(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    count, learners = counted.count, []

    def interrupted(pairs: Any) -> Any:
        yield next(iter(count(pairs)))
        raise KeyboardInterrupt

    def noted(pairs: Any) -> Any:
        learners.extend(learner.name for learner, _ in pairs)
        return count(pairs)

    monkeypatch.setattr(counted, "count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count_all(lent.lake)
    monkeypatch.setattr(counted, "count", noted)
    count_all(lent.lake)
    nobody = ["what somebody may declare"] * 2  # of two corpora
    assert learners == [lent.student.key, *nobody], "of four, one was counted before"


def test_a_table_whose_rows_are_damaged_is_told(lent: Lent) -> None:
    table = lent.named["utterances films"].path("utterances.parquet")
    content = bytearray(table.read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)
    table.write_bytes(content)
    with pytest.raises(QueryFailed, match=r"of utterances or splits cannot be compared, see `emolake verify` \("):
        contamination(lent.lake, "mine:best")


def test_a_lake_that_cannot_remember_is_counted_all_the_same(lent: Lent) -> None:
    (lent.lake.root / ".cache").write_text("no folder")
    count_all(lent.lake)
    assert len(asked(lent)) == 4
