"""What something rests on in the end."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.warehouse.small_lake import MAIN, SmallLake, small_lake, utterance
from warehouse import Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.grounds import differing, grounds
from warehouse.schema import SPLIT
from warehouse.store import environment


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def test_files_with_digest_and_the_seconds_that_are_heard(small: SmallLake) -> None:
    found = grounds(small.lake.artifacts(), [small.named["voice main"].key])
    [file] = found.files
    assert (file["corpus"], file["path"], file["sha256"]) == ("main", "wav/u1.wav", MAIN["recording_id"])
    assert (file["n_utterances"], file["seconds"], file["record"]) == (1, 2.0, small.named["raw main"].key)
    both = grounds(small.lake.artifacts(), [small.named["metrics"].key])
    assert [row["corpus"] for row in both.corpora()] == ["main", "other"]
    assert json.loads(json.dumps(both.as_json()))["files"] == [dict(file) for file in both.files]


def test_a_stretch_counts_once_and_a_line_of_text_each_time(small: SmallLake) -> None:
    recording = MAIN["recording_id"]
    silent = {"audio_id": "", "start_s": 0.0, "end_s": 0.0, "recording_id": "text"}
    rows = [
        utterance("more", "m1", "One.", recording), utterance("more", "m2", "The same, told again.", recording),
        utterance("more", "m3", "Line one.") | silent, utterance("more", "m4", "Line two.") | silent,
    ]  # fmt: skip
    reading = small.reading("more", rows)
    found = {row["sha256"]: row for row in grounds(small.lake.artifacts(), [reading.key]).files}
    assert (found[recording]["n_utterances"], found[recording]["seconds"]) == (1, 2.0)
    assert (found["text"]["n_utterances"], found["text"]["seconds"]) == (2, 0.0)


def test_seconds_are_the_same_whenever_they_are_asked_for(small: SmallLake) -> None:
    keys, draw = [], random.Random(0)
    for corpus in ("first", "second", "third", "fourth"):
        rows = [
            utterance(corpus, f"{corpus}{n}", f"{n}.", f"recording {n % 9}")
            | {"audio_id": f"{corpus}{n}", "start_s": 0.0, "end_s": draw.random() * 10 ** draw.randrange(14)}
            for n in range(100)
        ]  # fmt: skip
        keys.append(small.reading(corpus, rows).key)
    artifacts = small.lake.artifacts()
    found = [[row["seconds"] for row in grounds(artifacts, keys).files] for _ in range(8)]
    assert all(seconds == found[0] for seconds in found)


def test_protocols_with_their_folds(small: SmallLake) -> None:
    for fold in ("2", "1"):
        rules = {"test": "session = $fold", "dev": ""}
        small.rows(f"fold {fold}", "split", "flows.protocol", {"split": ([], SPLIT)}, {},
                   protocol="p", rules=rules, fold=fold)  # fmt: skip
    keys = [small.named["fold 1"].key, small.named["fold 2"].key, small.named["split"].key]
    assert grounds(small.lake.artifacts(), keys).protocols == [
        {"protocol": "p", "test": "session = $fold", "dev": "", "folds": ["1", "2"]}
    ]


def test_steps_with_versions_and_what_was_another_environment(small: SmallLake) -> None:
    features = small.named["voice main"]
    path = features.folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest.pop("seal", None)
    manifest["environment"]["packages"]["numpy"] = "1.0"
    manifest["environment"]["packages"]["gone"] = "3"
    path.unlink()
    path.write_text(json.dumps(manifest))
    found = grounds(Warehouse(small.lake.root).artifacts(), [features.key, small.named["voice other"].key])
    steps = {row["step"]: row for row in found.steps}
    assert set(steps) == {"features.raw", "corpora.table", "extractors.voice"}
    voice = steps["extractors.voice"]
    assert (voice["artifacts"], voice["version"], voice["differing"]) == (2, 1, ["gone 3", "numpy 1.0"])
    assert voice["from"] <= voice["to"] and steps["corpora.table"]["differing"] == []


def test_the_environment_of_now_does_not_differ_from_itself() -> None:
    assert differing(environment(), environment()) == [] == differing({}, environment())
