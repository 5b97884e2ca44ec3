from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows import cli_corpora
from tests.flows.small import Small, emolake


def test_protocols_are_listed(small: Small) -> None:
    rows = json.loads(small.cli("protocols", "--json").stdout)
    assert {"iemocap4-loso5", "meld7", "sandbox5-official"} <= {row["id"] for row in rows}
    assert "iemocap4-loso5" in small.cli("protocols").stdout


def test_a_split_is_counted_per_fold_part_class_and_speaker(small: Small) -> None:
    found = json.loads(small.cli("split", "sandbox4-loso5", "--json").stdout)
    rows = [row for row in found["split"] if row["by"] == "class" and row["part"] == "test"]
    assert {row["fold"] for row in rows} == {"1", "2", "3", "4", "5"}
    [(n_labelled,)] = small.warehouse.sql("""
        SELECT count(*) FROM labels JOIN utterances USING (utterance_id) WHERE corpus = 'iemocap'
        AND scheme = 'emotion' AND rater = 'summary' AND value IN ('ang', 'hap', 'exc', 'neu', 'sad')
    """).fetchall()
    assert sum(row["n_utterances"] for row in rows) == n_labelled


def test_a_split_with_an_empty_part_says_so_and_what_to_do(small: Small) -> None:
    printed = small.cli("split", "films-unlabelled")
    assert printed.returncode == 0, printed.stderr
    *_, counts, sentence = printed.stdout.splitlines()
    assert counts == "no count is expected"
    assert (
        sentence.startswith("protocol 'films-unlabelled' puts none of ") and "'films-unlabelled:dev=none'" in sentence
    )
    assert json.loads(small.cli("split", "films-unlabelled", "--json").stdout)["empty"] == [sentence]
    assert small.cli("split", "films-unlabelled:dev=none").stdout.endswith("no count is expected\n")


def test_a_protocol_whose_counts_differ_says_so_and_by_how_much(small: Small) -> None:
    printed = small.cli("split", "iemocap4-loso5")
    assert printed.returncode == 0
    assert "expected" in printed.stdout and "1708" in printed.stdout


def test_leakage_names_what_is_shared_and_what_was_compared(small: Small) -> None:
    found = json.loads(small.cli("leakage", "sandbox5-official", "--teacher", _teacher(small), "--json").stdout)
    (fold,) = found
    assert len(fold["compared"]) == 64 and {"train", "dev", "test"} <= set(fold["parts"])
    sentences = small.cli("leakage", "sandbox4-loso5").stdout.splitlines()
    assert sentences and all(line.startswith("sandbox4-loso5") for line in sentences)


def test_of_a_teacher_that_no_transcript_is_known_of_nothing_is_said(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_corpora, "teacher_texts", lambda *_: {})
    cli_corpora.leakage("sandbox5-official", teacher=[_teacher(small)], lake=small.lake)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        f"{_teacher(small)}: no transcript it was trained on is known, so nothing is said of what it has read"
    )


def test_a_corpus_that_is_not_clear_or_not_there(small: Small, tmp_path: Path) -> None:
    empty = emolake("split", "meld7", cwd=tmp_path)
    assert (empty.returncode, "is no lake" in empty.stderr or "no lake" in empty.stderr) == (1, True)
    none = small.cli("split", "mosei4-cmd")
    assert none.returncode == 1
    assert "--corpus" in none.stderr and "corpora of this protocol's reader are none: ingest one" in none.stderr
    unknown = small.cli("split", "meld7", "--corpus", "melt")
    assert unknown.returncode == 1 and "'corpora/melt'" in unknown.stderr


