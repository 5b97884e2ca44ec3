from __future__ import annotations

from pathlib import Path

import pytest

from flows.card import card_of, markdown
from flows.exporting import CARD, export
from flows.trained import trained
from tests.flows.spoken import Spoken
from warehouse.errors import InvalidField


def test_a_fit_is_given_with_its_card(spoken: Spoken, tmp_path: Path) -> None:
    fit = trained(spoken.warehouse, "spoken:crossed")[0]
    files = export(spoken.warehouse, fit, "transformers", tmp_path / "given")
    assert {CARD, "config.json", "model.safetensors", "student.json", "encoders/audio/model.safetensors"} <= set(files)
    card = card_of(spoken.warehouse, fit)
    assert (tmp_path / "given" / CARD).read_text(encoding="utf-8") == markdown(card)
    with pytest.raises(InvalidField, match="which is not empty: name another"):
        export(spoken.warehouse, fit, "transformers", tmp_path / "given")


def test_what_cannot_be_given_leaves_nothing(spoken: Spoken, tmp_path: Path) -> None:
    fit = trained(spoken.warehouse, "spoken:crossed")[0]
    with pytest.raises(InvalidField, match="take 'transformers'"):
        export(spoken.warehouse, fit, "onnx", tmp_path / "given")
    assert not (tmp_path / "given").exists()
    linear = trained(spoken.warehouse, "spoken:linear")[0]
    assert export(spoken.warehouse, linear, "onnx", tmp_path / "given") == [CARD, "model.onnx"]
