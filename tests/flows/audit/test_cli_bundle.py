"""`emolake share` and `rebuild`: what is refused; the whole way is walked in the tests of `flows.audit.rebuild`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.flows.saying import saying
from tests.flows.swept import swept_line


def test_shares_as_json_and_refuses_what_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = swept_line(tmp_path, verb="ingest")
    monkeypatch.chdir(tmp_path)
    say = saying(monkeypatch, capsys)
    refused = say("share", "swept.toml")
    assert refused.code == 1 and "'extract vector' is not done" in refused.err and not list(tmp_path.glob("*.zip"))
    line.pack()
    told = say("share", "swept.toml", "--out", "b.zip", "--json").json
    assert told == {"bundle": "b.zip", "shards": 2, "bytes": Path("b.zip").stat().st_size}
    first = Path("b.zip").read_bytes()
    (changed, *_) = sorted(line.roots["clips"].rglob("*.wav"))
    changed.write_bytes(b"another sound")
    assert say("share", "swept.toml", "--out", "c.zip").code == 0, "what was packed is shared, whatever came later"
    shutil.rmtree(line.roots["clips"])
    assert say("share", "swept.toml", "--out", "d.zip").code == 0, "raw files need not be mounted"
    assert Path("c.zip").read_bytes() == Path("d.zip").read_bytes() == first


def test_what_is_no_bundle_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.zip").write_text("hello")
    said = saying(monkeypatch, capsys)("rebuild", str(tmp_path / "x.zip"), "--lake", str(tmp_path / "lake"))
    assert said.code == 1 and "is no bundle that can be read" in said.err and not (tmp_path / "lake").exists()
