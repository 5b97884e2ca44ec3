from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows import cli_corpora
from tests.flows.saying import Say
from tests.flows.small import Small


def test_protocols_are_listed(say: Say) -> None:
    rows = say("protocols", "--json").json
    assert {"iemocap4-loso5", "meld7", "sandbox5-official"} <= {row["id"] for row in rows}
    assert "iemocap4-loso5" in say("protocols").out


def test_a_split_is_counted_per_fold_part_class_and_speaker(say: Say, small: Small) -> None:
    found = say("split", "sandbox4-loso5", "--json").json
    rows = [row for row in found["split"] if row["by"] == "class" and row["part"] == "test"]
    assert {row["fold"] for row in rows} == {"1", "2", "3", "4", "5"}
    [(n_labelled,)] = small.warehouse.sql("""
        SELECT count(*) FROM labels JOIN utterances USING (utterance_id) WHERE corpus = 'iemocap'
        AND scheme = 'emotion' AND rater = 'summary' AND value IN ('ang', 'hap', 'exc', 'neu', 'sad')
    """).fetchall()
    assert sum(row["n_utterances"] for row in rows) == n_labelled


def test_a_split_with_an_empty_part_says_so_and_what_to_do(say: Say) -> None:
    printed = say("split", "films-unlabelled")
    assert printed.code == 0, printed.err
    *_, counts, sentence = printed.out.splitlines()
    assert counts == "no count is expected"
    assert (
        sentence.startswith("protocol 'films-unlabelled' puts none of ") and "'films-unlabelled:dev=none'" in sentence
    )
    assert say("split", "films-unlabelled", "--json").json["empty"] == [sentence]
    assert say("split", "films-unlabelled:dev=none").out.endswith("no count is expected\n")


def test_a_protocol_whose_counts_differ_says_so_and_by_how_much(say: Say) -> None:
    printed = say("split", "iemocap4-loso5")
    assert printed.code == 0
    assert "expected" in printed.out and "1708" in printed.out


def test_leakage_names_what_is_shared_and_what_was_compared(say: Say, small: Small) -> None:
    found = say("leakage", "sandbox5-official", "--teacher", _teacher(small), "--json").json
    (fold,) = found
    assert len(fold["compared"]) == 64 and {"train", "dev", "test"} <= set(fold["parts"])
    sentences = say("leakage", "sandbox4-loso5").out.splitlines()
    assert sentences and all(line.startswith("sandbox4-loso5") for line in sentences)


def test_leakage_names_the_parts_that_hold_nothing_as_a_split_does(say: Say) -> None:
    (sentence,) = say("split", "films-unlabelled", "--json").json["empty"]
    assert say("leakage", "films-unlabelled").out.splitlines()[-1] == sentence
    whole = say("leakage", "films-unlabelled:dev=none")
    assert whole.code == 0 and "puts none of" not in whole.out


def test_of_a_teacher_that_no_transcript_is_known_of_nothing_is_said(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_corpora, "teacher_texts", lambda *_: {})
    cli_corpora.leakage("sandbox5-official", teacher=[_teacher(small)], lake=small.lake)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        f"{_teacher(small)}: no transcript it was trained on is known, so nothing is said of what it has read"
    )


