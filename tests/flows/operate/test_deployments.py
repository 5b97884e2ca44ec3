"""What Prefect is given of a recipe, as plain values; and that the flows take exactly that."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.operate.deployments import LIMITS, TAG, Deployed, deployments_of, limit_of
from flows.recipe import read_recipe, recipe_path
from flows.run import Setup
from tests.flows.operate.nightly import SCHEDULE, read
from warehouse.operating_errors import NothingScheduled

HERE = Path(__file__).parents[3]


def deployed(folder: Path, device: str = "cpu") -> dict[str, Deployed]:
    recipe = read(folder, SCHEDULE)
    setup = Setup(folder / "lake", {}, device, 3)
    found = deployments_of(folder / "small.toml", recipe, setup, {"films": folder / "films"})
    return {one.name: one for one in found}


def test_each_time_in_a_schedule_is_a_deployment(tmp_path: Path) -> None:
    found = deployed(tmp_path)
    assert {name: (one.flow, one.cron) for name, one in found.items()} == {
        "small-build": ("build", "0 2 * * *"), "small-run": ("build", "30 3 1 * *"),
        "small-verify": ("verify", "0 5 * * sun"), "small-canary": ("canary", "0 4 * * SUN"),
        "small-train": ("train", "0 */6 * * *"),
    }  # fmt: skip
    assert {one.timezone for one in found.values()} == {"Europe/Berlin"}
    build, run, train = (dict(found[f"small-{name}"].parameters) for name in ("build", "run", "train"))
    assert build == {
        "recipe": str(tmp_path / "small.toml"), "lake": str(tmp_path / "lake"), "device": "cpu", "n_workers": 3,
        "roots": {"films": str(tmp_path / "films")}, "verb": "extract", "retries": 3, "retry_delay_s": 30.0,
        "timeout_h": 20.0,
    }  # fmt: skip
    assert run == build | {"verb": "run"}
    assert {name: train[name] for name in train.keys() - build.keys()} == {"selection": "salient", "new_salient_h": 10}
    assert found["small-verify"].parameters == {"lake": str(tmp_path / "lake"), "deep": True}
    assert json.loads(json.dumps([one.as_json() for one in found.values()]))[0]["name"] == "small-build"


def test_tags_say_whose_a_run_is_and_what_it_uses(tmp_path: Path) -> None:
    on_cpu, on_gpu = deployed(tmp_path), deployed(tmp_path, "cuda")
    assert on_cpu["small-build"].tags == (TAG, "small")
    assert on_gpu["small-build"].tags == on_gpu["small-canary"].tags == (TAG, "small", "gpu")
    assert on_cpu["small-verify"].tags == on_gpu["small-verify"].tags == (TAG, "small", "disk")
    assert set(LIMITS) == {"gpu", "disk"} and limit_of("small") not in LIMITS


def test_a_recipe_without_a_schedule_is_not_served() -> None:
    recipe, setup = read_recipe(recipe_path("demo")), Setup(Path("lake"), {}, "cpu", 1)
    with pytest.raises(NothingScheduled, match=r"'demo' does not say when it runs: give it a section \[schedule\]"):
        deployments_of(recipe_path("demo"), recipe, setup, {})


def parameters_of(flow: str) -> dict[str, Any]:
    from flows.operate import scheduled

    return dict(inspect.signature(getattr(scheduled, flow).fn).parameters)


def test_the_flows_take_what_they_are_given(tmp_path: Path) -> None:
    for one in deployed(tmp_path).values():
        takes = parameters_of(one.flow)
        assert one.parameters.keys() <= takes.keys()
        needs = {name for name, parameter in takes.items() if parameter.default is parameter.empty}
        assert needs <= one.parameters.keys()


def test_the_deployments_for_work_pools_are_ones_that_prefect_reads_and_that_the_flows_take() -> None:
    from prefect.cli.deploy._models import PrefectYamlModel, RawScheduleConfig
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.flows import load_flow_from_entrypoint

    told = yaml.safe_load((HERE / "infra" / "prefect.yaml").read_text(encoding="utf-8"))
    model = PrefectYamlModel.model_validate(told)
    assert {one.entrypoint for one in model.deployments} == {
        f"flows.operate.scheduled.{name}" for name in ("build", "train", "verify", "canary")
    }
    text = (HERE / "infra" / "prefect.yaml").read_text(encoding="utf-8")
    built = [one for one in model.deployments if str(one.entrypoint).endswith((".build", ".train"))]
    needed = {*LIMITS, *(limit_of(read_recipe(recipe_path(one.parameters["recipe"])).name) for one in built)}
    assert {name for name in needed if f"prefect gcl create {name} --limit 1" not in text} == set()
    for one in model.deployments:
        flow = load_flow_from_entrypoint(str(one.entrypoint))
        assert flow.validate_parameters(one.parameters)
        assert one.parameters.keys() <= parameters_of(flow.fn.__name__).keys()
        (schedule,) = one.schedules or []
        assert isinstance(schedule, RawScheduleConfig) and schedule.cron
        assert CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
        assert one.tags and one.tags[0] == TAG and one.work_pool and one.work_pool.name == "emolake"
        if "recipe" in one.parameters:
            recipe = read_recipe(recipe_path(one.parameters["recipe"]))
            assert one.parameters.get("selection", "salient") in {"salient", *recipe.selections}
            if "selection" in one.parameters:
                assert one.parameters["selection"] in recipe.selections
