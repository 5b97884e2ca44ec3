"""`prefect deploy` with the file as it lies there, against a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from flows.server import _server_begun

FILE = Path(__file__).parents[2] / "infra" / "prefect.yaml"


@pytest.mark.slow
def test_prefect_deploys_all_of_it(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with _server_begun(tmp_path) as (url, wait_until_ready):
        wait_until_ready()
        environment = inherited | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}

        def prefect(*words: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "prefect", "--no-prompt", *words], cwd=tmp_path, env=environment, text=True,
                capture_output=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        prefect("work-pool", "create", "emolake", "--type", "process")
        prefect("deploy", "--prefect-file", str(FILE), "--all")
        found = {one["name"]: one for one in httpx.post(f"{url}/deployments/filter", json={}, timeout=30).json()}
    told = {one["name"]: one for one in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]}
    assert found.keys() == told.keys()
    for name, one in told.items():
        made = found[name]
        assert (made["entrypoint"], made["parameters"]) == (one["entrypoint"], one["parameters"])
        assert (made["work_pool_name"], sorted(made["tags"])) == ("emolake", sorted(one["tags"]))
        assert [made["schedules"][0]["schedule"]["cron"]] == [schedule["cron"] for schedule in one["schedules"]]
        assert made["global_concurrency_limit"]["limit"] == 1
        assert made["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert made["pull_steps"] in ([], None), "nothing is fetched: Emolake is installed where workers run"
