"""The commands about what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.cli_trained import clip_rows
from flows.clips import Clip
from tests.flows.spoken import Spoken


def emolake(spoken: Spoken, *arguments: str) -> Result:
    environment = {"EMOLAKE_WEIGHTS": str(spoken.weights)}
    return CliRunner().invoke(app, [*arguments, "--lake", str(spoken.warehouse.root)], env=environment)


def test_predict_prints_a_row_per_clip_and_how_it_was_made(spoken: Spoken) -> None:
    clips = sorted(spoken.clips.glob("test_*.wav"))
    printed = emolake(spoken, "predict", "spoken:crossed", *map(str, clips), str(spoken.clips / "none.wav"))
    assert printed.exit_code == 0, printed.output
    first, head, *rows = printed.stdout.splitlines()
    assert first == "spoken:crossed: mean of the probabilities of 2 fits (folds 'all'; seeds 0, 1)"
    assert head.split() == ["file", "class", "angry", "sad", "heard", "why", "not"] or "why not" in head
    assert len(rows) == len(clips) + 1 and "there is no such file" in rows[-1]


def test_predict_as_json_has_the_card(spoken: Spoken) -> None:
    clip = next(spoken.clips.glob("test_*.wav"))
    found = json.loads(emolake(spoken, "predict", "spoken:linear", str(clip), "--json").stdout)
    assert found["card"]["protocol"]["id"] == "two" and found["fits"][0]["fold"] == "all"
    [row] = found["clips"]
    assert row["file"] == str(clip) and sum(row["probabilities"].values()) == pytest.approx(1)


def test_predict_says_what_it_cannot(spoken: Spoken, tmp_path: Path) -> None:
    nothing = emolake(spoken, "predict", "spoken:linear", str(tmp_path))
    assert "name a clip, or a folder that holds some" in str(nothing.exception)
    two = emolake(spoken, "predict", "spoken:read", *map(str, sorted(spoken.clips.glob("*.wav"))[:2]), "--text", "Hi")
    assert two.exit_code == 2 and "is for one clip, but there are 2" in two.output
    failed = emolake(spoken, "predict", "spoken:linear", str(tmp_path / "none.wav"))
    assert failed.exit_code == 1 and "there is no such file" in failed.stdout


def test_card_is_printed_or_written(spoken: Spoken, tmp_path: Path) -> None:
    printed = emolake(spoken, "card", "spoken:read")
    assert printed.stdout.startswith("---\nlibrary_name: emolake\n") and "## Licences" in printed.stdout
    assert emolake(spoken, "card", "spoken:read", "--out", str(tmp_path / "card.md")).stdout == ""
    assert (tmp_path / "card.md").read_text() == printed.stdout
    emolake(spoken, "card", "spoken:read", "--out", str(tmp_path / "card.html"))
    assert (tmp_path / "card.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads(emolake(spoken, "card", "spoken:read", "--json").stdout)["title"].startswith("spoken:read")
    several = emolake(spoken, "card", "spoken:crossed")
    assert "must be given, for it has 2 fits" in str(several.exception)


def test_export_lists_what_it_wrote(spoken: Spoken, tmp_path: Path) -> None:
    printed = emolake(spoken, "export", "spoken:linear", str(tmp_path / "given"), "--to", "onnx", "--json")
    assert [Path(row["file"]).name for row in json.loads(printed.stdout)] == ["README.md", "model.onnx"]


def test_export_for_a_purpose_says_what_forbids_it(spoken: Spoken, tmp_path: Path) -> None:
    refused = emolake(spoken, "export", "spoken:linear", str(tmp_path / "given"), "--to", "onnx", "--for", "public")
    assert refused.exit_code == 1 and "'spoken:linear' cannot be exported for public use" in str(refused.exception)
    wrong = emolake(spoken, "export", "spoken:linear", str(tmp_path / "given"), "--to", "onnx", "--for", "fun")
    assert wrong.exit_code == 2


def test_columns_without_anything_are_left_out() -> None:
    rows, columns = clip_rows([Clip("a.wav", "HI", "heard", {"angry": 0.25, "sad": 0.75})])
    assert columns == ["file", "class", "angry", "sad", "heard"]
    assert rows[0]["class"] == "sad" and rows[0]["angry"] == "0.250"
    assert clip_rows([Clip("a.wav", failure="no")])[1] == ["file", "class", "why not"]
