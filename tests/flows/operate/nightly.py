"""The small recipe with a schedule in it."""

from __future__ import annotations

from pathlib import Path

from flows.recipe import Recipe, read_recipe
from tests.flows.small import small_recipe

SCHEDULE = """
[schedule]
build = "0 2 * * *"   # every night
run = "30 3 1 * *"
verify = "0 5 * * sun"
canary = "0 4 * * SUN"
timezone = "Europe/Berlin"
retries = 3
retry_delay_s = 30
timeout_h = 20

[schedule.train]
check = "0 */6 * * *"
selection = "salient"
new_salient_h = 10
"""


def read(folder: Path, schedule: str, before: str = "") -> Recipe:
    """The small recipe with a schedule at its end, or before one of its sections."""
    path, text = folder / "small.toml", small_recipe()
    text = text.replace(before, schedule.lstrip() + "\n" + before) if before else text + schedule
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)
