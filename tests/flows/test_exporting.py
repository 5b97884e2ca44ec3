from __future__ import annotations

from pathlib import Path

import pytest

from flows.card import card_of, markdown
from flows.exporting import CARD, export
from flows.trained import trained
from tests.flows.spoken import Spoken
from warehouse.audit.errors import TermsUnknown, UseForbidden
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


def test_a_purpose_is_refused_until_the_terms_are_known_and_allow_it(spoken: Spoken, tmp_path: Path) -> None:
    fit, stated = trained(spoken.warehouse, "spoken:linear")[0], spoken.warehouse.root / "licences.toml"
    with pytest.raises(TermsUnknown, match=r"not all terms of corpus 'clips' are known .* → spoken:linear: where you"):
        export(spoken.warehouse, fit, "onnx", tmp_path / "given", "public")
    try:
        stated.write_text('[corpora.clips]\nlicence = "CC-BY-4.0"\nsource = "our own voices"\n')
        with pytest.raises(UseForbidden, match=r"program 'openSMILE' is non-commercial .*\(students.linear\) → spoken"):
            export(spoken.warehouse, fit, "onnx", tmp_path / "given", "commercial")
        assert not (tmp_path / "given").exists()
        export(spoken.warehouse, fit, "onnx", tmp_path / "given", "public")
    finally:
        stated.unlink()
    card = (tmp_path / "given" / CARD).read_text(encoding="utf-8")
    assert "Together: non-commercial, attribution." in card and "It was given for public use." in card
    assert "| clips | corpus | CC-BY-4.0 | attribution | utterances " in card
