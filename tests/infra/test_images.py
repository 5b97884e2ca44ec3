"""The Dockerfiles: what they copy is there and enough, what they install is what the rooms import.

No container engine runs here: the images were not built. hadolint reads the files, and a job starts in a folder that
holds exactly what the image would.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infra.declared import DOCKERFILES, HOUSE, INFRA, copied, instructions, pod_specs, run, stages, version

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)

CALLED = {"lightning_fabric": "lightning-fabric", "sklearn": "scikit-learn"}
"""Module -> distribution, where their names differ."""

LOADED = {
    "fsspec": "the stores of the lake, by their URLs",
    "s3fs": "a lake on s3://",
    "protobuf": "tokenizers of some checkpoints",
    "sentencepiece": "tokenizers of some checkpoints",
    "tensorboard": "what torch.utils.tensorboard writes with",
}
"""What is not imported by name -> what loads it."""

ELSEWHERE = {"psutil", "submitit"}
"""Of the launcher on Slurm: where the flow is, not the job."""


@cache
def context() -> frozenset[str]:
    """The files that docker would send to a build, read as docker reads .dockerignore."""
    from docker.utils.build import exclude_paths

    lines = (HOUSE / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    found = {name for name in exclude_paths(str(HOUSE), patterns) if (HOUSE / name).is_file()}
    return frozenset(found - {".dockerignore"})  # docker's own


def pinned() -> dict[str, str]:
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {name.lower(): pin for name, _, pin in (line.partition("==") for line in lines)}


def required() -> set[str]:
    """The packages of the GPU image."""
    lines = (INFRA / "gpu.txt").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if not line.startswith("#")}


@each_dockerfile
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    said = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_build_sees_code_and_neither_lakes_nor_passwords() -> None:
    """On a folder like this one in which all of them lie."""
    assert {name.split("/")[0] for name in context()} == {
        "LICENSE", "NOTICE", "constraints.txt", "pyproject.toml", "features", "flows", "infra", "models", "warehouse",
    }  # fmt: skip
    assert not [name for name in context() if re.search(r"__pycache__|\.pyc$|(^|/)\.env$", name)]
    tracked = subprocess.run(["git", "ls-files", "infra", "models"], cwd=HOUSE, capture_output=True, text=True)
    assert set(tracked.stdout.split()) <= context()


@each_dockerfile
def test_what_is_copied_is_sent_to_the_build(path: Path) -> None:
    assert copied(path)
    for source in copied(path):
        assert any(name == source or name.startswith(f"{source}/") for name in context()), source


@each_dockerfile
def test_every_stage_is_pinned_and_ends_as_a_user_with_a_number(path: Path) -> None:
    for origin in stages(path).values():
        assert origin in stages(path) or re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", origin)
    assert instructions(path, "USER") == ["10001"]
    assert {"LICENSE", "NOTICE"} <= set(copied(path))


@each_dockerfile
def test_the_first_lines_tag_as_the_other_files_say(path: Path) -> None:
    tags = re.findall(r"--tag (\S+)", path.read_text(encoding="utf-8"))
    assert tags and {tag.partition(":")[2] for tag in tags} == {version()}
    assert set(re.findall(r"--target (\S+)", path.read_text(encoding="utf-8"))) <= set(stages(path))


@each_dockerfile
def test_everything_installed_is_pinned(path: Path) -> None:
    lines = [line for line in instructions(path, "RUN") if "pip install" in line]
    assert lines and all("--constraint constraints.txt" in line for line in lines)
    assert {name for name in required() if name not in pinned()} == set()


def test_the_gpu_image_installs_what_its_rooms_import() -> None:
    found = set()
    for path in (file for room in ("models", "warehouse", "infra") for file in (HOUSE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").split(".")[0])
    others = found - set(sys.stdlib_module_names) - {"models", "warehouse", "infra"} - ELSEWHERE
    assert {CALLED.get(name, name) for name in others} | LOADED.keys() == required()


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Puts rooms into a folder as an image would; returns the image's variables, as far as they say where code is."""

    def put(*rooms: str) -> dict[str, str]:
        for name in context():
            if name.split("/")[0] in rooms:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(HOUSE / name, tmp_path / name)
        return {"PYTHONPATH": str(tmp_path)}

    return put


def test_a_job_starts_from_what_its_image_holds(tmp_path: Path, held: Callable[..., dict[str, str]]) -> None:
    """Its own entry point, and the arguments of the manifest."""
    entry = json.loads(instructions(INFRA / "Dockerfile.gpu", "ENTRYPOINT")[0])
    [job] = [pod["containers"][0] for name, pod in pod_specs() if name == "emolake-job"]
    said = run([*entry, *job["args"], "--help"], held("warehouse", "infra", "models"), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("usage: python -m models.job")


def test_a_pool_s_run_loads_from_what_its_image_holds(tmp_path: Path, held: Callable[..., dict[str, str]]) -> None:
    """What the deployment of jobs names, with no extractor beside it."""
    program = "import sys, flows.job_pool as it; module, _, name = it.ENTRYPOINT.rpartition('.'); "
    program += "assert module == it.__name__ and hasattr(it, name) and 'torch' not in sys.modules"
    said = run([sys.executable, "-P", "-c", program], held("warehouse", "infra", "models", "flows"), cwd=tmp_path)
    assert said.returncode == 0, said.stderr


@pytest.mark.slow
def test_the_packages_install_without_the_rooms(tmp_path: Path) -> None:
    """The layer of packages has pyproject.toml and no code; the command line is there all the same."""
    for name in ("pyproject.toml", "LICENSE", "NOTICE"):
        shutil.copyfile(HOUSE / name, tmp_path / name)
    (tmp_path / "README.md").touch()
    place = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(place), str(tmp_path)], check=True, env={**os.environ})
    assert not (place / "flows").exists()
    said = run([sys.executable, "-P", str(place / "bin" / "emolake"), "--help"],
               {"PYTHONPATH": f"{place}{os.pathsep}{HOUSE}"}, cwd=tmp_path)  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "Feature store and experiment line" in said.stdout
