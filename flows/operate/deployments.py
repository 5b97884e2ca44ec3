"""What Prefect is given to run of a recipe: a deployment for everything that its [schedule] names, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.recipe import Recipe
from flows.run import Setup
from warehouse.operating_errors import NothingScheduled

TAG = "emolake"
"""Every deployment of ours has it, and through it every run: so ours are found on a server that others use too."""

LIMITS = {"gpu": 1, "disk": 1}
"""Resource -> how many runs may use it at once, until a person changes that (`prefect gcl update gpu --limit 2`)."""

_FLOWS = {"build": "build", "run": "build", "verify": "verify", "canary": "canary", "train": "train"}
_VERBS = {"build": "extract", "run": "run"}


@dataclass(frozen=True)
class Deployed:
    """One thing that runs at its times.

    Args:
        name: the recipe's and what is done of it: 'demo-build'.
        flow: the function of `flows.operate.scheduled`.
        cron, timezone: when.
        parameters: of the flow; all that it needs to run in a process of its own.
        tags: TAG, the recipe's name, and the resources that it uses.
    """

    name: str
    flow: str
    cron: str
    timezone: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def deployments_of(path: Path, recipe: Recipe, setup: Setup, roots: Mapping[str, Path]) -> list[Deployed]:
    """The deployments of one recipe.

    Args:
        path: of the recipe.
        roots: corpus -> folder of its raw files: those that were named; the others are looked up at each run.

    Raises:
        NothingScheduled: it has no section [schedule].
    """
    schedule = recipe.schedule
    if schedule is None:
        raise NothingScheduled(recipe.name)
    where = {"lake": str(setup.lake.absolute()), "device": setup.device}
    of_recipe = {
        "recipe": str(path.absolute()), "roots": {name: str(root.absolute()) for name, root in roots.items()}, **where,
    }  # fmt: skip
    tries = {
        "n_workers": setup.n_workers, "retries": schedule.retries, "retry_delay_s": schedule.retry_delay_s,
        "timeout_h": schedule.timeout_h,
    }  # fmt: skip
    parameters: dict[str, dict[str, Any]] = {
        "build": of_recipe | tries, "run": of_recipe | tries, "train": of_recipe | tries,
        "verify": {"lake": where["lake"], "deep": True}, "canary": of_recipe,
    }  # fmt: skip
    for name, verb in _VERBS.items():
        parameters[name]["verb"] = verb
    if schedule.train is not None:
        parameters["train"] |= {
            "selection": schedule.train.selection, "new_salient_h": schedule.train.new_salient_h,
        }  # fmt: skip
    return [
        Deployed(
            f"{recipe.name}-{name}", _FLOWS[name], cron, schedule.timezone, parameters[name],
            (TAG, recipe.name, *resources(name, setup.device)),
        )
        for name, cron in schedule.times.items()
    ]  # fmt: skip


def limit_of(recipe: str) -> str:
    """The name of the limit that lets one run of a recipe build at a time, be it a build or a training."""
    return f"{TAG}-{recipe}"


def resources(what: str, device: str) -> tuple[str, ...]:
    """What a run keeps others from while it works: 'disk' for reading the whole lake, 'gpu' for computing on one."""
    if what == "verify":
        return ("disk",)
    return () if device == "cpu" else ("gpu",)
