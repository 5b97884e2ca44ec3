from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from flows.audit.declarations import FILE as ENCODERS
from flows.audit.declarations import Encoders
from flows.audit.licence import FILE as LICENCES
from flows.audit.licence import TERMS, Licences
from flows.audit.stated import SHIPPED, Section, bare, files_of, read_stated
from warehouse.errors import InvalidField, MalformedSource


class Facts(Section):
    """Of a test."""

    source: str = Field("", min_length=1)


def test_what_is_not_there_states_nothing(tmp_path: Path) -> None:
    assert read_stated(tmp_path / "facts.toml", Facts) == Facts()
    assert files_of(tmp_path, "licences") == (tmp_path / "licences.toml", SHIPPED / "licences.toml")


@pytest.mark.parametrize(
    ("text", "mistake", "sentence"),
    [
        ("source = ", MalformedSource, "is not TOML"),
        ("licence = 'MIT'", InvalidField, r"facts.toml: field 'licence' is wrong: extra inputs are not permitted"),
        ("source = ''", InvalidField, "field 'source' is wrong: string should have at least 1 character"),
    ],
)
def test_a_file_with_a_mistake_is_named(tmp_path: Path, text: str, mistake: type[Exception], sentence: str) -> None:
    (tmp_path / "facts.toml").write_text(text)
    with pytest.raises(mistake, match=sentence):
        read_stated(tmp_path / "facts.toml", Facts)


def test_every_shipped_fact_has_its_source_and_every_licence_its_terms() -> None:
    encoders = read_stated(SHIPPED / f"{ENCODERS}.toml", Encoders)
    licences = read_stated(SHIPPED / f"{LICENCES}.toml", Licences)
    assert len(encoders.encoders) > 40 and {"iemocap", "meld", "mosei", "films", "xed"} <= licences.corpora.keys()
    named = [name for entry in encoders.encoders.items() for name in (entry[0], *entry[1].also)]
    assert len(set(map(bare, named))) == len(named), "one name, two entries"
    assert all(entry.trained_on and "http" in entry.source for entry in encoders.encoders.values())
    stated = {entry.licence for entry in encoders.encoders.values()} - {""}
    assert stated <= licences.licences.keys(), "a licence that says nothing of its terms"
    for entry in [*licences.corpora.values(), *licences.steps.values()]:
        assert entry.terms is not None and set(entry.terms) <= set(TERMS)
