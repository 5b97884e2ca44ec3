"""New clips are labelled as the same sound and text was in the model's own test part."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from features.extract import extract
from features.inventory import row_key
from flows.clips import Clip, files_below, label_clips
from flows.origins import Host
from flows.trained import trained
from models import checkpoint
from tests.flows.spoken import Spoken
from warehouse.catalog import build
from warehouse.errors import InvalidField, NoClasses, UnknownName
from warehouse.schema import PREDICTIONS
from warehouse.tables import read_table


def label(spoken: Spoken, model: str, files: list[Path], **settings: str) -> list[Clip]:
    fits = trained(spoken.warehouse, f"spoken:{model}")
    return label_clips(spoken.warehouse, fits, files, Host(spoken.weights), **settings)[0]


@pytest.mark.parametrize("model", ["linear", "words", "read", "crossed"])
def test_a_clip_gets_what_the_recipe_said_of_it(spoken: Spoken, model: str) -> None:
    fits = trained(spoken.warehouse, f"spoken:{model}")
    keys = {fit.checkpoint.digest for fit in fits}
    wanted: dict[str, list[dict[str, float]]] = {}
    for artifact in spoken.warehouse.artifacts("predictions"):
        if artifact.request.inputs["checkpoint"][0] in keys:
            for row in read_table(artifact.path("predictions.parquet"), PREDICTIONS).to_pylist():
                if row["part"] == "test":
                    said = dict(zip(row["classes"], row["probabilities"], strict=True))
                    wanted.setdefault(row["utterance_id"].removeprefix("clips-"), []).append(said)
    assert wanted
    n_before = len([a for a in spoken.warehouse.artifacts() if "canary" not in a.request.kind])
    clips = label(spoken, model, [spoken.clips / f"{name}.wav" for name in wanted])
    for clip, several in zip(clips, wanted.values(), strict=True):
        assert len(several) == len(fits) and not clip.failure
        for name, p in clip.probabilities.items():
            assert p == pytest.approx(sum(said[name] for said in several) / len(fits), abs=1e-6)
        assert clip.label == max(clip.probabilities, key=lambda name: clip.probabilities[name])
        assert clip.text_from == ("" if model == "linear" else "beside")
    assert len([a for a in spoken.warehouse.artifacts() if "canary" not in a.request.kind]) == n_before
    assert not list((spoken.warehouse.root / ".scratch").glob("*"))


def test_what_cannot_be_treated_is_a_row(spoken: Spoken, tmp_path: Path) -> None:
    good = next(spoken.clips.glob("test_*.wav"))
    shutil.copyfile(good, tmp_path / "good.wav")
    shutil.copyfile(good, tmp_path / "same.wav")
    (tmp_path / "broken.wav").write_bytes(b"RIFF and nothing more")
    (tmp_path / "notes.md").write_text("no sound")
    files = files_below([tmp_path, tmp_path / "absent.wav"])
    assert [path.name for path in files] == ["broken.wav", "good.wav", "same.wav", "absent.wav"]
    broken, own, same, absent = label(spoken, "linear", files)
    assert broken.failure.startswith("broken.wav cannot be decoded as audio") and broken.label == ""
    assert absent.failure == "there is no such file"
    assert own.probabilities == same.probabilities and own.label
    assert own.as_json()["probabilities"] == own.probabilities
    [only] = label(spoken, "linear", files[:1])
    assert only.failure and not only.probabilities


def test_words_are_given_lie_beside_or_are_heard(spoken: Spoken, tmp_path: Path) -> None:
    good = next(spoken.clips.glob("test_*.wav"))
    for name in ("said", "silent", "latin"):
        shutil.copyfile(good, tmp_path / f"{name}.wav")
    (tmp_path / "said.txt").write_text("How dare you\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    files = files_below([tmp_path])
    latin, said, silent = label(spoken, "read", files)
    assert latin.failure == "latin.txt beside it is not UTF-8"
    assert (said.text_from, silent.text_from) == ("beside", "heard")
    assert silent.text and silent.text == silent.text.upper()
    [given] = label(spoken, "read", [tmp_path / "silent.wav"], text="How dare you")
    assert given.text_from == "given" and given.probabilities == pytest.approx(said.probabilities, abs=1e-6)
    [mute] = label(spoken, "read", [tmp_path / "silent.wav"], text=" ")
    assert mute.failure == "it has no words"
    with pytest.raises(UnknownName, match="no feature of extractor 'asr' 'herd'; did you mean 'heard'"):
        label(spoken, "read", [tmp_path / "silent.wav"], recogniser="herd")


def test_a_lake_without_a_recogniser_says_what_to_give(
    spoken: Spoken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(next(spoken.clips.glob("test_*.wav")), tmp_path / "silent.wav")
    fits, refs = trained(spoken.warehouse, "spoken:read"), spoken.warehouse.refs
    monkeypatch.setattr(spoken.warehouse, "refs", lambda group: {} if group == "features" else refs(group))
    with pytest.raises(InvalidField, match=r"is read by the model, and 1 clips have none; give --text, put a \.txt of"):
        label_clips(spoken.warehouse, fits, [tmp_path / "silent.wav"], Host(spoken.weights))


def test_of_several_recognisers_one_must_be_chosen(spoken: Spoken, tmp_path: Path) -> None:
    shutil.copyfile(next(spoken.clips.glob("test_*.wav")), tmp_path / "silent.wav")
    lake = spoken.warehouse
    digest = lake.refs("weights")["hearer"]["digest"]
    host = Host(spoken.weights)
    other = build("features.extractors", "asr", {"weights": digest, "window_s": 20.0}, "the test")
    rows = extract(lake, "asr", ["clips"], checkpoint=spoken.weights / "hearer", window_s=20.0)
    lake.set_ref("features/again", {"plugin_key": row_key("extractors.asr", other), "needs": "audio", "hops_s": {}})
    fits = trained(lake, "spoken:read")
    try:
        assert rows
        with pytest.raises(InvalidField, match=r"several that hear words \(again, heard\): choose one with --asr"):
            label_clips(lake, fits, [tmp_path / "silent.wav"], host)
        [clip], _ = label_clips(lake, fits, [tmp_path / "silent.wav"], host, recogniser="again")
        assert clip.text_from == "heard" and clip.label
    finally:
        (lake.root / "refs" / "features" / "again.json").unlink()


def test_a_model_that_knows_no_classes_labels_nothing(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    load = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda folder: (replace(load(folder)[0], classes=()), load(folder)[1]))
    with pytest.raises(NoClasses, match="knows no classes"):
        label(spoken, "linear", [next(spoken.clips.glob("test_*.wav"))])
