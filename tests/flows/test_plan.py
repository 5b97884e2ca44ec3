"""What a plan says of an empty lake, of a full one, and of one change in the recipe or in the raw files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from features.extract import works
from features.sandbox import films
from flows.doer import Step
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import Recipe, read_recipe
from tests.flows.partly import Partly, after_ingest, by_name, contents, lake_copy, new, waiting
from tests.flows.small import Small
from warehouse import Warehouse

ALIGN = "align pocketsphinx"


def changed(small: Small, folder: Path, old: str, text: str, count: int = 1) -> Recipe:
    """The small recipe with something else in it."""
    before = small.recipe.read_text(encoding="utf-8")
    assert old in before
    path = folder / "small.toml"
    path.write_text(before.replace(old, text, count), encoding="utf-8")
    return read_recipe(path)


def trees(small: Small, folder: Path) -> dict[str, Path]:
    """A copy of the raw files."""
    return {name: shutil.copytree(root, folder / "raw" / name) for name, root in small.roots.items()}


def rewrite(path: Path, old: str, text: str) -> None:
    raw = path.read_bytes()
    assert raw.count(old.encode()) == 1, f"{old!r} is {raw.count(old.encode())} times in {path.name}"
    path.write_bytes(raw.replace(old.encode(), text.encode()))


def test_of_an_empty_lake_the_first_steps_are_missing_and_the_rest_waits(small: Small, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "lake", create=True)
    steps = by_name(plan(read_recipe(small.recipe), warehouse, small.roots))
    assert set(new(steps)) == {"record iemocap", "record meld", "record films"}
    assert waiting(steps)["ingest meld"] == "record meld"
    assert waiting(steps)["report"] == "record meld"
    assert new(steps).keys() | waiting(steps).keys() == steps.keys()
    assert not is_done(list(steps.values()))
    assert contents(warehouse.root) == {}, "a plan makes no artifact and moves no name"


def test_of_a_full_lake_everything_is_there_and_stays_as_it_is(small: Small) -> None:
    before = contents(small.lake)
    steps = plan(read_recipe(small.recipe), small.warehouse, small.roots)
    assert is_done(steps)
    assert {step.name for step in steps} >= {"align pocketsphinx", "extract teacher", "fit distilled", "report"}
    assert new(by_name(steps)) == {}
    assert {step.name.split()[0] for step in steps if not step.n_rows} == {"canary"}, "a canary counts no row"
    assert contents(small.lake) == before


@pytest.mark.parametrize("verb", ["ingest", "align", "extract", "pack"])
def test_a_verb_plans_its_own_steps_and_what_they_need(small: Small, verb: str) -> None:
    steps = plan(read_recipe(small.recipe), small.warehouse, small.roots, verb)
    assert is_done(steps)
    last = {"ingest": "ingest films", "align": ALIGN, "extract": "extract teacher", "pack": "pack meld lld"}
    assert steps[-1].name == last[verb]
    assert (ALIGN in by_name(steps)) == (verb == "align"), "nothing that is extracted here needs intervals"


def test_one_field_of_an_extractor_takes_along_what_reads_it_and_nothing_else(small: Small, tmp_path: Path) -> None:
    recipe = changed(small, tmp_path, 'level = "lld_and_deltas"', 'level = "lld"')
    steps = by_name(plan(recipe, small.warehouse, small.roots))
    assert set(new(steps)) == {"extract lld"}
    assert [d.where for d in steps["extract lld"].differences] == ["params.plugin.fields.level"]
    assert waiting(steps) == dict.fromkeys(
        ["pack films lld (salient)", "fit pretrained", "pack meld lld", "fit distilled", "predict distilled", "report"],
        "extract lld",
    )


def test_the_epochs_of_one_model_take_along_what_starts_from_it(small: Small, tmp_path: Path) -> None:
    last = "fit = { epochs = 2, learning_rate = 1e-3, batch_frames = 6000 }\n\n[report]"
    recipe = changed(small, tmp_path, last, last.replace("epochs = 2", "epochs = 3"))
    steps = by_name(plan(recipe, small.warehouse, small.roots))
    assert new(steps) == {"fit distilled": 1}
    assert [str(d) for d in steps["fit distilled"].differences] == ["params.fit.epochs: 3 instead of 2"]
    assert waiting(steps) == {"predict distilled": "fit distilled", "report": "fit distilled"}

    recipe = changed(small, tmp_path, "epochs = 2", "epochs = 3")  # of the language model, from which all else grows
    steps = by_name(plan(recipe, small.warehouse, small.roots))
    assert new(steps) == {"fit language": 1}
    assert {"fit teacher", "extract teacher", "select salient", "fit distilled", "report"} <= waiting(steps).keys()


def test_without_explaining_nothing_is_compared(small: Small, tmp_path: Path) -> None:
    recipe = changed(small, tmp_path, 'level = "lld_and_deltas"', 'level = "lld"')
    steps = by_name(plan(recipe, small.warehouse, small.roots, explain=False))
    assert steps["extract lld"].works and steps["extract lld"].differences == []


def test_what_is_there_may_be_remembered(small: Small, tmp_path: Path) -> None:
    told: dict[str, object] = {}
    recipe = changed(small, tmp_path, "epochs = 2", "epochs = 3")
    plan(recipe, small.warehouse, small.roots, remember=told.__setitem__)
    assert set(told) == {
        "aligners/pocketsphinx",
        *(f"corpora/{name}" for name in ("iemocap", "meld", "films")),
        *(f"features/{name}" for name in ("lld", "egemaps", "waveform")),
    }, "the teacher's features wait for another teacher, and so does the report"


# -- one change in the raw files -------------------------------------------------------------------------------------


def meld_line(roots: dict[str, Path]) -> tuple[Path, str]:
    """The first line of MELD's training table, with the path of the table."""
    (table,) = roots["meld"].rglob("train_sent_emo.csv")
    return table, table.read_text(encoding="utf-8").splitlines()[1]


