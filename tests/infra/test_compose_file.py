"""The compose file against the published schema, and against what its services, settings and commands really are.

No container engine runs here: that the images build and that the services find each other was not tried. The pieces
were, in test_stack_pieces.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.runtime import read_runtime
from tests.infra.declared import HOUSE, INFRA, NAMED, compose, example, pod_specs, run, services, version

TEXT = (INFRA / "compose.yaml").read_text(encoding="utf-8")
OURS = ("server", "worker")

TAKEN = {
    "postgres": {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"},
    "minio/minio": {"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"},
    "minio/mc": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "marquezproject/marquez": {
        "MARQUEZ_PORT", "MARQUEZ_ADMIN_PORT", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER",
        "POSTGRES_PASSWORD", "SEARCH_ENABLED",
    },
    "marquezproject/marquez-web": {"MARQUEZ_HOST", "MARQUEZ_PORT", "WEB_PORT"},
}  # fmt: skip
"""Image of others -> the variables that its pages document."""

S3 = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}


def is_known(name: str) -> bool:
    """Whether a variable is one that our code, Prefect or the library of the store reads."""
    if name.startswith("EMOLAKE_ROOT_"):
        return True
    if name.startswith("EMOLAKE_"):
        modules = [path for room in ("infra", "warehouse") for path in (HOUSE / room).glob("*.py")]
        return any(f'"{name}"' in path.read_text(encoding="utf-8") for path in modules)
    if name.startswith("PREFECT_INTEGRATIONS_"):
        return True  # of a package that is in the worker's image and not here
    if name.startswith("PREFECT_"):
        from prefect.settings import Settings
        from prefect.settings.legacy import _get_valid_setting_names

        return name in _get_valid_setting_names(Settings)
    return name in S3


@cache
def schema() -> dict[str, Any]:
    """The schema of compose files, as check-jsonschema carries it."""
    from check_jsonschema.builtin_schemas import get_builtin_schema

    found: dict[str, Any] = get_builtin_schema("vendor.compose-spec")
    return found


def test_it_is_a_compose_file() -> None:
    import jsonschema

    raw = yaml.safe_load(TEXT)
    validator = jsonschema.validators.validator_for(schema())(schema())
    validator.validate(raw)
    raw["services"]["worker"]["comand"] = raw["services"]["worker"].pop("command")
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        validator.validate(raw)


def test_docker_compose_reads_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker with compose here")
    settings = tmp_path / "env"
    settings.write_text("".join(f"{name}={value or 'word'}\n" for name, value in example().items()))
    command = [docker, "compose", "--env-file", str(settings), "-f", str(INFRA / "compose.yaml"), "config"]
    said = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert set(json.loads(said.stdout)["services"]) == {n for n, s in services().items() if "profiles" not in s}


def test_every_setting_is_in_the_example_and_no_password_is_anywhere() -> None:
    assert set(NAMED.findall(TEXT)) == set(example())
    secret = {name for name in example() if name.endswith(("PASSWORD", "SECRET_ACCESS_KEY"))}
    assert len(secret) == 3 and not any(example()[name] for name in secret)
    for name, service in yaml.safe_load(TEXT)["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY", variable):
                assert value.startswith("${"), f"{name}: {variable}"


@pytest.mark.parametrize("name", services())
def test_every_variable_is_one_that_its_image_reads(name: str) -> None:
    service = services()[name]
    variables = set(service.get("environment", {}))
    if name in OURS:
        assert [variable for variable in sorted(variables) if not is_known(variable)] == []
    else:
        assert variables <= TAKEN[service["image"].partition(":")[0]]


def test_an_unknown_variable_is_noticed() -> None:
    assert not is_known("EMOLAKE_WROKERS") and not is_known("PREFECT_API_ULR") and not is_known("AWS_KEY")


def test_the_runtime_takes_the_worker_s_settings() -> None:
    runtime = read_runtime(services()["worker"]["environment"])
    assert runtime.workers == 2 and set(runtime.roots) == {"iemocap", "meld", "mosei", "films"}
    assert all(root.is_relative_to("/corpora") for root in runtime.roots.values())


@pytest.mark.parametrize("name", services())
def test_images_are_pinned_and_ours_have_our_version(name: str) -> None:
    image = services()[name]["image"]
    assert re.fullmatch(r"[a-z/-]+:[\w.-]*\d[\w.-]*", image), "a short name and a tag"
    assert image.startswith("emolake-") == (name in OURS)
    assert name not in OURS or image == f"emolake-cpu:{version()}"


@pytest.mark.parametrize("name", services())
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert [port for port in services()[name].get("ports", []) if port.get("host_ip") != "127.0.0.1"] == []


def test_what_waits_for_another_waits_for_its_health() -> None:
    for name, service in services().items():
        waits = service.get("depends_on", {})
        for other, how in waits.items() if isinstance(waits, dict) else ():
            has_health = "healthcheck" in services()[other]
            expected = "service_healthy" if has_health else "service_completed_successfully"
            assert how["condition"] == expected, f"{name} waits for {other}"


def test_volumes_are_declared_and_used() -> None:
    mounted = [word for service in services().values() for word in service.get("volumes", [])]
    used = {word.partition(":")[0] for word in mounted if isinstance(word, str)}
    assert used == set(compose()["volumes"])


def test_holders_of_slots_outlive_the_server_as_the_slots_do() -> None:
    from prefect.server.concurrency.lease_storage.filesystem import ConcurrencyLeaseStorage

    server = services()["server"]
    storage = server["environment"]["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    assert storage == ConcurrencyLeaseStorage.__module__
    places = [word.partition(":")[2] for word in server["volumes"]]
    assert "PREFECT_HOME" not in server["environment"] and places == ["/home/emolake"], "~/.prefect is Prefect's home"
    assert "useradd --uid 10001 --create-home emolake" in (INFRA / "Dockerfile.cpu").read_text(encoding="utf-8")


def test_the_build_is_of_the_repository() -> None:
    for name in OURS:
        build = services()[name]["build"]
        context = (INFRA / build["context"]).resolve()
        assert (context, context / build["dockerfile"]) == (HOUSE, INFRA / "Dockerfile.cpu")


HELP = """
import sys
from prefect.cli import app
for words in sys.argv[1:]:
    sys.argv = [*words.split(), "--help"]
    try:
        app()
    except SystemExit as end:
        assert not end.code, end
    print("\\f")
