from __future__ import annotations

from pathlib import Path

import pytest

from infra import gpus as module
from infra.gpus import TOOL, Gpu, gpus


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the driver's tool, which says what is written into it."""
    tool = tmp_path / TOOL
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tool


def says(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_without_the_tool_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_each_accelerator_is_a_line(driver: Path) -> None:
    says(driver, "echo '0, 87, 1024, 81559'; echo '1, [N/A], [N/A], 81559'; echo 'no such line'")
    mib = 2**20
    assert gpus() == [Gpu(0, 0.87, 1024 * mib, 81559 * mib), Gpu(1, None, None, 81559 * mib)]


@pytest.mark.parametrize("script", ["exit 9", "sleep 60", "echo NVIDIA-SMI has failed"])
def test_a_tool_that_does_not_answer_says_nothing(driver: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    says(driver, script)
    assert gpus() == []
