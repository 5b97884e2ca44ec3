"""How rounds are shared out, and what is written of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import reliability
from benchmarks.marked import marks
from benchmarks.reliability import SCRIPT, asked, main, table
from tests.reliability.rounds import DISTURBANCES, Found


def test_each_disturbance_has_its_share_and_at_least_one_round() -> None:
    rounds = asked(220, 7)
    for what, disturbance in DISTURBANCES.items():
        seeds = [seed for one, seed in rounds if one == what]
        assert seeds == list(range(7, 7 + 2 * disturbance.share))
    assert len(asked(1, 0)) == len(DISTURBANCES)


def test_the_report_tells_what_was_played_what_could_not_be_and_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Found("Ctrl-C", 0, n_repeated=2), Found("Ctrl-C", 1, was_disturbed=False, went_on=True)]
    monkeypatch.setattr(reliability, "measure", lambda folder, rounds, n_at_once: found)
    report, (begin, end) = tmp_path / "RELIABILITY.md", marks(SCRIPT)
    report.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    assert main([], report) == 0
    written = report.read_text(encoding="utf-8")
    assert written.startswith(f"before\n{begin}\n2 rounds from seed 0, 2 workers, in 0 minutes: emolake ")
    assert written.endswith(f"{end}\nafter\n") and "old" not in written
    assert "| Ctrl-C | 2 | 1 | 1 | 0 | 0 | 0 | 2 |" in written
    assert "| kill -9 of a job | none: this machine cannot |" in written

    found.append(Found("Ctrl-C", 2, losses=["table coarse is (11, 11), not (12, 12)"]))
    assert main([], report) == 1
    assert "* Ctrl-C, seed 2: table coarse is (11, 11), not (12, 12)" in report.read_text(encoding="utf-8")


def test_no_rounds_are_a_table_too() -> None:
    assert table([], 0, 60.0).startswith("0 rounds from seed 0, 2 workers, in 1 minutes")
