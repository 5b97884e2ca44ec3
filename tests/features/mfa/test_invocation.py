from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from features.mfa import invocation
from tests.features.mfa.stand_in import StandIn, write_stand_in
from warehouse.errors import MfaMissing


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return write_stand_in(tmp_path / "stand_in", ["hello"])


def program(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process is gone, or dead and waiting to be asked for its exit code."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


# -- where it is -----------------------------------------------------------------------------------------------


def test_the_variable_goes_before_the_path(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_stand_in(tmp_path / "other", ["hello"])
    monkeypatch.setenv("PATH", str(other.command.parent))
    monkeypatch.delenv(invocation.VARIABLE, raising=False)
    assert invocation.find() == other.command
    monkeypatch.setenv(invocation.VARIABLE, str(stand_in.command))
    assert invocation.find() == stand_in.command


def test_where_it_is_not_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(invocation.VARIABLE, raising=False)
    with pytest.raises(MfaMissing, match=r"no 'mfa' is on PATH\): install it .*infra/mfa/pixi\.toml.*EMOLAKE_MFA"):
        invocation.find()
    monkeypatch.setenv(invocation.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(MfaMissing, match=r"EMOLAKE_MFA names '.*/nowhere', which is no program"):
        invocation.find()


def test_what_the_error_tells_to_install_is_there() -> None:
    house = Path(__file__).resolve().parents[3]
    told = str(MfaMissing("x"))
    assert "infra/mfa/pixi.toml" in told and "infra/mfa/environment.yml" in told
    assert (house / "infra" / "mfa" / "pixi.toml").is_file()
    assert (house / "infra" / "mfa" / "environment.yml").is_file()


def test_both_ways_to_install_it_take_the_same_packages() -> None:
    folder = Path(__file__).resolve().parents[3] / "infra" / "mfa"
    conda = {}
    for line in yaml.safe_load((folder / "environment.yml").read_text())["dependencies"]:
        name, version = re.fullmatch(r"([a-z-]+)(.*)", line).groups()  # type: ignore[union-attr]
        conda[name] = version
    pixi = tomllib.loads((folder / "pixi.toml").read_text())["dependencies"]
    assert conda == {"python": "=3.11", "montreal-forced-aligner": ">=3.4.3,<3.5", "kalpy": "", "kaldi": "=*=*cpu*",
                     "pynini": ""}  # fmt: skip
    assert pixi == {"python": "3.11.*", "montreal-forced-aligner": conda["montreal-forced-aligner"], "kalpy": "*",
                    "kaldi": {"version": "*", "build": "*cpu*"}, "pynini": "*"}  # fmt: skip
    container = (folder / "Containerfile").read_text()
    assert "COPY infra/mfa/environment.yml" in container
    assert "EMOLAKE_MFA=/opt/conda/envs/emolake-mfa/bin/mfa" in container


# -- which versions --------------------------------------------------------------------------------------------


def test_versions_are_asked_of_it_once(stand_in: StandIn) -> None:
    assert invocation.versions(stand_in.command) == {"mfa": "3.4.3", "kalpy": "0.9.1"}
    assert invocation.versions(stand_in.command) == {"mfa": "3.4.3", "kalpy": "0.9.1"}
    assert stand_in.asked() == ["mfa", "kalpy"]


def test_kalpy_is_that_of_the_environment_behind_a_link(stand_in: StandIn, tmp_path: Path) -> None:
    link = tmp_path / "mfa"
    link.symlink_to(stand_in.command)
    assert invocation.versions(link) == {"mfa": "3.4.3", "kalpy": "0.9.1"}


@pytest.mark.parametrize("plan", [{"says": "no version here!"}, {"says": ""}, {"says_with": 3}])
def test_a_command_that_does_not_say_its_version_is_none(stand_in: StandIn, plan: dict[str, object]) -> None:
    stand_in.plan(**plan)
    with pytest.raises(MfaMissing, match=r"'.*/mfa' does not say its version: "):
        invocation.versions(stand_in.command)


def test_an_environment_without_kalpy_is_told(stand_in: StandIn) -> None:
    stand_in.command.with_name("python").write_text("#!/bin/sh\necho no package kalpy >&2\nexit 1\n")
    with pytest.raises(MfaMissing, match=r"'.*/python' does not say its version: no package kalpy"):
        invocation.versions(stand_in.command)


def test_an_environment_without_python_is_told(stand_in: StandIn) -> None:
    stand_in.command.with_name("python").unlink()
    with pytest.raises(MfaMissing, match=r"'.*/python' does not say its version: FileNotFoundError"):
        invocation.versions(stand_in.command)


def test_a_command_that_hangs_on_its_version_is_none(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "ASKING_S", 0.2)
    stand_in.command.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(MfaMissing, match="does not say its version: TimeoutExpired"):
        invocation.versions(stand_in.command)


# -- one run ---------------------------------------------------------------------------------------------------


def test_it_runs_in_its_own_root_and_says_everything_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MFA_ROOT_DIR", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/ours")
    said = 'echo "$1 $MFA_ROOT_DIR ${PYTHONPATH-none} $OMP_NUM_THREADS ${PATH%%:*}"; echo trouble >&2'
    command = program(tmp_path, f"{said}; read -r x; exit 3")
    assert invocation.run(command, ["align"], tmp_path / "root", tmp_path / "log", 20) == 3
    assert (tmp_path / "log").read_text() == f"align {tmp_path / 'root'} none 1 {tmp_path}\ntrouble\n"
    assert capfd.readouterr() == ("", "")


def test_a_run_that_is_killed_has_the_signal_as_its_exit_code(tmp_path: Path) -> None:
    command = program(tmp_path, "kill -KILL $$")
    assert invocation.run(command, [], tmp_path, tmp_path / "log", 20) == -signal.SIGKILL


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
def test_at_the_limit_the_whole_group_is_ended(tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "PATIENCE_S", 0.3)
    child = f"sh -c \"trap '' TERM; echo \\$\\$ > {tmp_path}/child; sleep 60\""
    command = program(tmp_path, f"{trap} {child} & wait; sleep 60")
    assert invocation.run(command, [], tmp_path, tmp_path / "log", 1) is None
    assert gone(int((tmp_path / "child").read_text()))


def test_a_worker_does_not_outlive_a_run_that_ended(tmp_path: Path) -> None:
    command = program(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child")
    assert invocation.run(command, [], tmp_path, tmp_path / "log", 20) == 0
    assert gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_does_not_outlive_us(tmp_path: Path, number: int) -> None:
    command = program(tmp_path, f"echo $$ > {tmp_path}/pid; sleep 60")
    ours = (
        "import sys; from pathlib import Path; from features.mfa.invocation import run; p = Path(sys.argv[1]); "
        "run(p / 'program', [], p, p / 'log', 60)"
    )
    house = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", ours, tmp_path], cwd=house, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)  # until the watcher waits
    os.kill(process.pid, number)
    process.wait(20)
    assert command.exists() and gone(int((tmp_path / "pid").read_text()))
