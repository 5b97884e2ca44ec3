"""What a clip went into: rows, models and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.small_lake import MAIN, OTHER, SmallLake, small_lake, utterance
from warehouse import Artifact
from warehouse.audit.subject import subject_of
from warehouse.audit.touched import CHOSEN, INHERITED, LEARNED, MADE, SCORED, Touched, by_step, touched
from warehouse.schema import METRICS, PREDICTIONS, SPLIT


@pytest.fixture
def small(tmp_path: Path) -> SmallLake:
    return small_lake(tmp_path / "lake")


def names_of(small: SmallLake, found: Touched) -> Mapping[str, set[str]]:
    """The names in the small lake of what holds, learned and inherits."""
    names = {a.key: name for name, a in small.named.items()}
    lists = {"holding": found.holding, "learned": found.learned, "heirs": found.heirs}
    return {what: {names.get(use.artifact.key, "older") for use in uses} for what, uses in lists.items()}


def asked(small: SmallLake, reference: str) -> Touched:
    return touched(small.lake, subject_of(small.lake, reference))


def test_a_clip_that_was_learned_from_and_one_that_was_scored(small: SmallLake) -> None:
    learned = asked(small, "v1")
    assert names_of(small, learned)["learned"] == {"checkpoint"} and learned.learned[0].how == LEARNED
    assert names_of(small, learned)["heirs"] == {"predictions", "metrics"}
    [number] = learned.numbers
    assert number.how == (SCORED, LEARNED) and number.row["value"] == 0.5 and number.reports == ()
    scored = asked(small, "u1")
    assert names_of(small, scored)["learned"] == set() == names_of(small, scored)["heirs"]
    assert [number.how for number in scored.numbers] == [(SCORED,)]
    assert {"truth", "labels main", "voice main"} <= names_of(small, scored)["holding"]


def test_a_recording_is_its_utterances(small: SmallLake) -> None:
    by_clip, by_file = asked(small, "v1"), asked(small, OTHER["recording_id"])
    assert names_of(small, by_clip) == names_of(small, by_file)


def split_of(small: SmallLake, name: str, **parts: str) -> Artifact:
    rows = [{"utterance_id": u, "part": part, "label": None} for u, part in parts.items()]
    split = {"split": (rows, SPLIT)}
    return small.rows(name, "split", "flows.split", split, {"utterances": [small.utterances]}, called=name)


def fit(small: SmallLake, name: str, split: Artifact, **inputs: Artifact) -> Artifact:
    def weights(folder: Path) -> None:
        (folder / "weights.bin").write_text(name)

    more = {role: [a] for role, a in inputs.items()}
    return small.make(name, "checkpoint", "students.tiny", weights, {"split": [split], **more}, called=name)


def predict(small: SmallLake, name: str, checkpoint: Artifact, *utterances: str) -> Artifact:
    rows: list[dict[str, Any]] = [
        {"utterance_id": one, "part": "test", "predicted": "sad", "classes": ["sad"], "probabilities": [1.0]}
        for one in utterances
    ]
    tables = {"predictions": (rows, PREDICTIONS)}
    return small.rows(name, "predictions", "models.predict", tables, {"checkpoint": [checkpoint]}, called=name)


def report_on(small: SmallLake, *predictions: Artifact) -> None:
    rows = [
        {"protocol": "p", "variant": str(n), "fold": "all", "seed": 0, "part": "test", "metric": "uar", "value": n / 10,
         "n_utterances": 1, "predictions": one.digest, "selected_on": "dev"}
        for n, one in enumerate(predictions)
    ]  # fmt: skip
    inputs = {"predictions": predictions}
    metrics = small.rows("numbers", "metrics", "flows.score", {"metrics": (rows, METRICS)}, inputs)
    report = small.make("report", "report", "flows.report", lambda f: (f / "r").touch(), {"metrics": [metrics]})
    small.lake.set_ref("reports/all", {"artifact": report.key, "metrics": metrics.key})


def test_numbers_of_models_that_learned_were_chosen_inherit_or_have_nothing_to_do_with_it(small: SmallLake) -> None:
    """Of one corpus: what stands below the clip by its corpus alone is not touched by it."""
    other = utterance("main", "u2", "Another.")
    small.utterances = small.reading("main", [MAIN, other], version=2)
    fits = {
        "learned": fit(small, "learned", split_of(small, "s1", u1="train", u2="test")),
        "chosen": fit(small, "chosen", split_of(small, "s2", u1="dev", u2="train")),
        "scored": fit(small, "scored", split_of(small, "s3", u1="test", u2="train")),
    }
    fits["began"] = fit(small, "began", split_of(small, "s4", u2="train"), init=fits["learned"])
    fits["apart"] = fit(small, "apart", split_of(small, "s5", u2="train", u3="test"))
    made = [
        predict(small, f"by {name}", one, *(["u1"] if name == "scored" else ["u2", name])) for name, one in fits.items()
    ]
    report_on(small, *made)
    found = asked(small, "u1")
    own = {number.row["variant"]: number for number in found.numbers if number.reports}
    assert {list(fits)[int(n)]: number.how for n, number in own.items()} == {
        "learned": (LEARNED,), "chosen": (CHOSEN,), "scored": (SCORED,), "began": (INHERITED,),
    }  # fmt: skip
    assert {number.reports for number in own.values()} == {("reports/all",)}
    assert names_of(small, found)["learned"] == {"learned", "chosen"}, "not the one that scored it"
    assert "by apart" not in names_of(small, found)["heirs"] and "began" in names_of(small, found)["heirs"]


def test_an_aligner_learns_from_all_it_heard(small: SmallLake) -> None:
    model = small.make(
        "model", "acoustic_model", "features.mfa", lambda f: (f / "m").touch(), {"utterances": [small.utterances]}
    )
    small.make("aligned", "intervals", "aligners.mfa", lambda f: (f / "i").touch(), {"model": [model]})
    found = asked(small, "u1")
    assert names_of(small, found)["learned"] == {"model"} and names_of(small, found)["heirs"] == {"aligned"}
    assert names_of(small, asked(small, "v1"))["learned"] == {"checkpoint"}


def test_a_feature_row_is_followed_where_it_was_packed(small: SmallLake) -> None:
    found = asked(small, f"features/voice#{OTHER['audio_id']}")
    assert names_of(small, found)["holding"] == {"voice other", "voice shard other", "predictions"}
    assert names_of(small, found)["learned"] == {"checkpoint"}
    assert names_of(small, asked(small, "features/pairs#u1"))["learned"] == set(), "u1 is in its test part"


def test_an_artifact_is_followed_by_what_was_made_from_it(small: SmallLake) -> None:
    found = asked(small, small.named["voice other"].key)
    assert names_of(small, found)["heirs"] == {"voice shard other", "checkpoint", "predictions", "metrics"}
    assert [number.how for number in found.numbers] == [(MADE,)]
    for name in ("truth", "labels main", "metrics"):
        assert [number.how for number in asked(small, small.named[name].key).numbers] == [(MADE,)], name
    split_of(small, "unused", u1="train")
    assert asked(small, small.named["unused"].key) == Touched([], [], [], [])


def test_other_models_of_the_same_metrics_are_not_touched(small: SmallLake) -> None:
    first, second = (fit(small, name, split_of(small, f"of {name}", u9="train")) for name in ("one", "two"))
    report_on(small, predict(small, "p1", first, "u9"), predict(small, "p2", second, "u8"))
    numbers = asked(small, first.key).numbers
    assert [number.row["variant"] for number in numbers] == ["0"]


def test_uses_are_told_by_step(small: SmallLake) -> None:
    rows = by_step(asked(small, "u1").holding)
    shards = next(row for row in rows if row["kind"] == "shards")
    assert (shards["step"], shards["artifacts"], shards["rows"]) == ("flows.pack", 4, 5)
    assert shards["keys"].endswith(", …") and len(shards["keys"].split(", ")) == 4
