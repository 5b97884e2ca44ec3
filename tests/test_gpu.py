"""The benchmark of GPUs, at tiny size on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import CASES, NO_GPU, SCRIPT, Bench, Busy, Case, Row, Size, table
from benchmarks.marked import marks
from tests.models.tiny_lake import FIELDS
from tests.sparing import first

BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SOUND = BLOCKS | {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
TINY = Size(
    n_utterances=8, epochs=2, lasts_s=(0.2, 0.6), state=16, n_layers=2, fields=FIELDS,
    configurations={
        "wav2vec2": ("Wav2Vec2", SOUND),
        "wav2vec2_large": ("Wav2Vec2", SOUND | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
        "bert": ("Bert", BLOCKS | {"vocab_size": gpu.N_WORDS + len(gpu.SPECIAL)}),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), TINY)


@pytest.mark.parametrize("case", first(3, CASES), ids=lambda case: f"{case.recipe}-{case.what}")
def test_every_case_is_measured_twice_and_alike_on_a_cpu(bench: Bench, case: Case) -> None:
    row = bench.measure(case, "cpu")
    assert (row.case, row.difference, row.loss_difference, row.busy) == (case, 0, 0, None)
    assert min(row.n_weights, row.audio_per_s, row.reading, row.peak_gib) > 0


def test_each_system_is_distilled_and_fine_tuned() -> None:
    systems = {case.system for case in CASES}
    assert len(systems) == 5
    assert {(case.system, case.what) for case in CASES} == {
        (system, what) for system in systems for what in ("distillation", "fine-tuning")
    }


def test_without_a_gpu_it_says_so_and_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(tmp_path / "absent.md") == 0
    assert capsys.readouterr() == (f"{NO_GPU}\n", "")


def test_the_report_is_written_between_its_markers_and_a_failure_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(bench: Bench, case: Case, device: str) -> Row:
        if case.system == "MMER":
            raise RuntimeError("no memory | at all\nmore")
        return Row(case, 5_000_000, 1234.5, 7.25, 2.0, 0.9, 1e-6, 0.0)

    for name, answer in {"is_available": True, "get_device_name": "Tiny", "empty_cache": None}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(Bench, "measure", measure)
    page, (begin, end) = tmp_path / "page.md", marks(SCRIPT)
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    assert gpu.main(page) == 1
    text = page.read_text()
    assert text.startswith(f"before\n{begin}\nTiny, torch") and text.endswith(f"|\n{end}\nafter\n")
    assert "old" not in text
    assert "| CMD | distillation | 5.0 M | 1234 | 7.2 | 2.0 | 90% | 1.0e-06, 0.0e+00 |" in text
    assert "| MMER | fine-tuning | failed: no memory / at all |" in text
    assert capsys.readouterr().out.count(" …\n") == len(CASES)


def test_equal_runs_are_called_so() -> None:
    assert table([Row(CASES[0], 1, 1.0, 1.0, 1.0, None, 0.0, 0.0)], "x").endswith("| not told | none |")


def test_the_device_is_as_busy_as_it_was_in_that_time() -> None:
    busy = Busy("cpu")
    busy._seen = [(1.0, 0.2), (2.0, 0.4), (3.0, 0.8)]
    assert busy.between(1.5, 3.5) == pytest.approx(0.6)
    assert busy.between(4.0, 5.0) is None
