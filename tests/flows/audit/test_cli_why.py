"""Why two artifacts differ, and why a recipe would compute something again, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.audit.little import Little, little_copy
from tests.flows.saying import Said, saying

Ask = Callable[..., Said]


@pytest.fixture(scope="module")
def little(whole: Little, tmp_path_factory: pytest.TempPathFactory) -> Little:
    return little_copy(whole, tmp_path_factory.mktemp("little") / "lake")


@pytest.fixture
def ask(little: Little, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """`emolake why …` on the little lake."""
    say = saying(monkeypatch, capsys)
    return lambda *arguments: say("why", *arguments, "--lake", str(little.warehouse.root))


def test_two_artifacts(ask: Ask, little: Little) -> None:
    features = {a.request.step: a for a in little.warehouse.artifacts("features")}
    one, other = features["extractors.opensmile"], features["extractors.mfcc"]
    answer = ask(one.key, "--than", other.key[:12], "--json").json
    found = {row["where"]: (row["asked"], row["there"]) for row in answer["differences"]}
    assert answer["than"] == other.key and found["step"] == ("extractors.opensmile", "extractors.mfcc")
    assert found["digest"] == (one.digest, other.digest)
    table = [line.split() for line in ask(one.key, "--than", other.key).out.splitlines()]
    assert table[0] == ["where", one.key[:12], other.key[:12]]
    assert ["digest", one.digest[:12], other.digest[:12]] in table


def test_the_nearest_is_meant_where_none_is_named(ask: Ask, little: Little) -> None:
    fits = little.warehouse.artifacts("checkpoint")
    answer = ask(fits[0].key[:12], "--json").json
    assert answer["than"] in {fit.key for fit in fits[1:]}
    assert "the lake holds no other artifact of 'flows.report' to compare with" in ask("reports/little").out
    assert ask("reports/little", "--json").json["than"] is None
    assert "no artifact has the key, digest or name 'reports/none'" in ask("reports/none").err


def test_a_recipe(ask: Ask, little: Little, tmp_path: Path) -> None:
    assert ask(str(little.recipe)).out == "a run of 'little' finds all there\n"
    other = tmp_path / "little.toml"
    text = little.recipe.read_text(encoding="utf-8").replace('"eGeMAPSv02"', '"GeMAPSv01b"')
    other.write_text(text, encoding="utf-8")
    rows = ask(str(other), "--json").json
    changed = next(row for row in rows if row["where"] == "params.plugin.fields.feature_set")
    assert (changed["asked"], changed["there"]) == ("GeMAPSv01b", "eGeMAPSv02")
    assert changed["than"] in {a.key for a in little.warehouse.artifacts()}
    assert any(row["where"].startswith("waits for: extract functionals") for row in rows)
    told = ask(str(other)).out.splitlines()
    assert told[0].split() == ["step", "new", "where", "asked", "there", "than"]
    assert any("params.plugin.fields.feature_set" in line and changed["than"][:12] in line for line in told)
    absent = ask(str(tmp_path / "none.toml"))
    assert absent.code == 1 and "the recipe is not at" in absent.err
