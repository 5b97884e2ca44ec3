"""What is asked of the cluster for a job, read from environment variables, as submitit takes it.

`sbatch` is asked for one job with one task. Every EMOLAKE_SLURM_<OPTION> is an option of it: EMOLAKE_SLURM_PARTITION,
EMOLAKE_SLURM_GRES, EMOLAKE_SLURM_CPUS_PER_TASK, …; EMOLAKE_SLURM_TIME is a number of minutes (a day where it is not
set), EMOLAKE_SLURM_SETUP lines of shell that come first. These are no options of sbatch:

* EMOLAKE_SLURM_CLUSTER: 'slurm', or 'local', where submitit starts processes of this host in Slurm's stead.
* EMOLAKE_SLURM_PYTHON: what starts Python there, where that is another than here.
* EMOLAKE_SLURM_MAX_NUM_TIMEOUT: how often a job that reached its time is queued again (submitit: 3 times).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from infra.runtime import BadSetting

DEFAULT_MIN = 1440
"""EMOLAKE_SLURM_TIME where it is not set: submitit's own is five minutes."""

_PREFIX = "EMOLAKE_SLURM_"
_CLUSTERS = ("slurm", "local")
_loading = threading.Lock()


@dataclass(frozen=True)
class Options:
    """What EMOLAKE_SLURM_<OPTION> say, as submitit takes it."""

    cluster: str
    python: str
    max_num_timeout: int | None
    parameters: dict[str, Any]


def read_options(environ: Mapping[str, str] = os.environ) -> Options:
    """What the environment says of the cluster.

    Raises:
        BadSetting: a cluster that we do not know, a time that is no number of minutes, or several tasks.

    Example:
        >>> options = read_options({"EMOLAKE_SLURM_CLUSTER": "local", "EMOLAKE_SLURM_GRES": "gpu:h100:1"})
        >>> options.parameters
        {'timeout_min': 1440, 'slurm_gres': 'gpu:h100:1'}
    """
    given = {name.removeprefix(_PREFIX).lower(): value for name, value in environ.items() if name.startswith(_PREFIX)}
    cluster = given.pop("cluster", "slurm")
    if cluster not in _CLUSTERS:
        raise BadSetting(f"{_PREFIX}CLUSTER", cluster, "'slurm' or 'local'")
    python = given.pop("python", f"{shlex.quote(sys.executable)} -P")
    known = load_submitit().SlurmExecutor._valid_parameters()
    if cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
        raise BadSetting("EMOLAKE_LAUNCHER", "slurm", "used on a host of the cluster, where there is sbatch and srun")
    max_num_timeout = _number("max_num_timeout", given.pop("max_num_timeout")) if "max_num_timeout" in given else None
    parameters: dict[str, Any] = {"timeout_min": _number("time", given.pop("time", str(DEFAULT_MIN)))}
    others: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("nodes", "ntasks", "ntasks_per_node") and value != "1":
            problem = "1: EMOLAKE_PROCESSES says how many devices of a host share a fit, torchrun how many hosts"
            raise BadSetting(_PREFIX + name.upper(), value, problem)
        if name in known:
            parameters[f"slurm_{name}"] = _value(name, value)
        else:
            others[name] = _value(name, value)  # sbatch knows better than we, and than submitit, what there is
    if others:
        parameters["slurm_additional_parameters"] = others
    return Options(cluster, python, max_num_timeout, parameters)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value)):
        unit = " of minutes" if name == "time" else ""
        raise BadSetting(_PREFIX + name.upper(), value, f"a whole number{unit} from 1 on")
    return int(value)


def _value(name: str, value: str) -> Any:
    if name in ("setup", "teardown"):
        return value.splitlines()
    if name == "srun_args":
        return shlex.split(value)
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isascii() and value.isdigit() else value


def load_submitit() -> Any:
    """The library, silent: it would print on our stdout, and close what other libraries log to.

    Raises:
        BadSetting: it is not installed.
    """
    with _loading:  # two jobs are submitted at once, and the environment is that of both
        return _silent_submitit()


@cache
def _silent_submitit() -> Any:
    silenced = os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG") == "NOCONFIG"
    try:
        import submitit
    except ImportError as error:
        needed = "'here', or submitit be installed: pip install 'emolake[cluster]'"
        raise BadSetting("EMOLAKE_LAUNCHER", "slurm", needed) from error
    finally:
        if silenced:
            del os.environ["SUBMITIT_LOG_LEVEL"]  # the job, there, may print
    return submitit
