"""Two reported models against each other: what is refused, what is stamped, what is found."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from flows.compare import compare, comparison_table
from flows.score import VERSION
from tests.flows.made import utterance, utterances
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import InvalidField, UnknownName, VersionDiffers
from warehouse.schema import PREDICTIONS, TRUTH
from warehouse.tables import write_rows

CLASSES = ["angry", "calm", "sad"]
LABELS = [CLASSES[i] for i in np.random.default_rng(0).integers(3, size=400)]
Model = Mapping[str, Any]


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def written(lake: Warehouse, kind: str, file: str, rows: Sequence[Mapping[str, Any]], schema: Any) -> Artifact:
    request = Request(kind, "made", 1, {"rows": [list(map(str, row.values())) for row in rows]})
    return lake.materialize(request, lambda folder: write_rows(folder / file, rows, schema))


def report(
    lake: Warehouse, recipe: str, version: int = VERSION, speech: Artifact | None = None, **models: Model
) -> None:
    """A report on made-up predictions. A model: `accuracy`, and what else differs from LABELS in two folds."""
    runs, inputs = [], {"predictions": [], "truths": []}  # type: ignore[var-annotated]
    for name, told in models.items():
        rng = np.random.default_rng(sum(name.encode()))
        labels = told.get("labels", LABELS)
        for fold in "AB":
            own = [number for number in range(len(labels)) if number % 2 == "AB".index(fold)]
            for seed in told.get("seeds", [0]):
                rows = [
                    {
                        "utterance_id": f"u{number}", "part": "test", "classes": CLASSES,
                        "probabilities": [0.2, 0.3, 0.5],
                        "predicted": labels[number] if rng.random() < told["accuracy"] else "calm",
                    }
                    for number in own
                ]  # fmt: skip
                truth = [{"utterance_id": f"u{number}", "part": "test", "label": labels[number]} for number in own]
                inputs["predictions"].append(written(lake, "predictions", "predictions.parquet", rows, PREDICTIONS))
                inputs["truths"].append(written(lake, "truth", "truth.parquet", truth, TRUTH))
                runs.append({
                    "model": name, "protocol": told.get("protocol", "p"), "fold": fold, "seed": seed,
                    "metrics": ["uar", "accuracy"], "selected_on": told.get("selected_on", "dev"),
                })  # fmt: skip
    digests = {role: tuple(a.digest for a in own) for role, own in inputs.items()}
    digests |= {"utterances": (speech.digest,)} if speech else {}
    request = Request("report", "flows.report", version, {"runs": runs, "recipe": recipe}, digests)
    made = lake.materialize(request, partial(_page, recipe))
    lake.set_ref(f"reports/{recipe}", {"artifact": made.key, "metrics": made.key})


def _page(recipe: str, folder: Path) -> None:
    (folder / "report.html").write_text(recipe)


def printed(comparison: Any) -> str:
    file = io.StringIO()
    Console(width=120, file=file).print(comparison_table(comparison))
    return file.getvalue()


def test_a_model_against_itself_differs_in_nothing(lake: Warehouse) -> None:
    report(lake, "one", m={"accuracy": 0.7, "seeds": [0, 1]})
    (found,) = compare(lake, "one:m", "one:m")
    assert (found.n_utterances, found.stamps) == (400, [])
    assert [test.metric for test in found.tests] == ["uar", "accuracy"]
    for test in found.tests:
        assert (test.difference.value, test.difference.low, test.difference.high, test.p) == (0, 0, 0, 1)
    assert (found.first.n_folds, found.first.n_seeds) == (2, 2)


def test_a_planted_difference_is_found_the_same_every_time_and_shown(lake: Warehouse) -> None:
    report(lake, "one", good={"accuracy": 0.9, "seeds": [0, 1, 2]}, poor={"accuracy": 0.5})
    (found,) = compare(lake, "one:good", "one:poor")
    assert all(test.difference.low > 0 and test.p < 0.001 for test in found.tests)
    assert found.as_json() == compare(lake, "one:good", "one:poor")[0].as_json()
    shown = printed(found).splitlines()
    assert shown[0].strip() == "A = one:good, B = one:poor"
    assert shown[1].strip() == "p, 2 × 3 folds × seeds against p, 2 × 1 folds × seeds, 400 test utterances"
    assert shown[2].split() == ["metric", "A", "B", "A", "−", "B", "95", "%", "p", "test"]
    first = found.tests[0].difference
    figures = f"{first.first:.3f}  {first.second:.3f}  {first.value:+.3f}  [{first.low:+.3f}, {first.high:+.3f}]"
    assert figures in shown[3]
    assert "< 0.001" in shown[3] and shown[4].startswith("accuracy") and "McNemar" in shown[4]


def spoken_by(lake: Warehouse, speaker_of: Callable[[int], str]) -> Artifact:
    return utterances(lake, [utterance(f"u{n}", speaker_id=speaker_of(n)) for n in range(len(LABELS))])


def test_where_all_speakers_are_known_they_are_drawn_too(lake: Warehouse) -> None:
    own = {"accuracy": 0.8}, {"accuracy": 0.7}
    report(lake, "one", speech=spoken_by(lake, lambda n: f"s{n % 8}"), good=own[0], poor=own[1])
    (found,) = compare(lake, "one:good", "one:poor")
    assert [(test.metric, test.test.partition(":")[0]) for test in found.tests] == [
        ("uar", "paired bootstrap over utterances"), ("accuracy", "McNemar, exact"),
        ("uar", "paired bootstrap over 8 speakers"), ("accuracy", "paired bootstrap over 8 speakers"),
    ]  # fmt: skip
    plain, _, grouped, _ = (test.difference for test in found.tests)
    assert (plain.first, plain.second) == (grouped.first, grouped.second) and plain.low != grouped.low
    assert "over 8 speakers" in printed(found)


@pytest.mark.parametrize("speaker_of", [lambda n: "s", lambda n: "s1" if n else "", lambda n: ""])
def test_one_speaker_or_an_unknown_one_is_no_group(lake: Warehouse, speaker_of: Callable[[int], str]) -> None:
    report(lake, "one", speech=spoken_by(lake, speaker_of), m={"accuracy": 0.8})
    (found,) = compare(lake, "one:m", "one:m")
    assert len(found.tests) == 2 and not any("speakers" in test.test for test in found.tests)


def test_models_of_two_recipes_meet_by_name(lake: Warehouse) -> None:
    report(lake, "one", a={"accuracy": 0.9}, b={"accuracy": 0.8})
    report(lake, "two", b={"accuracy": 0.6}, c={"accuracy": 0.7})
    report(lake, "three", z={"accuracy": 0.5})

    def met(first: str, second: str) -> list[tuple[str, str]]:
        return [(found.first.name, found.second.name) for found in compare(lake, first, second)]

    assert met("one", "two") == [("one:b", "two:b")]
    assert met("one", "one") == [("one:a", "one:a"), ("one:b", "one:b")]
    assert met("one:a", "three") == [("one:a", "three:z")]
    assert met("two", "one:b") == [("two:b", "one:b")]
    assert met("three", "three") == [("three:z", "three:z")]
    with pytest.raises(UnknownName, match=r"no model in the report of 'two' 'a' \(there are: b, c\)"):
        compare(lake, "one:a", "two")
    with pytest.raises(UnknownName, match=r"no model of 'three' in the report of 'one' 'z' \(there are: a, b\)"):
        compare(lake, "one", "three")
    with pytest.raises(UnknownName, match="no report of a recipe 'onee'; did you mean 'one'"):
        compare(lake, "onee", "two")
    with pytest.raises(UnknownName, match=r"in the report of 'one' 'aa'; did you mean 'a'"):
        compare(lake, "one:aa", "two")


def test_a_report_without_labelled_predictions_has_no_model_to_compare(lake: Warehouse) -> None:
    report(lake, "none", m={"accuracy": 1, "labels": []})
    with pytest.raises(UnknownName, match="no model with labelled test predictions in the report of 'none' ''"):
        compare(lake, "none", "none")


def test_a_report_of_another_version_is_refused(lake: Warehouse) -> None:
    report(lake, "old", version=VERSION - 1, m={"accuracy": 0.5})
    with pytest.raises(VersionDiffers, match=r"of 'flows\.report' is asked for"):
        compare(lake, "old", "old")


def test_different_protocols_are_refused_or_stamped(lake: Warehouse) -> None:
    report(lake, "one", a={"accuracy": 0.9}, b={"accuracy": 0.8, "protocol": "q", "selected_on": "test"})
    with pytest.raises(InvalidField, match=(
        r"comparison of 'one:a' with 'one:b': field 'protocols' differs \('p' and 'q'\): a difference would not be one "
        "of the models; compare them with --force"
    )):  # fmt: skip
        compare(lake, "one:a", "one:b")
    (found,) = compare(lake, "one:a", "one:b", force=True)
    assert found.stamps == ["different protocols: 'p' and 'q'", "test-selected: one:b"]
    assert all(stamp in printed(found) for stamp in found.stamps)


def test_different_test_utterances_are_counted_and_refused_or_left_out(lake: Warehouse) -> None:
    relabelled = ["sad" if label == "angry" else label for label in LABELS[:300]]
    n_labels = LABELS[:300].count("angry")
    report(lake, "one", a={"accuracy": 0.9}, b={"accuracy": 0.9, "labels": relabelled})
    told = f"100 only of the first and 0 only of the second, {n_labels} of 300 of both with another label"
    with pytest.raises(InvalidField, match=rf"field 'test utterances' differs \({told}\)"):
        compare(lake, "one:a", "one:b")
    (found,) = compare(lake, "one:a", "one:b", force=True)
    assert (found.n_utterances, found.stamps) == (300, [f"different test utterances: {told}"])
    (turned,) = compare(lake, "one:b", "one:a", force=True)
    assert turned.stamps[0].startswith("different test utterances: 0 only of the first and 100 only of the second")


def test_where_no_utterance_is_shared_force_does_not_help(lake: Warehouse) -> None:
    report(lake, "one", a={"accuracy": 0.9}, b={"accuracy": 0.9, "labels": []}, c={"accuracy": 0.5})
    lake_of_others = [f"v{number}" for number in range(4)]
    rows = [
        {"utterance_id": name, "part": "test", "classes": CLASSES, "probabilities": [1.0, 0, 0], "predicted": "angry"}
        for name in lake_of_others
    ]
    truth = [{"utterance_id": name, "part": "test", "label": "angry"} for name in lake_of_others]
    made = written(lake, "predictions", "predictions.parquet", rows, PREDICTIONS)
    known = written(lake, "truth", "truth.parquet", truth, TRUTH)
    run = {"model": "m", "protocol": "p", "fold": "A", "seed": 0, "metrics": [], "selected_on": "dev"}
    digests = {"predictions": (made.digest,), "truths": (known.digest,)}
    page = lake.materialize(Request("report", "flows.report", VERSION, {"runs": [run]}, digests), partial(_page, "x"))
    lake.set_ref("reports/other", {"artifact": page.key, "metrics": page.key})
    with pytest.raises(InvalidField, match="no utterance is left to compare them on"):
        compare(lake, "one:a", "other", force=True)
    (itself,) = compare(lake, "other", "other")
    assert itself.tests[0].metric == "accuracy", "where the protocol names no metrics"
