"""What the files of `infra` declare: services, manifests, images, and the folder an image would be built from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HOUSE = Path(__file__).resolve().parents[2]
INFRA = HOUSE / "infra"
DOCKERFILES = (INFRA / "Dockerfile.cpu", INFRA / "Dockerfile.gpu")

NAMED = re.compile(r"\$\{(\w+)")


def version() -> str:
    """Of Emolake, which is the tag of its images."""
    declared: str = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return declared


@cache
def compose() -> dict[str, Any]:
    """The compose file with the settings of the example in place, a word in every empty one."""
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    values = {name: value or "word" for name, value in example().items()}
    text = re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: values[found[1]], text)
    declared: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
    return declared


def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def example() -> dict[str, str]:
    """The settings of `.env.example`."""
    lines = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[misc]


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, manifest) of everything in `infra/k8s`."""
    for path in sorted((INFRA / "k8s").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path.name, manifest


@cache
def gpu_pool() -> dict[str, Any]:
    """The base job template of the work pool of GPU jobs."""
    template: dict[str, Any] = json.loads((INFRA / "k8s" / "gpu-pool.json").read_text(encoding="utf-8"))
    return template


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, pod) of every manifest that starts pods."""
    for _, manifest in manifests():
        if "template" in manifest.get("spec", {}):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def instructions(dockerfile: Path, name: str) -> list[str]:
    """What follows each instruction of that name, its continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text(encoding="utf-8")).replace("\\\n", " ")
    return re.findall(rf"(?m)^{name} +(.*)$", text)


def copied(dockerfile: Path) -> list[str]:
    """What a Dockerfile copies from the build's folder."""
    lines = [line.split() for line in instructions(dockerfile, "COPY") if not line.startswith("--from")]
    return [source for words in lines for source in words[:-1]]


def stages(dockerfile: Path) -> dict[str, str]:
    """Stage -> what it begins from; the last one may have no name."""
    lines = [line.split() for line in instructions(dockerfile, "FROM")]
    return {words[2] if len(words) == 3 else "": words[0] for words in lines}


def run(
    command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path = HOUSE
) -> subprocess.CompletedProcess[str]:
    """Runs a command of the images with this environment's programs."""
    variables = {**os.environ, "DO_NOT_TRACK": "1", **(environment or {})}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
