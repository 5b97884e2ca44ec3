"""What is remembered beside artifacts goes where it is of what goes."""

from __future__ import annotations

from pathlib import Path

from tests.warehouse.audit.withdrawn_lake import BEN, DIALOGUE, OWN, withdrawn_lake
from warehouse.audit.forgetting import forget
from warehouse.audit.withdrawal import Asked, withdrawal_of


def test_states_go_all_and_logs_only_of_tainted_models_or_where_they_name_somebody(tmp_path: Path) -> None:
    held = withdrawn_lake(tmp_path)
    lake = held.lake.root
    for place in (".resume/k/state", ".logs/tainted/events", ".logs/clean/events", f".cache/voice/{OWN}-1-1.bits",
                  f".cache/voice/{DIALOGUE}-1-1.bits", ".cache/overlaps-met"):  # fmt: skip
        (lake / place).parent.mkdir(parents=True, exist_ok=True)
        (lake / place).write_text("state")
    (lake / ".logs" / "clean" / "named").write_text(f"failed at {BEN[0]}")
    withdrawal = withdrawal_of(held.lake, Asked(recordings=[OWN]))
    forget(lake, withdrawal, ["tainted"])
    assert not (lake / ".cache" / "overlaps-met").exists()
    assert not (lake / ".resume").exists() and not (lake / ".logs" / "tainted").exists()
    assert {path.name for path in (lake / ".logs" / "clean").iterdir()} == {"events", "named"}, "Ben stays"
    assert [path.name for path in (lake / ".cache" / "voice").iterdir()] == [f"{DIALOGUE}-1-1.bits"]
    forget(lake, withdrawal_of(held.lake, Asked(utterances=[BEN[0]])), [])
    assert {path.name for path in (lake / ".logs" / "clean").iterdir()} == {"events"}
