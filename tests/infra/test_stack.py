"""`make stack` with a docker that is not there, one that says what it is asked, and one that refuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra import stack
from infra.stack import NoStack, addresses, check_engine, fill_in, main
from tests.infra.declared import HOUSE, INFRA, compose, example

DOCKER = """#!/bin/sh
echo "$@" >> {asked}
case "$*" in
  version*) {version} ;;
  "compose version") {has_compose} ;;
  *config*) cat {config} ;;
  *up*) {up} ;;
esac
"""


def docker(folder: Path, version: str = "echo 28", has_compose: str = ":", up: str = ":") -> Path:
    """A docker on a path of its own; what it is asked is kept beside it."""
    (folder / "config.json").write_text(json.dumps(compose()))
    script = folder / "docker"
    said = {"version": version, "has_compose": has_compose, "up": up}
    script.write_text(DOCKER.format(asked=folder / "asked", config=folder / "config.json", **said))
    script.chmod(0o755)
    return folder


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole path, with the files of the stack."""
    for name in (".env.example", "compose.yaml"):
        (tmp_path / name).write_text((INFRA / name).read_text())
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(stack, "HERE", tmp_path)
    return tmp_path


def test_without_docker_it_says_so_and_what_to_do_instead(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(INFRA / "stack.py")]
    said = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "stack: the stack does not run: there is no command 'docker' here; "
        "start it where a container engine runs, or take `emolake serve`, which needs none\n"
    )


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"version": "echo 'no socket' >&2; exit 1"}, r"no engine answers docker \(no socket\); start it where"),
        ({"version": "exit 1"}, r"no engine answers docker \(it said nothing\)"),
        ({"has_compose": "echo 'unknown command' >&2; exit 1"}, r"this docker has no compose \(unknown command\)"),
    ],
)
def test_what_cannot_start_is_found_before_anything_is_built(here: Path, said: dict[str, str], sentence: str) -> None:
    docker(here, **said)
    with pytest.raises(NoStack, match=sentence):
        check_engine()


def test_it_starts_the_compose_file_and_prints_the_addresses(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    docker(here)
    assert main([]) == 0
    assert asked(here)[2:] == [
        f"compose --file {INFRA}/compose.yaml up --detach --build",
        f"compose --file {INFRA}/compose.yaml config --format json",
    ]
    first, *table = capfd.readouterr().out.splitlines()
    assert first.startswith("infra/.env is new")
    assert table == [
        "what                    address",
        "the store, S3           http://127.0.0.1:9000",
        "the store, pages        http://127.0.0.1:9001",
        "Prefect, pages and API  http://127.0.0.1:4200",
        "Marquez, API            http://127.0.0.1:5000",
        "Marquez, pages          http://127.0.0.1:3000",
    ]


def test_what_fails_to_start_is_one_sentence(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    docker(here, up="exit 17")
    assert main([]) == 1
    assert "'docker compose up' ended with exit code 17; its last lines say why" in capfd.readouterr().err
    docker(here)
    (here / "docker").write_text((here / "docker").read_text().replace("cat ", "exit 3; "))
    assert main([]) == 1
    assert "compose does not take its file (it said nothing)" in capfd.readouterr().err


def test_down_ends_it_and_keeps_the_volumes(here: Path) -> None:
    docker(here)
    assert main(["down"]) == 0
    assert asked(here)[-1] == f"compose --file {INFRA}/compose.yaml down"


def test_empty_secrets_become_random_words_once(tmp_path: Path) -> None:
    kept = tmp_path / ".env"
    assert fill_in(INFRA / ".env.example", kept)
    values = dict(line.split("=", 1) for line in kept.read_text().splitlines() if line and not line.startswith("#"))
    made = {name for name, value in values.items() if value != example()[name]}
    assert made == {"AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "MARQUEZ_PASSWORD"}
    assert len({values[name] for name in made}) == 3 and all(len(values[name]) == 32 for name in made)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_text("MINE=1\n")
    assert not fill_in(INFRA / ".env.example", kept) and kept.read_text() == "MINE=1\n"


def test_a_port_without_a_name_is_called_after_its_service() -> None:
    assert addresses({"services": {"db": {"ports": [{"published": "5432"}]}, "none": {}}}).splitlines() == [
        "what  address",
        "db    127.0.0.1:5432",
    ]


def test_make_stack_runs_this_and_git_does_not_see_its_passwords() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    command = ["make", "-n", "stack", "stack-down"]
    said = subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["python3 -P infra/stack.py", "python3 -P infra/stack.py down"]
    ignored = subprocess.run(["git", "check-ignore", "infra/.env"], cwd=HOUSE, capture_output=True, check=False)
    assert ignored.returncode in (0, 128)  # 128: no git checkout
