from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.audit.overlap import KINDS, UNKNOWN, Learner, evaluation_of, evaluations, learner_of, overlaps
from flows.leakage import leakage
from tests.flows.audit.lent import IEMOCAP, LONG, Lent, lent_lake, row
from warehouse import Artifact
from warehouse.schema import SPLIT, UTTERANCES
from warehouse.tables import read_table


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return lent_lake(tmp_path / "lake")


def learner(lent: Lent, fitted: Artifact) -> Learner:
    return learner_of(fitted, "it", lent.lake.by_digest("utterances"), lent.lake.by_digest("split"))


def shared(lent: Lent, fitted: Artifact, protocol: str = "p") -> dict[str, int]:
    judging = [one for one in evaluations(lent.lake) if one.protocol == protocol]
    (found,) = overlaps([(learner(lent, fitted), one) for one in judging])
    assert found.n_test == 2 and tuple(found.shared) == KINDS
    return {kind: n for kind, n in found.shared.items() if n}


def test_every_fold_with_a_test_part_judges(lent: Lent) -> None:
    assert [(one.protocol, one.fold, one.corpora) for one in evaluations(lent.lake)] == [
        ("p", "1", ("iemocap",)), ("q", "1", ("iemocap",)),
    ]  # fmt: skip
    readings = lent.lake.by_digest("utterances")
    assert evaluation_of(lent.named["films split"], readings) is None


def test_a_teacher_is_held_against_what_judges_its_student(lent: Lent) -> None:
    """Of two test utterances, one overlaps a film line in time and nearly has its words; the other has its words."""
    assert shared(lent, lent.teacher) == {"time": 1, "text": 1, "near text": 1}


def test_what_was_learned_from_and_chosen_on_are_told_apart(lent: Lent) -> None:
    assert shared(lent, lent.student) == {"speaker": 1}
    assert shared(lent, lent.student, "q") == {
        "utterance": 1, "chosen on": 1, "sound": 1, "time": 1, "text": 1, "speaker": 1, "dialogue": 1,
    }  # fmt: skip


def test_one_without_a_split_learned_from_everything(lent: Lent) -> None:
    def write(folder: Path) -> None:
        (folder / "model.zip").write_bytes(b"model")

    heard = lent.named["utterances iemocap"]
    model = lent.make("model", "acoustic_model", "features.mfa.training", write, {"utterances": [heard]})
    assert shared(lent, model)["utterance"] == shared(lent, model, "q")["utterance"] == 2


def test_other_corpora_speakers_of_the_same_name_are_others(lent: Lent) -> None:
    rows = [row("table", "t1", "Oh.", speaker_id="s-i_test"), row("table", "t2", "Ah.", dialogue_id="d-i_test")]
    read = lent.read("table", rows)
    assert overlaps([(Learner("it", "", [read]), one) for one in evaluations(lent.lake)[:1]])[0].shared == (
        dict.fromkeys(KINDS, 0)
    )


def test_the_counts_are_those_of_the_leakage_report(lent: Lent) -> None:
    """A fit against its own fold: what `emolake leakage` says of test against train."""
    rows = [one | {"corpus": "meld"} for one in IEMOCAP]
    rows += [row("meld", "i_train2", f"well {LONG}", recording_id="a" * 64, speaker_id="s-i_test")]
    read = lent.read("meld", rows)
    parts: dict[str, Any] = {"train": ["i_train", "i_train2"], "test": ["i_test", "i_test2"]}
    split = lent.split("p again", read, "p", "true", **parts)
    fit = lent.fitted("again", "students.mced", split=[split])
    readings = lent.lake.by_digest("utterances")
    evaluation = evaluation_of(split, readings)
    assert evaluation is not None
    (found,) = overlaps([(learner(lent, fit), evaluation)])
    table = read_table(split.path("split.parquet"), SPLIT)
    said = leakage(read_table(read.path("utterances.parquet"), UTTERANCES), table).leaks
    names = {"audio": "sound"}
    told = {
        names.get(one.kind, one.kind): one.n_utterances for one in said if (one.part, one.against) == ("test", "train")
    }
    assert {kind: n for kind, n in found.shared.items() if kind in told} == {k: told[k] for k in KINDS if k in told}
    assert {kind for kind, n in found.shared.items() if n} == {"near text", "time", "sound", "speaker"}