def test_another_label_costs_splits_and_fits_and_no_row(small: Small, tmp_path: Path) -> None:
    warehouse, roots = lake_copy(small, tmp_path), trees(small, tmp_path)
    table, line = meld_line(roots)
    emotion = re.search(r",(anger|joy|neutral|sadness|surprise),", line)
    assert emotion is not None
    other = "joy" if emotion[1] != "joy" else "anger"
    rewrite(table, line, line.replace(emotion[0], f",{other},"))
    steps = after_ingest(read_recipe(small.recipe), warehouse, roots)
    assert new(steps) == {"split for teacher": 1, "split for distilled": 1}
    assert waiting(steps)["fit teacher"] == "split for teacher"
    assert waiting(steps)["report"] == "split for distilled"
    assert "inputs.labels" in {d.where for d in steps["split for teacher"].differences}
    untouched = {ALIGN, "extract lld", "extract egemaps", "extract waveform", "pack meld lld", "pack meld text"}
    assert not untouched & waiting(steps).keys()

    before = {a.digest for a in small.warehouse.artifacts("utterances")}
    assert {a.digest for a in warehouse.artifacts("utterances")} == before, "the same bytes, whatever the label"


def test_another_transcript_costs_one_text_one_pair_and_no_sound(small: Small, tmp_path: Path) -> None:
    warehouse, roots = lake_copy(small, tmp_path), trees(small, tmp_path)
    recipe = read_recipe(small.recipe)
    rows = warehouse.sql("SELECT text, unit FROM utterances WHERE corpus = 'films' ORDER BY ALL").fetchall()
    raw = {unit: next((roots["films"] / unit).glob("*.srt")) for _, unit in rows}
    text, film = next((text, unit) for text, unit in rows if raw[unit].read_bytes().count(text.encode()) == 1)
    rewrite(raw[film], text, "Quite other words than these")
    steps = after_ingest(recipe, warehouse, roots)
    n_texts = sum(unit == film for _, unit in rows)
    assert new(steps) == {ALIGN: 1, "pack films text": n_texts}, "a film's texts are one shard"
    assert {len(steps[name].works) for name in new(steps)} == {1}
    assert waiting(steps)["fit language"] == "pack films text", "the texts have changed"
    for name in ("extract lld", "extract egemaps", "extract waveform", "pack meld lld", "pack meld text"):
        assert steps[name].n_rows and not steps[name].works and not steps[name].waits_for

    line = Line(recipe, small.warehouse, small.roots, Partly(small.warehouse))
    teacher = line.feature("teacher")
    reading = Line(recipe, warehouse, roots, Partly(warehouse)).corpus("films").utterances
    assert [work.n_rows for work in works(warehouse, teacher.step, teacher.plugin, reading, roots)] == [1]


def test_another_film_costs_only_itself(small: Small, tmp_path: Path) -> None:
    warehouse, roots = lake_copy(small, tmp_path), trees(small, tmp_path)
    films.write(tmp_path / "spoken", films.plan(1, 0.1)[:1], 1, lambda: None)
    (film,) = (tmp_path / "spoken").iterdir()
    shutil.copytree(film, roots["films"] / "Another Film")
    recipe = read_recipe(small.recipe)

    steps = by_name(plan(recipe, warehouse, roots))
    assert new(steps) == {"record films": 2}, "its soundtrack and its subtitles"
    steps = after_ingest(recipe, warehouse, roots)
    (added,) = (a for a in warehouse.artifacts("utterances") if a.request.params["unit"] == "Another Film")
    ids = warehouse.sql("SELECT utterance_id FROM utterances WHERE artifact = $key", {"key": added.key}).fetchall()
    assert new(steps) == dict.fromkeys(
        [ALIGN, "extract lld", "extract egemaps", "extract waveform", "pack films text"], len(ids)
    )
    assert all(len(steps[name].works) == 1 for name in new(steps))
    for name in (ALIGN, "extract lld", "extract egemaps", "extract waveform"):
        (work,) = steps[name].works
        assert {row["utterance_id"] for row in work.arguments["rows"]} == {row[0] for row in ids}


def test_the_same_film_under_another_name_costs_no_row(small: Small, tmp_path: Path) -> None:
    warehouse, roots = lake_copy(small, tmp_path), trees(small, tmp_path)
    first = sorted(roots["films"].iterdir())[0]
    shutil.copytree(first, roots["films"] / "The Same Again")
    steps = after_ingest(read_recipe(small.recipe), warehouse, roots)
    assert set(new(steps)) == {"pack films text"}, "rows belong to sound and words, not to names"


def test_the_same_files_elsewhere_are_the_same(small: Small, tmp_path: Path) -> None:
    warehouse, roots = lake_copy(small, tmp_path), trees(small, tmp_path)
    steps = plan(read_recipe(small.recipe), warehouse, roots)
    assert is_done(steps), new(by_name(steps))


def test_done_is_nothing_missing_and_nothing_waiting() -> None:
    assert is_done([]) and is_done([Step("a", n_rows=3)])
    assert not is_done([Step("a"), Step("b", waits_for="a")])