def test_a_corpus_that_is_not_clear_or_not_there(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        empty = say("split", "meld7")
    assert (empty.code, "is no lake" in empty.err or "no lake" in empty.err) == (1, True)
    none = say("split", "mosei4-cmd")
    assert none.code == 1
    assert "--corpus" in none.err and "corpora of this protocol's reader are none: ingest one" in none.err
    unknown = say("split", "meld7", "--corpus", "melt")
    assert unknown.code == 1 and "'corpora/melt'" in unknown.err


def test_a_corpus_of_another_reader_is_refused_and_one_named_twice_counts_once(say: Say) -> None:
    wrong = say("split", "meld7", "--corpus", "films")
    assert wrong.code == 1
    assert "field '--corpus' is 'films', but protocol 'meld7' is for the reader 'meld'" in wrong.err
    once, twice = (say("split", "meld7", *["--corpus", "meld"] * n, "--json").out for n in (1, 2))
    assert once == twice != ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{", "it is no JSON (Expecting"), ("[1]", "it is no JSON object"), ('{"a": "1"}', "of whole numbers, such")],
)
def test_counts_that_are_none(say: Say, small: Small, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "counts.json").write_text(content)
    printed = say("check", "meld", str(small.roots["meld"]), "--expected", str(tmp_path / "counts.json"))
    assert printed.code == 1 and sentence in printed.err and "counts.json" in printed.err


def test_check_exits_1_until_partial_is_said(say: Say, small: Small, tmp_path: Path) -> None:
    tree = tmp_path / "MELD.Raw"
    shutil.copytree(small.roots["meld"], tree)
    refused = say("check", "meld", str(tree))
    assert refused.code == 1 and "expected" in refused.out
    assert say("check", "meld", str(tree), "--partial").code == 0
    found = json.loads(say("check", "meld", str(tree), "--json").out)
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps({count["what"]: count["found"] for count in found["counts"]}))
    assert found["clean"] is False
    clean = say("check", "meld", str(tree), "--expected", str(expected), "--json")
    assert clean.json["clean"] is True


def test_what_nobody_published_is_shown_part_by_part(say: Say, small: Small) -> None:
    printed = say("check", "films", str(small.roots["films"]))
    assert printed.code == 0, printed.err
    lines = [line.split("  ") for line in printed.out.splitlines()]
    titles = sorted(path.name for path in small.roots["films"].iterdir())
    assert [line[0].strip() for line in lines if line[0].strip() in titles] == titles
    assert "every count" not in printed.out and printed.out.endswith("no anomaly\n")


def test_the_fields_of_a_reader_may_be_given(say: Say, small: Small, tmp_path: Path) -> None:
    shutil.copytree(small.roots["iemocap"] / "Session1", tmp_path / "IEMOCAP" / "Session1")
    whole = say("check", "iemocap", str(tmp_path / "IEMOCAP"), "--json")
    first = say("check", "iemocap", str(tmp_path / "IEMOCAP"), "--field", "sessions=[1]", "--json")
    names = [{anomaly["name"] for anomaly in json.loads(said.out)["anomalies"]} for said in (whole, first)]
    assert "missing_session" in names[0] and "missing_session" not in names[1]
    (tmp_path / "clips.csv").write_text("path,speaker,label\nnone.wav,a,calm\n", encoding="utf-8")
    table = say("check", "table", str(tmp_path), "--field", "file=clips.csv", "--field", "text=")
    assert table.code == 1 and "there is no file none.wav" in table.out
    unnamed = say("check", "table", str(tmp_path), "--field", "clips.csv")
    assert unnamed.code == 2 and "'clips.csv' must be NAME=VALUE" in unnamed.err
    unknown = say("check", "tabel", str(tmp_path))
    assert unknown.code == 1 and "did you mean 'table'?" in unknown.err


def test_a_protocol_of_several_readers_is_asked_of_all_their_corpora(say: Say, small: Small, tmp_path: Path) -> None:
    protocol = tmp_path / "joint.toml"
    text = 'id = "joint"\nreader = ["meld", "films"]\ntitle = "t"\ntest = "split = \'test\'"\n'
    protocol.write_text(text, encoding="utf-8")
    both, one = (
        say("leakage", str(protocol), *chosen, "--json").json[0]["parts"] for chosen in ((), ("--corpus", "meld"))
    )
    count = "SELECT count(*) FROM utterances WHERE corpus IN ('meld', 'films') GROUP BY corpus = 'meld' ORDER BY ALL"
    n = [row[0] for row in small.warehouse.sql(count).fetchall()]
    assert sum(both.values()) == sum(n) and sum(one.values()) in n and both["test"] == one["test"]
    told = "joint: asked of films, meld together (--corpus names some of them)"
    for verb in ("split", "leakage"):
        assert say(verb, str(protocol)).out.startswith(told)
        assert "asked of" not in say(verb, str(protocol), "--corpus", "meld").out
    assert say("split", str(protocol), "--json").json["corpora"] == ["films", "meld"]


def _teacher(small: Small) -> str:
    return next(
        a.key for a in small.warehouse.artifacts("checkpoint") if a.request.params["student"].get("task") == "classify"
    )
