"""Raw trees to utterances and labels: one unit at a time, and only what changed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import soundfile

from features import ingest
from features.plugin import RawFile, Rows
from features.raw import RawDigests
from features.rows import failure_row, label_row, utterance_row
from tests.warehouse.faulty_store import FaultyStore
from warehouse import Artifact, Request, Warehouse, copies
from warehouse.audit.lineage import up
from warehouse.audit.tombstones import Tombstone, hashed
from warehouse.audit.verify import verify
from warehouse.errors import MissingFolder, SourceChanged
from warehouse.schema import make_id

STEP = "corpora.pairs"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A corpus of folders, each a unit, with `<name>.wav` and `<name>.txt` (label, then words)."""

    version: ClassVar[int] = 1
    reads: ClassVar[list[str]] = []
    language: str = "en"

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        return {
            folder.name: [path.relative_to(root).as_posix() for path in folder.iterdir()]
            for folder in sorted(root.iterdir())
        }

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        self.reads.append(unit)
        rows = Rows()
        for path in sorted(path for path in files if path.endswith(".wav")):
            utterance_id = make_id(corpus, unit, Path(path).stem)
            label, _, words = (root / path).with_suffix(".txt").read_text().partition(" ")
            if not words:
                rows.failures.append(failure_row(STEP, utterance_id, "it has no words"))
                continue
            rows.utterances.append(
                utterance_row(
                    utterance_id=utterance_id, corpus=corpus, unit=unit, recording=files[path], start_s=0.0, end_s=0.5,
                    verbatim=words, text=words, language=self.language,
                )
            )  # fmt: skip
            rows.labels.append(label_row(utterance_id, "emotion", "summary", label))
        return rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    for number, unit in enumerate(("first", "second")):
        (root / unit).mkdir(parents=True)
        for name in "ab":
            soundfile.write(root / unit / f"{name}.wav", [0.1 * number] * 8000, 16_000)
            (root / unit / f"{name}.txt").write_text(f"happy words of {name} in {unit}")
    Pairs.reads.clear()
    ingest._read.cache_clear()
    return root


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def read_in(lake: Warehouse, root: Path, reader: Pairs | None = None) -> dict[tuple[str, str], Artifact]:
    """(kind, unit) -> artifact; a survey is of no unit."""
    made = ingest.ingest(lake, "pairs", STEP, reader or Pairs(), root)
    raw = [lake.with_digest(digest)[0] for digest in dict.fromkeys(a.request.inputs["raw"][0] for a in made)]
    newest = lake.artifacts("survey")[-1:] if any("survey" in a.request.inputs for a in made) else []
    artifacts = [*raw, *newest, *made]
    return {(a.request.kind, a.request.params.get("unit", "")): a for a in artifacts}


def test_a_unit_is_one_artifact_of_each_kind_and_read_once(lake: Warehouse, root: Path) -> None:
    made = read_in(lake, root)
    assert set(made) == {(k, u) for k in ("raw", "utterances", "labels") for u in ("first", "second")}
    assert Pairs.reads == ["first", "second"], "one reading gives utterances and labels"
    assert set(made["utterances", "first"].files) == {"utterances.parquet", "failures.parquet"}
    for kind in ("utterances", "labels"):
        assert made[kind, "first"].request.inputs == {"raw": (made["raw", "first"].digest,)}
    files = pq.read_table(made["raw", "first"].path("files.parquet")).column("path").to_pylist()
    assert files == ["first/a.txt", "first/a.wav", "first/b.txt", "first/b.wav"]


def test_what_is_unchanged_is_not_read_again(lake: Warehouse, root: Path) -> None:
    first = read_in(lake, root)
    ingest._read.cache_clear()
    (root / "second" / "a.txt").write_text("happy other words")
    again = read_in(lake, root)
    assert Pairs.reads == ["first", "second", "second"]
    assert {key for key in first if first[key].key != again[key].key} == {
        ("raw", "second"), ("utterances", "second"), ("labels", "second"),
    }  # fmt: skip
    assert again["labels", "second"].digest == first["labels", "second"].digest


def test_another_label_leaves_the_bytes_of_the_utterances(lake: Warehouse, root: Path) -> None:
    first = read_in(lake, root)
    (root / "first" / "a.txt").write_text("angry words of a in first")
    again = read_in(lake, root)
    assert again["utterances", "first"].digest == first["utterances", "first"].digest
    assert again["labels", "first"].digest != first["labels", "first"].digest


def test_another_unit_touches_no_other(lake: Warehouse, root: Path) -> None:
    first = read_in(lake, root)
    (root / "third").mkdir()
    soundfile.write(root / "third" / "a.wav", [0.5] * 8000, 16_000)
    (root / "third" / "a.txt").write_text("sad words")
    again = read_in(lake, root)
    assert {key: a.key for key, a in again.items() if key in first} == {key: a.key for key, a in first.items()}
    assert {unit for _, unit in again.keys() - first.keys()} == {"third"}


