"""Who starts jobs: this host, Slurm, or a work pool of Prefect. The setting EMOLAKE_LAUNCHER says it."""

from __future__ import annotations

from functools import partial

from infra.launch import Launch, run_job
from infra.runtime import Runtime


def launcher_of(runtime: Runtime) -> Launch:
    """The launcher that was chosen; what it needs is imported here, and looked for when it is called."""
    kind, _, pool = runtime.launcher.partition(":")
    if kind == "slurm":
        from infra.slurm import run_slurm_job

        return run_slurm_job
    if kind == "pool":
        from flows.job_pool import run_in_pool

        return partial(run_in_pool, pool=pool)
    return run_job


def n_jobs_at_once(runtime: Runtime, device: str, n_workers: int) -> int:
    """How many jobs may run at once: one where they would share an accelerator. On Slurm each has its own."""
    return n_workers if device == "cpu" or runtime.launcher == "slurm" else 1
