from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.audit.lent import lent_lake
from tests.flows.saying import saying


def test_a_table_and_what_it_means_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say, lake = saying(monkeypatch, capsys), str(lent_lake(tmp_path / "lake").lake.root)
    told = say("licence", "mine:best", "--lake", lake)
    assert told.code == 0
    assert told.out.splitlines()[-3:] == [
        "terms that hold for mine:best: research-only, no-redistribution, non-commercial, attribution, unknown",
        "it cannot be exported for: commercial, public",
        f"what is unknown here can be stated in {lake}/licences.toml",
    ]
    assert "research-only, no-redistribution, attribution" in told.out and "(students.text_encoder)" in told.out
    found = say("licence", "w2v", "--lake", lake, "--json").json
    assert found["terms"] == ["attribution"] and found["forbidden"] == []
    assert [one["licence"] for one in found["sources"]] == ["Apache-2.0"]
    wrong = say("licence", "nothing", "--lake", lake)
    assert wrong.code == 1 and "'nothing' names nothing whose licence could be told" in wrong.err
