"""XED as rows: real lines, and the three ways to make utterances of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from features.corpora.xed import Xed
from warehouse.errors import MalformedSource, MissingFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "AnnotatedData").mkdir()
    lines = ["[PERSON] , come on !\t5, 1", "Yours ?\t7", "% ? !\t2", "What is it ?\t7, 1, 5"]
    (tmp_path / "AnnotatedData/en-annotated.tsv").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    neutral = ["9\tIt is late.", "9\tNo.", *["9\tA line."] * 71, "\t\t\t\t", "9\tThe end.\t\t"]
    (tmp_path / "AnnotatedData/neu_en.txt").write_text("\n".join(neutral), newline="\n")
    return tmp_path


def test_one_utterance_per_label(root: Path, read_all) -> None:
    rows = read_all(Xed(), root)
    labels = {row["utterance_id"]: row["value"] for row in rows.labels}
    assert len(labels) == len(rows.labels) == len(rows.utterances) == 7 + 74
    assert [name for name in labels if "l00004" in name and "annotated" in name] == [
        f"c-annotated-l00004-{label}" for label in ("surprise", "anger", "joy")
    ]  # fmt: skip
    first = rows.utterances[0]
    assert (first["verbatim"], first["text"]) == ("[PERSON] , come on !", "[PERSON], come on!")
    assert first["attributes"] == {"line": "1", "labels": "joy anger"}
    assert (first["start_s"], first["end_s"], first["channel"], first["audio_id"]) == (0.0, 0.0, "", "")
    assert {row["recording_id"] for row in rows.utterances if row["unit"] == "neutral"} != {first["recording_id"]}
    last = rows.utterances[-1]
    assert (last["utterance_id"], last["verbatim"], last["attributes"]["line"]) == (
        "c-neutral-l00075-neutral", "The end.", "75",
    )  # fmt: skip
    assert not rows.failures, "line 74 is blank in every copy"


def test_one_utterance_per_line(root: Path, read_all) -> None:
    rows = read_all(Xed(rows="line"), root)
    assert len(rows.utterances) == 4 + 74
    own = [row["value"] for row in rows.labels if row["utterance_id"] == "c-annotated-l00004"]
    assert own == ["surprise", "anger", "joy"]


def test_one_label_per_line_by_the_later_rule(root: Path, read_all) -> None:
    rows = read_all(Xed(rows="single"), root)
    labels = {row["utterance_id"]: row["value"] for row in rows.labels}
    assert {name: label for name, label in labels.items() if "annotated" in name} == {
        "c-annotated-l00001": "joy", "c-annotated-l00004": "anger",
    }, "lines of one word, or without letters, are left out"  # fmt: skip
    assert "c-neutral-l00001" in labels and "c-neutral-l00002" not in labels


def test_a_line_that_cannot_be_read_is_a_failure(root: Path, read_all) -> None:
    path = root / "AnnotatedData/en-annotated.tsv"
    path.write_bytes(path.read_bytes().replace(b"\t7\r\n", b"\t9\r\n").replace(b"\t2\r\n", b"\r\n"))
    rows = read_all(Xed(), root)
    assert {row["utterance_id"]: row["reason"] for row in rows.failures} == {
        "c-annotated-l00002": "line 2 has the unknown label '9'",
        "c-annotated-l00003": "line 3 is not the text, a tab and labels such as '1, 5'",
    }


def test_files_that_are_missing_or_not_utf8(root: Path, tmp_path: Path, read_all) -> None:
    path = root / "AnnotatedData/en-annotated.tsv"
    path.write_bytes(b"\xff\t1\r\n")
    with pytest.raises(MalformedSource, match=r"en-annotated\.tsv: it is not UTF-8 \(invalid start byte at byte 0\)"):
        read_all(Xed(), root)
    path.unlink()
    with pytest.raises(MissingFolder, match=r"'en-annotated\.tsv' of XED is not at .*: copy the folder AnnotatedData"):
        Xed().units(root)


@pytest.mark.slow
def test_the_published_files_are_read_whole(real: Path, read_all) -> None:
    rows = read_all(Xed(), real / "xed")
    assert len(rows.utterances) == 22_422 + 9_674 and not rows.failures
    counts = Counter(row["value"] for row in rows.labels)
    assert (counts["sadness"], counts["joy"], counts["neutral"]) == (2_464, 2_833, 9_674)
    assert len(read_all(Xed(rows="line"), real / "xed").utterances) == 17_528 + 9_674
    assert not [row["text"] for row in rows.utterances if not row["text"] or "♪" in row["text"] or " ," in row["text"]]
