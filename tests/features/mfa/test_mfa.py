"""The plug-in: what its rows are told apart by, where its files are, and its way through a lake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.aligners.mfa import Mfa
from features.corpora.table import Table
from features.extract import works
from features.ingest import ingest
from features.inventory import failed, holding
from features.mfa.training import training_work
from features.plugin import RATE_HZ, Clip
from tests.features.mfa.stand_in import StandIn, write_stand_in
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.catalog import build, identity, plugin_key
from warehouse.errors import InvalidField, MfaFailed, MfaMissing, Untreatable
from warehouse.hashing import file_digest

STEP = "aligners.mfa"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = write_stand_in(tmp_path / "stand_in", ["hello", "there", "old", "house", "red", "coat"])
    monkeypatch.setenv("EMOLAKE_MFA", str(found.command))
    return found


def plugin(stand_in: StandIn, **fields: object) -> Mfa:
    files = {"acoustic_model": str(stand_in.model), "dictionary": str(stand_in.dictionary)}
    return build("features.aligners", "mfa", files | fields, "the test")


# -- identity --------------------------------------------------------------------------------------------------


def test_its_identity_is_bytes_and_versions_and_no_path(stand_in: StandIn) -> None:
    assert identity(STEP, plugin(stand_in)) == {
        "step": STEP, "version": 2,
        "fields": {
            "acoustic_model": file_digest(stand_in.model), "dictionary": file_digest(stand_in.dictionary), "beam": 10,
            "retry_beam": 40, "speaker_adaptation": False, "versions": {"mfa": "3.4.3", "kalpy": "0.9.1"},
        },
    }  # fmt: skip


def test_a_copy_of_the_files_has_the_same_rows(stand_in: StandIn, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zip"
    copy.write_bytes(stand_in.model.read_bytes())
    key = plugin_key(STEP, plugin(stand_in))
    assert plugin_key(STEP, plugin(stand_in, acoustic_model=str(copy))) == key


def test_other_bytes_beams_or_versions_are_other_rows(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {plugin_key(STEP, plugin(stand_in))}
    keys |= {plugin_key(STEP, plugin(stand_in, **{name: value})) for name, value in
             (("beam", 12), ("retry_beam", 60), ("speaker_adaptation", True))}  # fmt: skip
    stand_in.model.write_bytes(b"another model")
    keys.add(plugin_key(STEP, plugin(stand_in)))
    stand_in.dictionary.write_text(stand_in.dictionary.read_text() + "new\tN UW1\n")
    keys.add(plugin_key(STEP, plugin(stand_in)))
    for n, (mfa, kalpy) in enumerate((("3.4.4", "0.9.1"), ("3.4.3", "0.9.2"))):
        other = write_stand_in(tmp_path / f"other{n}", [], kalpy)
        other.plan(says=mfa)
        monkeypatch.setenv("EMOLAKE_MFA", str(other.command))
        keys.add(plugin_key(STEP, plugin(stand_in)))
    assert len(keys) == 8


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"beam": 0}, "aligner 'mfa': field 'beam' is 0, but must be at least 1"),
        ({"retry_beam": 10}, "field 'retry_beam' is 10, but must be wider than beam 10"),
    ],
)
def test_beams_that_cannot_be_are_told(stand_in: StandIn, fields: dict[str, int], told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        plugin(stand_in, **fields)


# -- files -----------------------------------------------------------------------------------------------------


def test_a_name_is_a_file_that_mfa_has_fetched(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFA_ROOT_DIR", str(tmp_path / "mfa"))
    for kind, source in (("acoustic", stand_in.model), ("dictionary", stand_in.dictionary)):
        place = tmp_path / "mfa" / "pretrained_models" / kind
        place.mkdir(parents=True)
        (place / f"english_us_arpa{source.suffix}").write_bytes(source.read_bytes())
    assert plugin_key(STEP, Mfa()) == plugin_key(STEP, plugin(stand_in))


@pytest.mark.parametrize(("field", "kind"), [("acoustic_model", "acoustic"), ("dictionary", "dictionary")])
def test_a_file_that_is_not_there_is_told_with_what_to_do(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, kind: str
) -> None:
    monkeypatch.setenv("MFA_ROOT_DIR", str(tmp_path))
    todo = f"`mfa model download {kind} thai`"
    told = rf"field '{field}' is 'thai', but neither that file nor .*/{kind}/thai\..* exists: .*{todo}"
    with pytest.raises(InvalidField, match=told):
        plugin(stand_in, **{field: "thai"}).load("cpu", tmp_path)
    with pytest.raises(InvalidField, match=r"field 'dictionary' is 'all\.yaml', which only names dictionaries"):
        plugin(stand_in, dictionary="all.yaml").identity_fields()


def test_without_mfa_there_is_one_clear_error(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one about its models, which nobody without MFA can have, and which `mfa` is told to fetch."""
    monkeypatch.setenv("EMOLAKE_MFA", "/nowhere/mfa")
    for own in (plugin(stand_in), Mfa()):
        for ask in (own.identity_fields, own.training, lambda own=own: own.load("cpu", stand_in.folder)):
            with pytest.raises(MfaMissing, match=r"EMOLAKE_MFA names '/nowhere/mfa', which is no program.*install it"):
                ask()


# -- in a lake -------------------------------------------------------------------------------------------------

TEXTS = {"a": "Hello there!", "b": "old house", "c": "zork house", "d": "", "e": "red coat"}


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


