from __future__ import annotations

import logging
import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.runtime import BadSetting
from infra.slurm_options import DEFAULT_MIN, _silent_submitit, load_submitit, read_options

LOCAL = {"EMOLAKE_SLURM_CLUSTER": "local"}


def test_what_is_not_set() -> None:
    options = read_options(LOCAL)
    assert (options.cluster, options.max_num_timeout) == ("local", None)
    assert options.parameters == {"timeout_min": DEFAULT_MIN}
    assert shlex.split(options.python) == [sys.executable, "-P"]


def test_options_are_those_of_sbatch() -> None:
    asked = {
        "account": "lab", "cpus_per_task": "8", "exclusive": "true", "setup": "module load cuda\nulimit -n 65536",
        "srun_args": "--cpu-bind 'none'", "use_srun": "false", "reservation": "night", "nodes": "1", "time": "30",
        "max_num_timeout": "9", "python": "apptainer exec emolake.sif python",
    }  # fmt: skip
    options = read_options(LOCAL | {f"EMOLAKE_SLURM_{name.upper()}": value for name, value in asked.items()})
    assert (options.python, options.max_num_timeout) == ("apptainer exec emolake.sif python", 9)
    assert options.parameters == {
        "timeout_min": 30,
        "slurm_account": "lab",
        "slurm_cpus_per_task": 8,
        "slurm_exclusive": True,
        "slurm_setup": ["module load cuda", "ulimit -n 65536"],
        "slurm_srun_args": ["--cpu-bind", "none"],
        "slurm_use_srun": False,
        "slurm_nodes": 1,
        "slurm_additional_parameters": {"reservation": "night"},  # which submitit does not know
    }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CLUSTER", "debug", "EMOLAKE_SLURM_CLUSTER is 'debug', but it must be 'slurm' or 'local'$"),
        ("TIME", "01:30:00", "EMOLAKE_SLURM_TIME is '01:30:00', but it must be a whole number of minutes from 1 on"),
        ("MAX_NUM_TIMEOUT", "0", "EMOLAKE_SLURM_MAX_NUM_TIMEOUT is '0', but it must be a whole number from 1 on"),
        ("NODES", "2", "EMOLAKE_SLURM_NODES is '2', but it must be 1: EMOLAKE_PROCESSES says how many devices"),
        ("NTASKS_PER_NODE", "4", "EMOLAKE_SLURM_NTASKS_PER_NODE is '4', but it must be 1"),
    ],
)
def test_a_bad_value_gives_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        read_options(LOCAL | {f"EMOLAKE_SLURM_{name}": value})


def test_a_host_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadSetting, match=r"EMOLAKE_LAUNCHER is 'slurm', but it must be used on a host of the cluster"):
        read_options({})


def test_without_submitit_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _silent_submitit.cache_clear()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BadSetting, match=r"or submitit be installed: pip install 'emolake\[cluster\]'$"):
        read_options(LOCAL)
    monkeypatch.undo()
    _silent_submitit.cache_clear()


def test_two_jobs_may_load_the_library_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "submitit.py").write_text("import time\n\ntime.sleep(0.2)\n", encoding="utf-8")
    _silent_submitit.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "submitit", raising=False)
    monkeypatch.delenv("SUBMITIT_LOG_LEVEL", raising=False)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: load_submitit(), range(2))
    assert one is other and "SUBMITIT_LOG_LEVEL" not in os.environ
    monkeypatch.undo()
    _silent_submitit.cache_clear()


def test_the_library_prints_nothing_of_its_own() -> None:
    load_submitit()
    assert logging.getLogger("submitit").handlers == []
