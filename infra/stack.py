"""`make stack`: starts what `infra/compose.yaml` declares, with `docker compose`, and prints the addresses.

It needs Docker and nothing of ours, so it runs before anything is installed. Marquez comes along with
`COMPOSE_PROFILES=lineage make stack`; `make stack-down` ends all and keeps the volumes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMPOSE = ("docker", "compose", "--file", str(HERE / "compose.yaml"))


class NoStack(Exception):
    """The stack cannot be started, or did not start."""

    def __init__(self, why: str, way_out: str) -> None:
        super().__init__(f"the stack does not run: {why}; {way_out}")


def main(arguments: Sequence[str]) -> int:
    """`stack.py [down]`. Returns its exit code."""
    try:
        check_engine()
        if list(arguments) == ["down"]:
            _compose("down")
            return 0
        if fill_in(HERE / ".env.example", HERE / ".env"):
            print("infra/.env is new: its passwords are random words, and whoever reads it knows them", flush=True)
        _compose("up", "--detach", "--build")
        print(addresses(_config()))
    except NoStack as mistake:
        print(f"stack: {mistake}", file=sys.stderr)
        return 1
    return 0


def check_engine() -> None:
    """Finds out whether anything can be started at all, before minutes are spent.

    Raises:
        NoStack: there is no docker, no engine answers it, or it has no compose.
    """
    way_out = "start it where a container engine runs, or take `emolake serve`, which needs none"
    if shutil.which("docker") is None:
        raise NoStack("there is no command 'docker' here", way_out)
    for what, question in (
        ("no engine answers docker", ("docker", "version", "--format", "{{.Server.Version}}")),
        ("this docker has no compose", ("docker", "compose", "version")),
    ):
        ended = subprocess.run(question, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise NoStack(f"{what} ({_last_line(ended.stderr)})", way_out)


def fill_in(example: Path, kept: Path) -> bool:
    """Writes the settings of the stack where there are none: the example with a random word for every empty secret.

    Returns:
        Whether it was written. What is there is left as it is.
    """
    if kept.exists():
        return False
    text = re.sub(
        r"(?m)^(\w+_(?:PASSWORD|SECRET_ACCESS_KEY)=)$",
        lambda found: found[1] + secrets.token_hex(16),
        example.read_text(encoding="utf-8"),
    )
    with open(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    return True


def addresses(config: Mapping[str, Any]) -> str:
    """What is where, as an aligned table, from what compose made of its file.

    Example:
        >>> port = {"name": "the store", "host_ip": "127.0.0.1", "published": "9000", "app_protocol": "http"}
        >>> print(addresses({"services": {"minio": {"ports": [port]}}}))
        what       address
        the store  http://127.0.0.1:9000
    """
    rows = [("what", "address")]
    for service, declared in config["services"].items():
        for port in declared.get("ports", []):
            where = f"{port.get('host_ip') or '127.0.0.1'}:{port['published']}"
            scheme = f"{port['app_protocol']}://" if "app_protocol" in port else ""
            rows.append((port.get("name") or service, scheme + where))
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"{what:<{width}}  {where}" for what, where in rows)


def _compose(*words: str) -> None:
    """Shows what compose says while it says it."""
    ended = subprocess.run([*COMPOSE, *words], check=False)
    if ended.returncode:
        raise NoStack(f"'docker compose {words[0]}' ended with exit code {ended.returncode}", "its last lines say why")


def _config() -> dict[str, Any]:
    ended = subprocess.run([*COMPOSE, "config", "--format", "json"], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NoStack(f"compose does not take its file ({_last_line(ended.stderr)})", "see infra/compose.yaml")
    declared: dict[str, Any] = json.loads(ended.stdout)
    return declared


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