def test_a_corpus_of_another_reader_is_refused_and_one_named_twice_counts_once(small: Small) -> None:
    wrong = small.cli("split", "meld7", "--corpus", "films")
    assert wrong.returncode == 1
    assert "field '--corpus' is 'films', but protocol 'meld7' is for the reader 'meld'" in wrong.stderr
    once, twice = (small.cli("split", "meld7", *["--corpus", "meld"] * n, "--json").stdout for n in (1, 2))
    assert once == twice != ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{", "it is no JSON (Expecting"), ("[1]", "it is no JSON object"), ('{"a": "1"}', "of whole numbers, such")],
)
def test_counts_that_are_none(small: Small, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "counts.json").write_text(content)
    printed = small.cli("check", "meld", str(small.roots["meld"]), "--expected", str(tmp_path / "counts.json"))
    assert printed.returncode == 1 and sentence in printed.stderr and "counts.json" in printed.stderr


def test_check_exits_1_until_partial_is_said(small: Small, tmp_path: Path) -> None:
    tree = tmp_path / "MELD.Raw"
    shutil.copytree(small.roots["meld"], tree)
    refused = small.cli("check", "meld", str(tree))
    assert refused.returncode == 1 and "expected" in refused.stdout
    assert small.cli("check", "meld", str(tree), "--partial").returncode == 0
    found = json.loads(small.cli("check", "meld", str(tree), "--json").stdout)
    expected = tmp_path / "expected.json"
    expected.write_text(json.dumps({count["what"]: count["found"] for count in found["counts"]}))
    assert found["clean"] is False
    clean = small.cli("check", "meld", str(tree), "--expected", str(expected), "--json")
    assert (clean.returncode, json.loads(clean.stdout)["clean"]) == (0, True)


def test_what_nobody_published_is_shown_part_by_part(small: Small) -> None:
    printed = small.cli("check", "films", str(small.roots["films"]))
    assert printed.returncode == 0, printed.stderr
    lines = [line.split("  ") for line in printed.stdout.splitlines()]
    titles = sorted(path.name for path in small.roots["films"].iterdir())
    assert [line[0].strip() for line in lines if line[0].strip() in titles] == titles
    assert "every count" not in printed.stdout and printed.stdout.endswith("no anomaly\n")


def test_the_fields_of_a_reader_may_be_given(small: Small, tmp_path: Path) -> None:
    shutil.copytree(small.roots["iemocap"] / "Session1", tmp_path / "IEMOCAP" / "Session1")
    whole = small.cli("check", "iemocap", str(tmp_path / "IEMOCAP"), "--json")
    first = small.cli("check", "iemocap", str(tmp_path / "IEMOCAP"), "--field", "sessions=[1]", "--json")
    names = [{anomaly["name"] for anomaly in json.loads(said.stdout)["anomalies"]} for said in (whole, first)]
    assert "missing_session" in names[0] and "missing_session" not in names[1]
    (tmp_path / "clips.csv").write_text("path,speaker,label\nnone.wav,a,calm\n", encoding="utf-8")
    table = small.cli("check", "table", str(tmp_path), "--field", "file=clips.csv", "--field", "text=")
    assert table.returncode == 1 and "there is no file none.wav" in table.stdout
    unnamed = small.cli("check", "table", str(tmp_path), "--field", "clips.csv")
    assert unnamed.returncode == 2 and "'clips.csv' must be NAME=VALUE" in unnamed.stderr
    unknown = small.cli("check", "tabel", str(tmp_path))
    assert unknown.returncode == 1 and "did you mean 'table'?" in unknown.stderr


def test_a_protocol_of_several_readers_is_asked_of_all_their_corpora(small: Small, tmp_path: Path) -> None:
    protocol = tmp_path / "joint.toml"
    text = 'id = "joint"\nreader = ["meld", "films"]\ntitle = "t"\ntest = "split = \'test\'"\n'
    protocol.write_text(text, encoding="utf-8")
    both, one = (
        json.loads(small.cli("leakage", str(protocol), *chosen, "--json").stdout)[0]["parts"]
        for chosen in ((), ("--corpus", "meld"))
    )
    count = "SELECT count(*) FROM utterances WHERE corpus IN ('meld', 'films') GROUP BY corpus = 'meld' ORDER BY ALL"
    n = [row[0] for row in small.warehouse.sql(count).fetchall()]
    assert sum(both.values()) == sum(n) and sum(one.values()) in n and both["test"] == one["test"]
    told = "joint: asked of films, meld together (--corpus names some of them)"
    for verb in ("split", "leakage"):
        assert small.cli(verb, str(protocol)).stdout.startswith(told)
        assert "asked of" not in small.cli(verb, str(protocol), "--corpus", "meld").stdout
    assert json.loads(small.cli("split", str(protocol), "--json").stdout)["corpora"] == ["films", "meld"]


def _teacher(small: Small) -> str:
    return next(
        a.key for a in small.warehouse.artifacts("checkpoint") if a.request.params["student"].get("task") == "classify"
    )