def test_what_lacks_a_part_is_unknown_and_not_0(lent: Lent) -> None:
    films = lent.lose("utterances films")
    taught = learner(lent, lent.teacher)
    assert (taught.readings, taught.missing, taught.corpora) == ([], [films], (UNKNOWN,))
    found = overlaps([(taught, one) for one in evaluations(lent.lake)])
    assert [(one.n_test, dict(one.shared)) for one in found] == [(2, dict.fromkeys(KINDS))] * 2
    split = lent.lose("films split")
    assert learner(lent, lent.teacher).missing == [split]
    lent.lose("utterances iemocap")
    judging = evaluations(lent.lake)
    assert [(one.protocol, one.corpora) for one in judging] == [("p", (UNKNOWN,)), ("q", (UNKNOWN,))]
    whole = Learner("it", "", [lent.read("table", [row("table", "t", LONG)])])
    assert [dict(one.shared) for one in overlaps([(whole, one) for one in judging])] == [dict.fromkeys(KINDS)] * 2


def test_what_was_counted_before_is_not_read_again(lent: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    judging = evaluations(lent.lake)
    pairs = [(learner(lent, fitted), one) for fitted in (lent.student, lent.teacher) for one in judging]
    known: dict[str, Any] = {}
    told = [overlaps([pair], known=known)[0] for pair in pairs]
    assert overlaps(pairs) == told and len(known) == 4, "each alone is as all at once"
    monkeypatch.setattr("flows.audit.counted.duckdb", None)
    assert overlaps(pairs, known=known) == told
    with pytest.raises(AttributeError):
        overlaps(pairs, known=dict(list(known.items())[1:]))


def test_what_was_counted_is_of_just_these_utterances_and_this_rule(
    lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = {}
    other = lent.read("table", [row("table", "t", LONG)])
    q = lent.split("q again", lent.named["utterances iemocap"], "q", "true", train=["i_test"], test=["i_train"])
    judging = [one for one in evaluations(lent.lake) if one.split in (q, lent.named["p split"])]
    fits = [Learner("it", "", []), Learner("it", "", [other]), Learner("it", "", [other], q)]
    pairs = [(fit, one) for fit in fits for one in judging]
    for number, pair in enumerate(pairs, start=1):
        overlaps([pair], known=known)
        assert len(known) == number
    assert list(known.values())[:2] == [None, None], "who learned from nothing shares nothing that could be told"
    monkeypatch.setattr("flows.audit.overlap._COUNTED", ["another rule"])
    overlaps([pair], known=known)
    assert len(known) == number + 1


def test_of_those_who_learned_from_the_same_one_is_counted(lent: Lent) -> None:
    """Seeds of a fold: the same split, so the same numbers."""
    split, judging = [lent.named["p split"]], evaluations(lent.lake)
    seeds = [lent.fitted(f"seed {n}", "students.mced", split=split) for n in range(3)]
    steps: list[tuple[int, int]] = []
    pairs = [(learner(lent, fit), one) for fit in seeds for one in judging]
    found = overlaps(pairs, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 1)] and [one.learner.key for one in found[::2]] == [fit.key for fit in seeds]
    assert [dict(one.shared) for one in found] == 3 * [dict(overlaps([pair])[0].shared) for pair in pairs[:2]]


def test_who_lacks_a_part_does_not_stand_for_who_has_all(lent: Lent) -> None:
    """Both have the same readings in this lake."""
    judging, films = evaluations(lent.lake), [lent.named["utterances films"]]
    whole, part = Learner("whole", "", films), Learner("part", "", films, missing=["gone"])
    for fits in ((whole, part), (part, whole)):
        found = {one.learner.name: one.shared["text"] for one in overlaps([(fit, judging[0]) for fit in fits])}
        assert found == {"whole": 1, "part": None}
