from __future__ import annotations

import json

from tests.flows.small import Small


def test_features_as_a_table_and_as_json(small: Small) -> None:
    rows = json.loads(small.cli("features", "--json").stdout)
    assert [row["name"] for row in rows] == ["egemaps", "lld", "teacher", "waveform"]
    assert all(len(row["key"]) == 32 for row in rows)
    printed = small.cli("features").stdout.splitlines()
    assert printed[0].split() == ["name", "step", "fields", "rows", "failures", "hours", "bytes"]
    assert len(printed) == 5


def test_no_failure_is_said_in_words(small: Small) -> None:
    assert small.cli("failures").stdout == "every utterance could be treated\n"
    assert json.loads(small.cli("failures", "--json").stdout) == []