def test_where_the_files_lie_is_nothing_and_a_field_of_the_reader_is_something(
    lake: Warehouse, root: Path, tmp_path: Path
) -> None:
    first = read_in(lake, root)
    moved = root.rename(tmp_path / "elsewhere")
    assert {a.key for a in read_in(lake, moved).values()} == {a.key for a in first.values()}
    other = read_in(lake, moved, Pairs(language="de"))
    assert {key for key in first if first[key].key != other[key].key} == {
        (kind, unit) for kind in ("utterances", "labels") for unit in ("first", "second")
    }


def test_what_cannot_be_read_is_a_row_and_its_neighbours_stay(lake: Warehouse, root: Path) -> None:
    (root / "first" / "a.txt").write_text("happy")
    made = read_in(lake, root)["utterances", "first"]
    assert pq.read_table(made.path("utterances.parquet")).column("utterance_id").to_pylist() == ["pairs-first-b"]
    assert pq.read_table(made.path("failures.parquet")).to_pylist() == [
        {"input_id": "", "utterance_id": "pairs-first-a", "step": STEP, "reason": "it has no words"}
    ]


def test_works_count_files_and_the_bytes_are_told(lake: Warehouse, root: Path) -> None:
    told: list[int] = []
    digests = RawDigests(lake.root)
    works = ingest.raw_works(digests, "pairs", Pairs(), root, told.append)
    digests.close()
    assert [work.n_rows for work in works.values()] == [4, 4]
    assert sum(told) == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_a_corpus_that_is_not_there_is_asked_for(lake: Warehouse, tmp_path: Path) -> None:
    digests = RawDigests(lake.root)
    with pytest.raises(MissingFolder, match=r"corpus 'pairs' is not at .*none: say where it is with --root pairs=FOL"):
        ingest.raw_works(digests, "pairs", Pairs(), tmp_path / "none")
    digests.close()


# -- a survey of all units -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class New(Pairs):
    """Keeps what no earlier unit said."""

    wants: bool = True

    def wants_survey(self, root: Path) -> bool:
        return self.wants

    def survey(self, root: Path, units: Mapping[str, Mapping[str, RawFile]]) -> list[dict[str, Any]]:
        seen: set[str] = set()
        rows = []
        for unit, files in units.items():
            texts = {path: (root / path).read_text().partition(" ")[2] for path in files if path.endswith(".txt")}
            rows += [{"unit": unit, "name": path, "marks": bytes([text in seen])} for path, text in texts.items()]
            seen |= set(texts.values())
        return rows

    def read(
        self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str,
        survey: Mapping[str, bytes] | None = None,
    ) -> Rows:  # fmt: skip
        rows = super().read(root, unit, files, corpus)
        old = {path for path, marks in (survey or {}).items() if marks == b"\1"}
        rows.utterances = [row for row in rows.utterances if row["path"].replace(".wav", ".txt") not in old]
        return rows


def ids(artifact: Artifact) -> list[str]:
    return list(pq.read_table(artifact.path("utterances.parquet")).column("utterance_id").to_pylist())


def test_every_unit_rests_on_the_survey_and_the_survey_on_every_unit(lake: Warehouse, root: Path) -> None:
    (root / "second" / "b.txt").write_text("sad words of b in first")
    made = read_in(lake, root, New())
    survey = made["survey", ""]
    raw = tuple(made["raw", unit].digest for unit in ("first", "second"))
    assert survey.request.inputs == {"raw": raw} and "unit" not in survey.request.params
    for kind in ("utterances", "labels"):
        for unit in ("first", "second"):
            asked = made[kind, unit].request.inputs
            assert asked == {"raw": (made["raw", unit].digest,), "survey": (survey.digest,)}
    assert ids(made["utterances", "first"]) == ["pairs-first-a", "pairs-first-b"]
    assert ids(made["utterances", "second"]) == ["pairs-second-a"]
    tree = up(lake, made["utterances", "second"])
    assert {node.artifact.key for node in tree.walk()} >= {made["raw", unit].key for unit in ("first", "second")}
    assert verify(lake) == []


def test_a_unit_that_changes_what_the_survey_says_has_all_units_read_again(lake: Warehouse, root: Path) -> None:
    first = read_in(lake, root, New())
    ingest._read.cache_clear()
    (root / "first" / "a.txt").write_text("happy other words")
    again = read_in(lake, root, New())
    assert again["survey", ""].key != first["survey", ""].key
    assert again["survey", ""].digest == first["survey", ""].digest, "there is still nothing said twice"
    assert again["utterances", "second"].key == first["utterances", "second"].key
    (root / "first" / "a.txt").write_text("happy words of b in second")
    last = read_in(lake, root, New())
    assert last["utterances", "second"].key != first["utterances", "second"].key
    assert ids(last["utterances", "second"]) == ["pairs-second-a"]


def test_readers_that_ask_for_no_survey_are_asked_as_ever(lake: Warehouse, root: Path) -> None:
    made = read_in(lake, root)
    none = read_in(lake, root, New(wants=False))
    assert ("survey", "") not in made and ("survey", "") not in none
    params = {"corpus": "pairs", "unit": "first", "reader": {"language": "en"}}
    inputs = {"raw": (made["raw", "first"].digest,)}
    assert made["labels", "first"].request == Request("labels", STEP, 1, params, inputs)
    assert none["labels", "first"].request.inputs == inputs


