"""EmotionLines as rows: the label, the votes beside it, and both encodings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from features.corpora.emotionlines import EmotionLines
from features.sandbox import emotionlines
from features.sandbox.traps.emotionlines import TRAPS
from warehouse.errors import MalformedSource, MissingFolder


def write(root: Path, split: str, dialogues: Any) -> None:
    root.mkdir(exist_ok=True)
    (root / f"friends.{split}.json").write_text(json.dumps(dialogues), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    line = {"speaker": "Clara", "utterance": "I\x92m  not sure\x85", "emotion": "joy", "annotation": "1310000"}
    other = line | {"speaker": "Clara\x92s Father", "emotion": "non-neutral", "annotation": "2210000"}
    write(tmp_path / "Friends", "train", [[line, other], [line]])
    for split in ("dev", "test"):
        write(tmp_path / "Friends", split, [[other]])
    return tmp_path


def test_text_speaker_dialogue_turn_and_split(root: Path, read_all) -> None:
    rows = read_all(EmotionLines(), root)
    assert [row["utterance_id"] for row in rows.utterances] == [
        "c-train-dia0_utt0", "c-train-dia0_utt1", "c-train-dia1_utt0", "c-dev-dia0_utt0", "c-test-dia0_utt0",
    ]  # fmt: skip
    second = rows.utterances[1]
    assert (second["verbatim"], second["text"]) == ("I\x92m  not sure\x85", "I’m not sure…")
    assert (second["speaker_id"], second["dialogue_id"], second["turn"]) == ("Clara’s Father", "train_dia0", 1)
    assert (second["split"], second["audio_id"], second["end_s"]) == ("train", "", 0.0)
    assert second["path"] == "Friends/friends.train.json"


def test_the_label_and_the_votes_are_kept_apart(root: Path, read_all) -> None:
    rows = read_all(EmotionLines(), root)
    own = [row for row in rows.labels if row["utterance_id"] == "c-train-dia0_utt0"]
    assert {row["scheme"]: row["number"] for row in own if row["rater"] == "votes"} == {
        "emotion/neutral": 1.0, "emotion/joy": 3.0, "emotion/sadness": 1.0, "emotion/fear": 0.0, "emotion/anger": 0.0,
        "emotion/surprise": 0.0, "emotion/disgust": 0.0,
    }  # fmt: skip
    assert [(row["scheme"], row["value"], row["number"]) for row in own if row["rater"] == "summary"] == [
        ("emotion", "joy", None)
    ]


def test_both_encodings_give_the_same_text(root: Path, read_all) -> None:
    older = [row["text_id"] for row in read_all(EmotionLines(), root).utterances]
    for path in (root / "Friends").iterdir():
        text = path.read_text().replace("\\u0092", "’").replace("\\u0085", "…")
        path.write_text(text, encoding="utf-8")
    assert [row["text_id"] for row in read_all(EmotionLines(), root).utterances] == older


def test_an_utterance_with_a_fault_is_a_failure_and_its_neighbours_are_read(root: Path, read_all) -> None:
    whole = read_all(EmotionLines(), root)
    path = root / "Friends/friends.train.json"
    write(root / "Friends", "train", [*json.loads(path.read_bytes()), [{"speaker": "Clara"}], []])
    rows = read_all(EmotionLines(), root)
    assert [(row["utterance_id"], row["step"], row["reason"]) for row in rows.failures] == [
        ("c-train-dia2_utt0", "corpora.emotionlines", "it has not the texts speaker, utterance, emotion, annotation"),
        ("c-train-dia3", "corpora.emotionlines", "it has no utterance"),
    ]
    assert [row["utterance_id"] for row in rows.utterances] == [row["utterance_id"] for row in whole.utterances]
    assert (rows.labels, whole.failures) == (whole.labels, [])


def test_a_file_that_cannot_be_read_is_refused(root: Path, read_all) -> None:
    (root / "Friends/friends.train.json").write_text("{}")
    with pytest.raises(MalformedSource, match=r"Friends/friends\.train\.json: it is no list of dialogues"):
        read_all(EmotionLines(), root)


def test_the_joint_file_of_emotionx_is_refused(root: Path) -> None:
    TRAPS["joint_file"](root)
    assert EmotionLines().units(root)["dev"] == ["Friends/friends.dev.json"], "beside the three it is passed over"
    (root / "Friends/friends.dev.json").unlink()
    complaint = r"Friends/friends\.json: it joins train, dev and test, and the last is MELD's test text: put friends"
    with pytest.raises(MalformedSource, match=complaint):
        EmotionLines().units(root)
    (root / "Friends/friends.json").unlink()
    with pytest.raises(MissingFolder, match=r"'friends\.dev\.json' of EmotionLines is not at .*: unpack EmotionLines"):
        EmotionLines().units(root)


@pytest.mark.slow
def test_a_tree_of_the_published_size_is_read_whole(tmp_path: Path, read_all) -> None:
    emotionlines.write(tmp_path / "EmotionLines")
    rows = read_all(EmotionLines(), tmp_path / "EmotionLines")
    assert Counter(row["split"] for row in rows.utterances) == {"train": 10_561, "dev": 1_178, "test": 2_764}
    assert Counter(row["rater"] for row in rows.labels) == {"summary": 14_503, "votes": 7 * 14_503}
    assert len({row["dialogue_id"] for row in rows.utterances}) == 1_000