"""


def test_commands_exist_with_all_their_options() -> None:
    """Both are asked in one process, because its start takes seconds."""
    lines = [services()[name]["command"] for name in OURS]
    lines += [container["args"] for _, pod in pod_specs() for container in pod["containers"]]
    asked = ["prefect server start", "prefect worker start"]
    printed = run([sys.executable, "-c", HELP, *asked])
    assert printed.returncode == 0, printed.stderr
    for words, told in zip(asked, printed.stdout.split("\f")[:-1], strict=True):
        mine = [line for line in lines if line[:3] == words.split()]
        assert mine
        options = {word for line in mine for word in line if word.startswith("--")}
        assert [option for option in sorted(options) if option not in told] == []


def test_what_is_scheduled_goes_to_the_worker_s_pool() -> None:
    """`prefect deploy` gives the deployments to the pool that the worker polls."""
    scheduled = yaml.safe_load((INFRA / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    command = services()["worker"]["command"]
    assert {one["work_pool"]["name"] for one in scheduled} == {command[command.index("--pool") + 1]}


def test_the_store_is_reached_with_these_variables_alone(monkeypatch: pytest.MonkeyPatch, moto: str) -> None:
    """As on MinIO: a bucket is a part of the path, not of the host's name, which would be found nowhere."""
    import s3fs

    environment = services()["worker"]["environment"]
    for name in S3:
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    scheme, _, bucket = environment["EMOLAKE_LAKE"].partition("://")
    assert scheme == "s3"
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.mkdir(bucket)
    store.pipe(f"{bucket}/artifacts/one", b"bytes")
    assert store.cat(f"{bucket}/artifacts/one") == b"bytes"
    assert store.url(f"{bucket}/artifacts/one").startswith(f"{moto}/{bucket}/artifacts/one?")
