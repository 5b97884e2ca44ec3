"""Whole builds in a lake on S3: the command line, Prefect, worker processes, jobs; the same digests as in a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.rounds import Bench
from tests.warehouse.s3_server import s3_bucket

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


def emolake(*arguments: str) -> str:
    command = [sys.executable, "-m", "flows", *arguments]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digests(lake: str) -> dict[str, str]:
    return {one["key"]: one["digest"] for one in json.loads(emolake("ls", "--lake", lake, "--json"))}


@pytest.mark.parametrize("recipe", ["both", "fitted"])
def test_a_build_on_s3_is_that_of_a_folder_and_other_hosts_go_on_with_it(
    recipe: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench").mkdir()
    bench, lake = Bench(tmp_path / "bench"), f"{bucket}/{recipe}"
    file = tmp_path / "bench" / f"{recipe}.toml"
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "one"))
    emolake(*bench.arguments(recipe, tmp_path / "folder"))
    on_s3 = [lake if one == str(tmp_path / "folder") else one for one in bench.arguments(recipe, tmp_path / "folder")]
    emolake(*on_s3)
    assert digests(lake) == digests(str(tmp_path / "folder"))
    monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / "two"))
    steps = json.loads(emolake("plan", str(file), "--lake", lake, "--json"))
    assert steps and not any(step["new"] or step["waits_for"] for step in steps)
    assert json.loads(emolake("verify", "--deep", "--lake", lake, "--json")) == []
    count = "SELECT corpus, count(*) AS n FROM utterances GROUP BY ALL ORDER BY ALL"
    folder = emolake("sql", count, "--lake", str(tmp_path / "folder"), "--json")
    assert emolake("sql", count, "--lake", lake, "--json") == folder
    shutil.rmtree(tmp_path / "two")
    before = len(digests(lake))
    file.write_text(file.read_text().replace("n_mfcc = 13", "n_mfcc = 14").replace("epochs = 40", "epochs = 2"))
    emolake(*on_s3)  # reads what another host made, and adds to it
    assert len(digests(lake)) > before and json.loads(emolake("verify", "--deep", "--lake", lake, "--json")) == []
