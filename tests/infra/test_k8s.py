"""The Kubernetes manifests against the published schemas, and against each other. No cluster took them here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.declared import HOUSE, INFRA, copied, gpu_pool, instructions, manifests, pod_specs, stages, version
from tests.infra.test_compose_file import is_known

RELEASES = ("1.34", "1.37")
"""Of Kubernetes: the oldest and the newest whose schemas are here."""


def validate(manifest: dict[str, Any], release: str) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(manifest, release, strict=True)


def a_job(**chosen: Any) -> dict[str, Any]:
    """What the worker of the pool sends for a run: the template with a run's own values and the pool's defaults."""
    from prefect.utilities.templating import apply_values

    declared = gpu_pool()["variables"]["properties"]
    values = {name: one["default"] for name, one in declared.items() if "default" in one} | chosen
    job: dict[str, Any] = apply_values(gpu_pool()["job_configuration"], values, remove_notset=True)
    return job


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from pod_specs()
    run = {"name": "run", "labels": {"a": "b"}, "command": ["prefect", "flow-run", "execute"]}
    env = [{"name": "EMOLAKE_COPIES", "value": "/copies"}]
    yield "gpu-pool.json", a_job(**run, env=env)["job_manifest"]["spec"]["template"]["spec"]


PODS = dict(pods())
each_pod = pytest.mark.parametrize("name", PODS)


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_one(release: str) -> None:
    from kubernetes_validate import ValidationError

    for _, manifest in manifests():
        validate(manifest, release)
    _, broken = next(pair for pair in manifests() if pair[1]["kind"] == "Job")
    broken["spec"]["backofLimit"] = broken["spec"].pop("backoffLimit")
    with pytest.raises(ValidationError, match="backofLimit"):
        validate(broken, release)


@each_pod
def test_pods_are_no_root_and_say_what_they_need(name: str) -> None:
    pod = PODS[name]
    [container] = pod["containers"]
    ours, needed = container["image"].startswith("emolake-"), container["resources"]
    assert {"cpu", "memory"} <= needed["requests"].keys() and "memory" in needed["limits"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert pod["securityContext"].get("runAsUser") == (10001 if ours else None)
    assert pod.get("automountServiceAccountToken", True) != ours  # only the one that creates Jobs talks to the cluster


@each_pod
def test_images_are_those_that_are_built(name: str) -> None:
    image, _, tag = PODS[name]["containers"][0]["image"].partition(":")
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [prefect] = [line.partition("==")[2] for line in lines if line.startswith("prefect==")]
    built = {"emolake-cpu": version(), "emolake-gpu": version(), "emolake-gpu-pool": version()}
    assert (built | {"prefecthq/prefect": f"{prefect}-python3.12-kubernetes"})[image] == tag


@each_pod
def test_variables_are_read_and_secrets_are_in_the_secret(name: str) -> None:
    [container] = PODS[name]["containers"]
    variables = {one["name"] for one in container.get("env", [])}
    assert [variable for variable in sorted(variables) if not is_known(variable)] == []
    assert not any("KEY" in variable or "PASSWORD" in variable for variable in variables)
    if container["image"].startswith("emolake-"):
        assert container["envFrom"] == [{"secretRef": {"name": "emolake-store"}}]
    [secret] = [manifest for _, manifest in manifests() if manifest["kind"] == "Secret"]
    assert secret["metadata"]["name"] == "emolake-store"
    assert all(is_known(key) for key in secret["stringData"]) and not secret["stringData"]["AWS_SECRET_ACCESS_KEY"]


@each_pod
def test_volumes_are_claimed_and_mounted(name: str) -> None:
    claims = {one["metadata"]["name"] for _, one in manifests() if one["kind"] == "PersistentVolumeClaim"}
    pod = PODS[name]
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    assert {mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])} == volumes.keys()
    for volume in volumes.values():
        assert "configMap" in volume or volume["persistentVolumeClaim"]["claimName"] in claims
    copies = [mount["mountPath"] for mount in pod["containers"][0].get("volumeMounts", []) if mount["name"] == "copies"]
    assert copies == (["/copies"] if volumes else [])  # where the images say that EMOLAKE_COPIES is


def test_a_job_goes_on_after_its_pod_was_taken_and_not_after_a_mistake() -> None:
    [job] = [manifest["spec"] for _, manifest in manifests() if manifest["kind"] == "Job"]
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    pod = job["template"]["spec"]
    assert failed["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert failed["onExitCodes"]["values"] == [1, 2]  # of models.job: a mistake, a wrong command line
    assert (pod["restartPolicy"], pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) == ("Never", 1)
    assert pod["terminationGracePeriodSeconds"] >= 60 and job["activeDeadlineSeconds"] > 0


def test_the_pool_s_template_asks_what_prefect_s_own_asks() -> None:
    """Prefect carries the template of each kind of worker; ours has all that the worker fills in or reads."""
    import prefect.server.api.collections as collections

    path = Path(collections.__file__).parent / "collections_data" / "views" / "aggregate-worker-metadata.json"
    theirs = json.loads(path.read_text())["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]
    ours = gpu_pool()
    assert ours["job_configuration"].keys() == theirs["job_configuration"].keys()
    filled = {"name", "env", "labels", "command", "namespace"}
    assert filled <= ours["variables"]["properties"].keys() & theirs["variables"]["properties"].keys()


def test_every_variable_of_the_pool_is_used_and_every_place_has_one() -> None:
    declared = gpu_pool()["variables"]["properties"]
    places = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(gpu_pool()["job_configuration"])))
    assert places == declared.keys()


def test_the_server_takes_the_pool_s_template() -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.utilities.schema_tools import is_valid_schema

    WorkPoolCreate(name="emolake-gpu", type="kubernetes", base_job_template=gpu_pool())
    is_valid_schema(gpu_pool()["variables"])  # raises


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_pool_starts_is_a_job_with_gpus(release: str) -> None:
    run = {"name": "run", "labels": {"a": "b"}, "command": ["prefect", "flow-run", "execute"], "gpus": 2}
    job = a_job(**run, env=[{"name": "PREFECT_API_URL", "value": "http://prefect-server:4200/api"}])["job_manifest"]
    validate(job, release)
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2


def test_pools_and_roles_are_called_alike_everywhere() -> None:
    lines = {name: args for name, pod in pod_specs() if "--pool" in (args := pod["containers"][0]["args"])}
    pools = {name: (line[line.index("--pool") + 1], line[line.index("--type") + 1]) for name, line in lines.items()}
    assert pools == {"emolake-worker": ("emolake", "process"), "emolake-gpu-pool": ("emolake-gpu", "kubernetes")}
    [worker] = [pod["containers"][0] for name, pod in pod_specs() if name == "emolake-worker"]
    assert {"name": "EMOLAKE_LAUNCHER", "value": "pool:emolake-gpu"} in worker["env"]
    by_kind = {manifest["kind"]: manifest for file, manifest in manifests() if file == "gpu-pool.yaml"}
    assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
    assert by_kind["RoleBinding"]["subjects"][0]["name"] == by_kind["ServiceAccount"]["metadata"]["name"]


def test_the_pool_s_image_has_a_stage_with_flows_and_no_entry_point() -> None:
    """The worker gives a whole command line, which an entry point would take for its arguments."""
    path = INFRA / "Dockerfile.gpu"
    assert stages(path)["pool"] == "job" and "flows" in copied(path)
    assert instructions(path, "ENTRYPOINT")[-1] == "[]"
