from __future__ import annotations

import subprocess
import sys
from functools import partial

from flows.launchers import launcher_of, n_jobs_at_once
from infra.launch import run_job
from infra.runtime import read_runtime


def test_each_launcher_is_the_one_that_is_set() -> None:
    from flows.job_pool import run_in_pool
    from infra.slurm import run_slurm_job

    assert launcher_of(read_runtime({})) is run_job
    assert launcher_of(read_runtime({"EMOLAKE_LAUNCHER": "slurm"})) is run_slurm_job
    pool = launcher_of(read_runtime({"EMOLAKE_LAUNCHER": "pool:gpu:night"}))
    assert isinstance(pool, partial)
    assert (pool.func, pool.keywords) == (run_in_pool, {"pool": "gpu:night"})


def test_what_is_not_asked_for_is_not_imported() -> None:
    code = """
import sys
from flows.launchers import launcher_of
from infra.runtime import read_runtime
launcher_of(read_runtime({}))
print(sorted({"prefect", "submitit", "infra.slurm", "torch"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_jobs_run_at_once_where_each_has_a_device() -> None:
    here, slurm, pool = (read_runtime({"EMOLAKE_LAUNCHER": name}) for name in ("here", "slurm", "pool:gpu"))
    assert [n_jobs_at_once(runtime, "cpu", 4) for runtime in (here, slurm, pool)] == [4, 4, 4]
    assert [n_jobs_at_once(runtime, "auto", 4) for runtime in (here, slurm, pool)] == [1, 4, 1]