def test_a_file_that_changes_while_units_are_surveyed_is_refused(lake: Warehouse, root: Path) -> None:
    digests = RawDigests(lake.root)
    works = ingest.raw_works(digests, "pairs", New(), root)
    digests.close()
    recorded = {unit: (work, lake.perform(work)) for unit, work in works.items()}
    survey = ingest.survey_work(lake.root, "pairs", STEP, New(), root, recorded)
    assert survey is not None
    (root / "second" / "b.txt").write_text("sad words after all")
    with pytest.raises(SourceChanged, match=r"second/b\.txt is not what was ingested"):
        lake.perform(survey)
    assert lake.artifacts("survey") == [] and len(lake.artifacts("raw")) == 2, "only the survey is lost"


def test_the_root_of_a_corpus_is_known_from_everywhere(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    ingest.ingest(lake, "pairs", STEP, New(), Path(root.name))
    assert lake.ref("corpora/pairs")["root"] == str(root)


def test_the_ref_of_a_corpus_cites_its_current_reading(lake: Warehouse, root: Path) -> None:
    made = read_in(lake, root)
    raw = [a for (kind, _), a in made.items() if kind == "raw"]
    read = [a for (kind, _), a in made.items() if kind != "raw"]
    assert ingest.corpus_ref(STEP, root, raw, read) == {
        "reader": STEP, "root": str(root),
        **{kind: [made[kind, unit].digest for unit in ("first", "second")] for kind in ("raw", "utterances", "labels")},
    }  # fmt: skip


def trusted(lake: Warehouse, root: Path, reader: Pairs | None = None) -> tuple[dict[str, Any], str]:
    return ingest.trusted_works(lake, "pairs", STEP, reader or Pairs(), root)


def test_raw_files_that_are_trusted_give_the_works_that_a_look_gave(lake: Warehouse, root: Path) -> None:
    (root / "empty").mkdir()
    (root / "void").mkdir()
    read_in(lake, root)
    with closing(RawDigests(lake.root)) as digests:
        seen = ingest.raw_works(digests, "pairs", Pairs(), root)
    files = {unit: tuple(work.arguments["files"]) for unit, work in seen.items()}
    shutil.rmtree(root)
    works, why = trusted(lake, root)
    assert why == "" and list(works) == list(seen) == ["empty", "first", "second", "void"]
    for unit, work in works.items():
        assert (work.request, work.n_rows) == (seen[unit].request, seen[unit].n_rows)
        assert work.arguments["files"] == files[unit]


def test_raw_files_are_not_trusted_where_the_lake_does_not_know_them_all(lake: Warehouse, root: Path) -> None:
    assert trusted(lake, root) == ({}, "it was not read before")
    made = read_in(lake, root)
    assert trusted(lake, root, Pairs(language="de")) == ({}, "its reader has changed since")
    shutil.rmtree(made["raw", "first"].folder)
    assert trusted(Warehouse(lake.root), root) == ({}, "the lake does not record just these raw files")
    shutil.rmtree(made["utterances", "first"].folder)
    assert trusted(Warehouse(lake.root), root) == ({}, "the lake lacks some of what was read")


def test_what_was_withdrawn_is_not_recorded_so_nothing_is_trusted(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in(lake, root)
    monkeypatch.setattr(ingest, "tombstones", lambda lake: {"one": Tombstone()})
    assert trusted(lake, root)[1].startswith("some of what was read was withdrawn since")


def test_what_was_withdrawn_stays_out_on_another_host(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "faulty://bucket/lake"

    def host(name: str) -> Warehouse:
        monkeypatch.setenv("EMOLAKE_COPIES", str(tmp_path / name))
        copies.REMOTES.clear()
        ingest._read.cache_clear()
        return Warehouse(url, create=True)

    FaultyStore.reset()
    first = host("first")
    stone = Tombstone(frozenset({hashed("pairs")}), utterances=frozenset({hashed("pairs-first-a")}))
    first.set_ref(f"tombstones/{stone.id}", stone.as_json())
    made = read_in(host("second"), root)["utterances", "first"]
    assert "pairs-first-a" not in pq.read_table(made.path("utterances.parquet"))["utterance_id"].to_pylist()
    assert list(made.request.params["withdrawn"]) == [stone.id]
    with closing(RawDigests(first.root)) as digests:
        works = ingest.raw_works(digests, "pairs", Pairs(), root)
    recorded = {unit: (work, host("third").perform(work)) for unit, work in works.items()}
    work = ingest.unit_works(host("third").root, "pairs", STEP, Pairs(), root, recorded)[0]
    FaultyStore.inner.rm(f"/bucket/lake/artifacts/{made.folder.parent.name}/{made.key}", recursive=True)
    shutil.rmtree(tmp_path / "third")
    assert host("third").perform(work).digest == made.digest, "a worker that had nothing of the lake"
    FaultyStore.reset()
    copies.REMOTES.clear()
