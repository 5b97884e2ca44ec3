from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.runtime import BadSetting, read_runtime


def test_defaults() -> None:
    runtime = read_runtime({})
    assert (runtime.lake, runtime.device, runtime.workers) == (Path("lake"), "cpu", os.cpu_count())
    assert runtime.roots == {}
    assert runtime.weights is None and runtime.processes == 1


def test_every_variable() -> None:
    runtime = read_runtime(
        {
            "EMOLAKE_LAKE": "~/lakes/one",
            "EMOLAKE_DEVICE": "cuda",
            "EMOLAKE_WORKERS": "8",
            "EMOLAKE_PROCESSES": "4",
            "EMOLAKE_ROOT_IEMOCAP": "/corpora/IEMOCAP_full_release",
            "EMOLAKE_ROOT_MELD": "/corpora/MELD",
            "EMOLAKE_WEIGHTS": "~/weights",
            "HOME": "/home/someone",
        }
    )
    assert runtime.lake == Path("~/lakes/one").expanduser()
    assert (runtime.device, runtime.workers, runtime.processes) == ("cuda", 8, 4)
    assert runtime.weights == Path("~/weights").expanduser()
    assert runtime.roots == {"iemocap": Path("/corpora/IEMOCAP_full_release"), "meld": Path("/corpora/MELD")}


@pytest.mark.parametrize("device", ["cpu", "auto", "mps", "cuda"])
def test_devices(device: str) -> None:
    assert read_runtime({"EMOLAKE_DEVICE": device}).device == device


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("EMOLAKE_DEVICE", "cuda:1", "EMOLAKE_DEVICE is 'cuda:1', but"),
        ("EMOLAKE_DEVICE", "gpu", "EMOLAKE_DEVICE is 'gpu', but it must be 'cpu', 'cuda'"),
        ("EMOLAKE_DEVICE", "", "EMOLAKE_DEVICE is '', but it must be"),
        ("EMOLAKE_WORKERS", "many", "EMOLAKE_WORKERS is 'many', but it must be a whole number from 1 on"),
        ("EMOLAKE_WORKERS", "0", "EMOLAKE_WORKERS is '0', but it must be"),
        ("EMOLAKE_WORKERS", "-2", "EMOLAKE_WORKERS is '-2', but it must be"),
        ("EMOLAKE_WORKERS", "1.5", "EMOLAKE_WORKERS is '1.5', but it must be"),
        ("EMOLAKE_WORKERS", "٣", "EMOLAKE_WORKERS is '٣', but it must be"),
        ("EMOLAKE_PROCESSES", "0", "EMOLAKE_PROCESSES is '0', but it must be a whole number from 1 on"),
        ("EMOLAKE_LAKE", " ", "EMOLAKE_LAKE is ' ', but it must be the path of a folder"),
        ("EMOLAKE_ROOT_MELD", "", "EMOLAKE_ROOT_MELD is '', but it must be the path of a folder"),
        ("EMOLAKE_WEIGHTS", "", "EMOLAKE_WEIGHTS is '', but it must be the path of a folder"),
        ("EMOLAKE_ROOT_", "/x", "EMOLAKE_ROOT_ is '/x', but it must be followed by the name of a corpus"),
    ],
)
def test_a_bad_value_gives_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence) as caught:
        read_runtime({name: value})
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_a_task_runner_and_its_cluster() -> None:
    assert (read_runtime({}).runner, read_runtime({}).cluster) == ("threads", None)
    runtime = read_runtime({"EMOLAKE_RUNNER": "dask", "EMOLAKE_CLUSTER": "tcp://scheduler:8786"})
    assert (runtime.runner, runtime.cluster) == ("dask", "tcp://scheduler:8786")
    with pytest.raises(BadSetting, match="EMOLAKE_RUNNER is 'spark', but it must be 'threads', 'processes', 'dask'"):
        read_runtime({"EMOLAKE_RUNNER": "spark"})
    with pytest.raises(BadSetting, match="EMOLAKE_CLUSTER is ' ', but it must be the address of a Dask scheduler"):
        read_runtime({"EMOLAKE_RUNNER": "ray", "EMOLAKE_CLUSTER": " "})
    with pytest.raises(BadSetting, match=r"EMOLAKE_CLUSTER is 'a:1', but it must be left out, .* not 'processes'"):
        read_runtime({"EMOLAKE_RUNNER": "processes", "EMOLAKE_CLUSTER": "a:1"})


def test_nobody_can_change_the_roots() -> None:
    with pytest.raises(TypeError):
        read_runtime({}).roots["meld"] = Path("/elsewhere")  # type: ignore[index]


def test_metrics_are_served_where_they_are_asked_for() -> None:
    assert read_runtime({}).metrics is None
    assert read_runtime({"EMOLAKE_METRICS": "9464"}).metrics == ("127.0.0.1", 9464)
    assert read_runtime({"EMOLAKE_METRICS": "0.0.0.0:9464"}).metrics == ("0.0.0.0", 9464)
    assert read_runtime({"EMOLAKE_METRICS": "[::1]:9464"}).metrics == ("::1", 9464)


@pytest.mark.parametrize("value", ["", "0", "65536", "port", "host:", ":9464", "a b:1", "-1"])
def test_an_address_of_metrics_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadSetting, match=r"EMOLAKE_METRICS is '.*', but it must be a port from 1 to 65535, or HOST:"):
        read_runtime({"EMOLAKE_METRICS": value})
