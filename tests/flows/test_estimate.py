from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import fmean

import pytest

from flows.estimate import _epochs_done, estimate, n_epochs, n_folds, needed
from flows.recipe import Recipe, read_recipe, recipe_path
from models.orders import plain_fields
from tests.flows.small import Small
from warehouse import Request, Warehouse, catalog


def recipe(name: str) -> Recipe:
    return read_recipe(recipe_path(name))


def test_a_finished_recipe_needs_nothing(small: Small) -> None:
    declared = read_recipe(small.recipe)
    found = estimate(declared, ["distilled"], small.warehouse)
    assert (found.n_models, found.n_fitted, found.n_fits, found.n_missing) == (4, 4, 4, 0)
    assert (found.n_epochs, found.n_rows, found.n_waiting, found.seconds, found.why) == (0, 0, 0, 0.0, "")


def test_what_is_changed_is_missing_and_so_is_what_waits_for_it(small: Small, tmp_path: Path) -> None:
    text = small.recipe.read_text(encoding="utf-8")
    path = tmp_path / "small.toml"
    path.write_text(text.replace("epochs = 2", "epochs = 3", 1), encoding="utf-8")
    declared = read_recipe(path)
    found = estimate(declared, ["distilled"], small.warehouse)
    assert (found.n_fitted, found.n_fits, found.n_missing, found.n_epochs) == (0, 4, 4, 3 + 2 + 2 + 2)
    assert found.n_rows == 0 and found.n_waiting > 3, (
        "what the teacher will say of the films, and what learns from that"
    )
    splits = small.warehouse.by_digest("split")
    spent = {
        (made.request.step, splits[split].request.params["protocol"]): made.environment["work_s"] / 2
        for made in small.warehouse.artifacts("checkpoint") for split in made.request.inputs["split"]
    }  # fmt: skip
    language, *others = (
        spent[f"students.{declared.models[name].student}", declared.protocol(name).id]
        for name in ("language", "teacher", "pretrained", "distilled")
    )
    assert found.seconds == pytest.approx(3 * language + 2 * sum(others)), "each as the fit of its own size and data"
    assert found.unlike == ()


def test_without_a_lake_what_is_declared_is_counted() -> None:
    found = estimate(recipe("krishna"), ["trained", "frozen"], None)
    assert (found.n_models, found.n_fitted, found.n_fits, found.n_missing) == (2, None, 10, 10)
    assert (found.n_epochs, found.n_rows, found.seconds, found.why) == (300, None, None, "there is no lake")


def test_a_lake_without_the_corpus_says_so(tmp_path: Path) -> None:
    found = estimate(recipe("krishna"), ["text"], Warehouse(tmp_path / "lake", create=True))
    assert "'corpora.iemocap' was not ingested into this lake before" in found.why
    assert (found.n_fits, found.n_fitted, found.seconds) == (5, None, None)


def test_a_root_from_the_environment_is_enough(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    found = estimate(recipe("krishna"), ["text"], lake, roots={"iemocap": tmp_path})
    assert "was not ingested" not in found.why


def test_a_fit_that_ended_early_had_fewer_epochs_than_were_ordered(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    history = "epoch,train_loss\n1,0.5\n2,0.4\n3,0.4\n"
    made = lake.materialize(
        Request("checkpoint", "students.cross_attention", 1, {"fit": {"epochs": 100}}),
        lambda folder: (folder / "history.csv").write_text(history, "utf-8") and None,
    )
    assert _epochs_done(made) == 3
    found = estimate(recipe("krishna"), ["trained"], lake)
    assert found.seconds == pytest.approx(5 * 30 * made.environment["work_s"] / 3)


def test_the_time_is_that_of_fits_of_the_same_size_and_data_or_said_to_be_of_others(tmp_path: Path) -> None:
    declared, lake = recipe("krishna"), Warehouse(tmp_path / "lake", create=True)
    plugin = catalog.build("models.students", "cross_attention", declared.models["trained"].fields, "the test")

    def writing(folder: Path, text: str) -> None:
        time.sleep(0.002)
        (folder / "file").write_text(text)

    def fitted(protocol: str, **fields: object) -> float:
        request = Request("split", "flows.protocol", 1, {"protocol": protocol})
        split = lake.materialize(request, partial(writing, text=protocol))
        params = {"fit": {"epochs": 1}, "student": plain_fields(plugin) | fields}
        request = Request("checkpoint", "students.cross_attention", 1, params, {"split": (split.digest,)})
        made = lake.materialize(request, partial(writing, text=f"{protocol} {fields}"))
        return float(made.environment["work_s"])

    tiny = fitted(declared.protocol("trained").id, width=8), fitted("sandbox4-loso5")
    found = estimate(declared, ["trained"], lake)
    assert (found.seconds, found.unlike) == (pytest.approx(5 * 30 * fmean(tiny)), ("trained",))
    own = fitted(declared.protocol("trained").id)
    found = estimate(declared, ["trained"], lake)
    assert (found.seconds, found.unlike) == (pytest.approx(5 * 30 * own), ())


def test_what_a_row_cannot_be_without() -> None:
    mced = needed(recipe("mced"), ["meld_rl"])
    assert mced == ["language", "teacher", "taught_rl", "meld_rl"]
    assert needed(recipe("mced"), ["teacher_base"]) == ["teacher_base"], "it begins with a placed network"
    assert needed(recipe("cmd"), ["cmd", "only_bert"]) == ["distilled_cmd", "cmd", "only_bert"]


def test_an_average_needs_its_members() -> None:
    assert needed(recipe("multilevel"), ["combined"]) == ["early_fp", "late_fs"]


def test_folds_and_epochs_are_read_off_the_recipe() -> None:
    mced = recipe("mced")
    assert (n_folds(mced, "iemocap_half"), n_folds(mced, "meld_half"), n_folds(mced, "language")) == (10, 1, 1)
    assert n_folds(recipe("aligned"), "provided") is None, "a protocol that does not count its sessions"
    assert n_epochs(mced, "taught") == 50
    assert n_epochs(recipe("meld"), "linear") == 0, "solved in closed form"
