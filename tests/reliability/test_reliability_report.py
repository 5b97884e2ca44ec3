"""How rounds are shared out, and what is written of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import reliability
from benchmarks.marked import marks
from benchmarks.reliability import SCRIPT, asked, main
from tests.reliability import rounds
from tests.reliability.rounds import DISTURBANCES, Found


def test_each_disturbance_has_its_share_and_at_least_one_round() -> None:
    every = asked(220, 7)
    for what, disturbance in DISTURBANCES.items():
        seeds = [seed for one, seed in every if one == what]
        assert seeds == list(range(7, 7 + 2 * disturbance.share))
    assert len(asked(1, 0)) == len(DISTURBANCES)


def test_the_report_tells_what_was_played_what_could_not_be_and_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Found("Ctrl-C", 0, n_repeated=2), Found("Ctrl-C", 1, was_disturbed=False, went_on=True)]
    monkeypatch.setattr(reliability, "measure", lambda folder, asked, n_at_once: found)
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


def test_a_machine_that_can_play_no_round_leaves_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rounds, "CAN_LOOK", False)
    report = tmp_path / "RELIABILITY.md"
    report.write_text("as it was", encoding="utf-8")
    assert main(["--rounds", "1"], report) == 0
    assert "none of these rounds can be played on this machine" in capsys.readouterr().out
    assert report.read_text(encoding="utf-8") == "as it was"
