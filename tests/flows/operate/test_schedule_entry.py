"""When a recipe runs: what may be said, and that saying it changes nothing of what the recipe is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from flows.operate.schedule_entry import without_schedule
from flows.recipe import RECIPES, read_recipe
from tests.flows.operate.nightly import SCHEDULE, read
from tests.flows.small import small_recipe
from warehouse.errors import InvalidField, UnknownField

HERE = Path(__file__).parents[3]


def test_all_that_may_be_said_is_read(tmp_path: Path) -> None:
    schedule = read(tmp_path, SCHEDULE).schedule
    assert schedule is not None and schedule.train is not None
    assert schedule.times == {
        "build": "0 2 * * *", "run": "30 3 1 * *", "verify": "0 5 * * sun", "canary": "0 4 * * SUN",
        "train": "0 */6 * * *",
    }  # fmt: skip
    assert (schedule.timezone, schedule.retries, schedule.timeout_h) == ("Europe/Berlin", 3, 20)
    assert (schedule.train.selection, schedule.train.new_salient_h) == ("salient", 10)
    assert read(tmp_path, "").schedule is None
    least = read(tmp_path, '\n[schedule]\nverify = "0 5 * * 0"\n').schedule
    assert least is not None and (least.timezone, least.retries, least.timeout_h) == ("UTC", 2, None)


def test_a_schedule_is_no_part_of_what_a_recipe_is(tmp_path: Path) -> None:
    plain = read(tmp_path, "")
    for schedule in (SCHEDULE, SCHEDULE.replace("0 2 * * *", "0 1 * * *"), '\n[schedule]\nbuild = "0 2 * * *"\n'):
        for before in ("", "[selections.salient]"):  # at the end, and between other sections
            other = read(tmp_path, schedule, before)
            assert other.text == plain.text
            assert other.schedule and other.model_copy(update={"schedule": None, "text": plain.text}) == plain
    # What is equal gives equal requests, and only these rooms may look at the rest.
    known = ("flows/recipe.py", "flows/operate/", "flows/cli_operate.py")
    paths = [
        path for path in (HERE / "flows").rglob("*.py") if re.search(r"(recipe|declared)\.schedule\b", path.read_text())
    ]
    reads = [path.relative_to(HERE).as_posix() for path in paths]
    assert reads and [path for path in reads if not path.startswith(known)] == []


def test_the_text_of_a_recipe_without_a_schedule_is_as_it_lies_there() -> None:
    for path in RECIPES.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        assert without_schedule(text, tomllib.loads(text)) == text


REMARKED = """# what this is for
name = "read"   # short

# the clips of the lab,
# as they came
[corpora.clips]
reader = "table"
file = "clips.csv"
# not yet: seed = 3

[corpora.more]
reader = "table"


# two lines above
[features.lld]
extractor = "opensmile"  # fast
# the end
"""
TWO_PARTS = """# nightly, as agreed
[schedule]
build = "0 2 * * *"   # every night
# retries = 3

# and now and then
[schedule.train]
check = "0 */6 * * *"
"""


@pytest.mark.parametrize("schedule", ['[schedule]\nbuild = "0 2 * * *"\n', TWO_PARTS])
def test_a_schedule_between_any_two_sections_leaves_the_text_as_it_was(schedule: str) -> None:
    gaps = [found.start() for found in re.finditer(r"(?<=\n\n)(?=\S)", REMARKED)]
    assert len(gaps) == 3
    for gap in gaps:
        for inserted in (schedule, schedule + "\n", schedule + "\n\n"):
            text = REMARKED[:gap] + inserted + REMARKED[gap:]
            assert without_schedule(text, tomllib.loads(text)) == REMARKED, text
    for inserted in (schedule, "\n" + schedule, "\n\n" + schedule + "\n"):
        text = REMARKED.replace("# the end\n", "") + inserted
        assert without_schedule(text, tomllib.loads(text)) == REMARKED.replace("# the end\n", ""), text


def test_remarks_below_a_schedule_are_kept() -> None:
    text = REMARKED + "\n" + TWO_PARTS + "\n# the very end\n"
    assert without_schedule(text, tomllib.loads(text)) == REMARKED + "\n# the very end\n"


def test_what_only_looks_like_a_header_is_kept(tmp_path: Path) -> None:
    remarks = 'remarks = [\n    """\n[schedule]\nis no section here\n""",\n]\n'
    text = f"a = 1\n[report]\n{remarks}"
    assert without_schedule(text, tomllib.loads(text)) == text
    with pytest.raises(ValueError, match="headers of their own"):
        scheduled = text + '[schedule]\nbuild = "0 2 * * *"\n'
        without_schedule(scheduled, tomllib.loads(scheduled))
    with pytest.raises(InvalidField, match=r"'schedule' must be written as tables with headers of their own"):
        read(tmp_path, 'schedule.build = "0 2 * * *"', before='name = "small"')


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('build = "0 2 * *"', r"'build' is wrong.*'0 2 \* \*' is no cron expression: has not five"),
        ('build = "61 2 * * SUN"', r"'build' is wrong: '61 2 \* \* SUN' is no cron expression: bad minute"),
        ('build = "@daily"', "has not five fields"),
        ('build = "0 2 30 2 *"', "is no cron expression: bad day-of-month"),
        (
            'build = "0 2 * * *"\ntimezone = "Mars/Olympus"',
            "field 'timezone' is wrong: 'Mars/Olympus' is no time zone of the IANA database, such as 'UTC' or",
        ),
        ('build = "0 2 * * *"\nretries = -1', "'retries' is wrong"),
        ('build = "0 2 * * *"\ntimeout_h = 0', "'timeout_h' is wrong"),
        ("retries = 1", "'schedule' says when nothing runs: give at least one of 'build', 'run', 'verify', 'canary'"),
        ('[schedule.train]\ncheck = "0 2 * * *"\nselection = "salient"\nnew_salient_h = 0', "new_salient_h' is wrong"),
        (
            '[schedule.train]\ncheck = "0 2 * * *"\nselection = "bright"\nnew_salient_h = 1',
            "'schedule.train.selection' names the selection 'bright', which the recipe does not have",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        read(tmp_path, f"\n[schedule]\n{said}\n")


def test_a_name_that_is_not_known_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UnknownField, match="did you mean 'build'"):
        read(tmp_path, '\n[schedule]\nbuidl = "0 2 * * *"\n')


def test_a_selection_that_nothing_learns_from_starts_no_training(tmp_path: Path) -> None:
    other = '[selections.other]\ncorpus = "films"\nlogits = "teacher.logits"\nthreshold = 0.5\n\n[models.pretrained]'
    path = tmp_path / "small.toml"
    train = SCHEDULE.replace('selection = "salient"', 'selection = "other"')
    path.write_text(small_recipe().replace("[models.pretrained]", other) + train, encoding="utf-8")
    with pytest.raises(InvalidField, match="names 'other', which no model of the recipe learns from"):
        read_recipe(path)