@pytest.fixture
def utterances(lake: Warehouse, tmp_path: Path) -> list[Artifact]:
    """A table of clips, ingested."""
    root = tmp_path / "raw"
    root.mkdir()
    for number, name in enumerate(TEXTS):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, RATE_HZ + 1600 * number)
        soundfile.write(root / f"{name}.wav", noise, RATE_HZ)
    lines = ["path,text", *(f"{name}.wav,{text}" for name, text in TEXTS.items())]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    reader = Table(file="clips.csv", speaker="", label="")
    made = ingest(lake, "clips", "corpora.table", reader, root)
    return [artifact for artifact in made if artifact.request.kind == "utterances"]


def make(lake: Warehouse, utterances: list[Artifact], aligner: Mfa, tmp_path: Path) -> list[Artifact]:
    for work in works(lake, STEP, aligner, utterances, {"clips": tmp_path / "raw"}):
        lake.perform(work)
    return holding(lake, "intervals", STEP, aligner)


def test_every_utterance_gets_intervals_or_a_reason(
    lake: Warehouse, utterances: list[Artifact], stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.plan(no_path={"red": 9999})
    made = make(lake, utterances, plugin(stand_in), tmp_path)
    assert len(made) == 1
    words = lake.sql("SELECT symbol FROM intervals WHERE tier = 'word' ORDER BY input_id, position").fetchall()
    assert sorted(w for (w,) in words) == ["HELLO", "HOUSE", "OLD", "THERE"]
    assert sorted(row["reason"] for row in failed(made)) == [
        "no path through 1.400 s of sound says its words",
        "out of vocabulary: the dictionary lacks 'ZORK'",
        "the transcript is empty",
    ]
    assert works(lake, STEP, plugin(stand_in), utterances, {"clips": tmp_path / "raw"}) == []
    assert str(tmp_path) not in "".join(path.read_text("latin-1") for path in made[0].folder.iterdir())
    assert not list((lake.root / ".scratch").iterdir())


def test_a_model_trained_here_is_an_artifact_whose_bytes_tell_the_rows_apart(
    lake: Warehouse, utterances: list[Artifact], stand_in: StandIn, tmp_path: Path
) -> None:
    roots = {"clips": tmp_path / "raw"}
    work = training_work(lake.root, plugin(stand_in).training(), utterances, roots)
    model = lake.perform(work)
    assert set(model.files) == {"acoustic_model.zip", "failures.parquet"} and model.request.kind == "acoustic_model"
    assert model.request.inputs == {"utterances": (utterances[0].digest,)}
    assert sorted(row["reason"] for row in failed([model])) == [
        "out of vocabulary: the dictionary lacks 'ZORK'", "the transcript is empty"
    ]  # fmt: skip
    assert str(tmp_path) not in "".join(path.read_text("latin-1") for path in model.folder.iterdir())
    own = plugin(stand_in, acoustic_model=str(model.path("acoustic_model.zip")))
    assert own.identity_fields()["acoustic_model"] == file_digest(model.path("acoustic_model.zip"))
    (made,) = make(lake, utterances, own, tmp_path)
    assert made.request.inputs == {"utterances": (utterances[0].digest,), "acoustic_model": (model.digest,)}
    assert plugin_key(STEP, own) != plugin_key(STEP, plugin(stand_in))
    assert plugin(stand_in).cites() == {}


def test_a_training_is_asked_for_by_what_it_hears_and_by_what(
    lake: Warehouse, utterances: list[Artifact], stand_in: StandIn, tmp_path: Path
) -> None:
    def key(**fields: object) -> str:
        aligner = plugin(stand_in, **fields)
        return training_work(lake.root, aligner.training(), utterances, {"clips": tmp_path / "raw"}).request.key

    first = key()
    assert key(beam=20, retry_beam=80) == key(acoustic_model="any") == first
    assert key(speaker_adaptation=True) != first
    stand_in.dictionary.write_text(stand_in.dictionary.read_text() + "new\tN UW1\n")
    assert key() != first


def test_a_broken_mfa_records_nothing_and_the_next_run_goes_on(
    lake: Warehouse, utterances: list[Artifact], stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.plan(crash=dict.fromkeys(["hello", "old", "red"], 1))
    with pytest.raises(MfaFailed, match="nothing is recorded of these clips"):
        make(lake, utterances, plugin(stand_in), tmp_path)
    assert holding(lake, "intervals", STEP, plugin(stand_in)) == []
    assert not list((lake.root / ".scratch").iterdir())
    stand_in.plan()
    assert len(failed(make(lake, utterances, plugin(stand_in), tmp_path))) == 2


def test_batches_are_long_because_mfa_starts_slowly(
    lake: Warehouse, utterances: list[Artifact], stand_in: StandIn, tmp_path: Path
) -> None:
    roots = {"clips": tmp_path / "raw"}
    assert Mfa.batch_s == 3600
    assert len(works(lake, STEP, plugin(stand_in), utterances, roots)) == 1
    assert len(works(lake, STEP, plugin(stand_in), utterances, roots, batch_s=2.5)) == 3


def test_the_plug_in_is_frozen_and_says_what_it_takes() -> None:
    assert Mfa.aligns_many and Mfa.needs == "pair"
    assert [field.name for field in dataclasses.fields(Mfa)] == [
        "acoustic_model", "dictionary", "beam", "retry_beam", "speaker_adaptation",
    ]  # fmt: skip


def test_a_clip_that_mfa_never_sees_costs_no_run(stand_in: StandIn, tmp_path: Path) -> None:
    align = plugin(stand_in).load("cpu", tmp_path)
    [answer] = align([Clip("c", np.zeros(RATE_HZ, np.float32), "zork")])
    assert isinstance(answer, Untreatable)
    assert stand_in.calls() == []
