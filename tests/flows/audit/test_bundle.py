"""What a bundle holds and what it must not hold; what is no bundle."""

from __future__ import annotations

import errno
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from flows.audit import bundle as bundles
from flows.audit.bundle import SPANS, Bundle, Made, read_bundle, write_bundle
from flows.line import Line
from tests.flows.swept import RECIPE, swept_line
from tests.flows.wholly import Wholly
from tests.warehouse.small_lake import utterance
from warehouse import Warehouse
from warehouse.artifact import MANIFEST
from warehouse.audit.errors import BadBundle, DamagedFile, NotPacked
from warehouse.compaction import merge, merge_of
from warehouse.errors import DiskFull, InvalidField, NotCanonical, SchemaMismatch
from warehouse.hashing import canonical_json
from warehouse.merged import STEP
from warehouse.schema import UTTERANCES, audio_id
from warehouse.tables import write_rows


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return swept_line(tmp_path_factory.mktemp("swept"), verb="pack")


def roots(line: Line) -> dict[str, Path]:
    return dict(line.roots)


def test_it_holds_every_shard_and_all_that_these_rest_on(line: Line, tmp_path: Path) -> None:
    shards = write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))
    bundle = read_bundle(tmp_path / "b.zip")
    assert {one.digest for one in bundle.shards} == {shard.digest for shard in shards} and len(shards) == 2
    made = {one.digest for one in bundle.artifacts}
    assert all(d in made for one in bundle.artifacts for digests in one.request.inputs.values() for d in digests)
    assert (bundle.name, bundle.recipe, set(bundle.protocols)) == ("swept", line.recipe.text, {"calm2.toml"})
    assert bundle.files.num_rows == 19 and bundle.spans.num_rows == 18, "clips and their table"


def test_many_small_tables_become_few_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order; a group is no larger than it must be."""
    read = [tmp_path / f"{number}.parquet" for number in range(20)]
    for number, path in enumerate(read):
        rows = [utterance("made", name, "Yes.") for name in (f"{number}", f"{number} too")]
        write_rows(path, rows, UTTERANCES)
    monkeypatch.setattr(bundles, "_GROUP_ROWS", 15)
    file = pq.ParquetFile(io.BytesIO(bundles._spans([(path.stem, path) for path in read])))
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [16, 16, 8]
    told = file.read()
    assert told.column("reading").to_pylist() == [path.stem for path in read for _ in range(2)]
    assert told.select(SPANS).equals(pa.concat_tables([pq.read_table(path, columns=list(SPANS)) for path in read]))
    assert pq.read_table(io.BytesIO(bundles._spans([]))).equals(bundles._SPANS.empty_table())


def test_it_holds_no_sound_no_text_and_no_label(line: Line, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))
    bundle = read_bundle(tmp_path / "b.zip")
    rows = line.warehouse.table("SELECT text, verbatim, value FROM utterances JOIN labels USING (utterance_id)")
    secrets = {cell for column in rows.columns for cell in column.to_pylist()}
    assert tuple(bundle.spans.column_names) == ("reading", *SPANS)
    cells = {cell for table in (bundle.spans, bundle.files) for column in table.columns for cell in column.to_pylist()}
    assert secrets & cells == set()
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        (raw,) = line.warehouse.artifacts("raw")
        assert opened.namelist() == [
            "bundle.json", "recipe.toml", "protocols/0.toml", "artifacts.jsonl", f"files/{raw.key}.parquet",
            "spans.parquet",
        ]  # fmt: skip
        assert opened.read(f"files/{raw.key}.parquet") == raw.path("files.parquet").read_bytes(), "as it was recorded"
        told = opened.read("artifacts.jsonl").decode()
    assert not [text for text in secrets if re.search(rf"\b{re.escape(text)}\b", told)]


def test_the_same_lake_and_recipe_give_the_same_bytes_and_the_lake_remembers(line: Line, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write_bundle(tmp_path / name, line.recipe, line.warehouse, roots(line))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    bundle, ref = read_bundle(tmp_path / "one.zip"), line.warehouse.ref("bundles/swept")
    assert ref == {"digest": bundle.digest, "keys": sorted(one.request.key for one in bundle.artifacts)}


def test_its_artifacts_are_told_in_canonical_json(line: Line, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        told = opened.read("artifacts.jsonl").splitlines()
    found = {canonical_json({"request": a.request.as_json(), "digest": a.digest, "environment": dict(a.environment)})
             for a in line.warehouse.artifacts()}  # fmt: skip
    assert len(told) > 4 and set(told) <= found


def test_what_cannot_be_written_leaves_the_bundle_that_was_there(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "b.zip"
    path.write_bytes(b"the one before")
    monkeypatch.setattr("warehouse.in_progress.os.fsync", full)
    with pytest.raises(DiskFull, match=r"no space left on the disk of .* while 'b\.zip' was written"):
        write_bundle(path, line.recipe, line.warehouse, roots(line))
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(path.name, b"the one before")]


def test_what_cannot_be_told_leaves_the_bundle_that_was_there(line: Line, tmp_path: Path) -> None:
    lake = Warehouse(shutil.copytree(line.warehouse.root, tmp_path / "lake"))
    asked = tmp_path / "b.zip", line.recipe, lake, roots(line)
    write_bundle(*asked)
    before = asked[0].read_bytes()
    (utterances,) = lake.artifacts("utterances")
    manifest = utterances.path(MANIFEST)
    told = manifest.read_text(encoding="utf-8")
    manifest.write_text(told.replace('"environment":{', '"environment":{"a":NaN,', 1), encoding="utf-8")
    with pytest.raises(NotCanonical, match=r"the value\.environment\.a holds float nan"):
        write_bundle(*asked[:2], Warehouse(lake.root), asked[3])
    manifest.write_text(told, encoding="utf-8")
    rows = utterances.path("utterances.parquet")
    whole = rows.read_bytes()
    for damaged in (whole[:-1], whole[:60] + b"\xff" * 20 + whole[80:]):
        rows.write_bytes(damaged)
        with pytest.raises(SchemaMismatch, match=r"utterances\.parquet"):
            write_bundle(*asked[:2], Warehouse(lake.root), asked[3])
    rows.write_bytes(whole)
    (raw,) = lake.artifacts("raw")
    record = raw.path("files.parquet")
    pq.write_table(pq.read_table(record), record, compression="none")
    with pytest.raises(DamagedFile, match=r"files\.parquet has other bytes than when it was made: `emolake"):
        write_bundle(*asked[:2], Warehouse(lake.root), asked[3])
    record.unlink()
    with pytest.raises(SchemaMismatch, match=r"files\.parquet"):
        write_bundle(*asked[:2], Warehouse(lake.root), asked[3])
    assert asked[0].read_bytes() == before


def test_a_merge_changes_no_byte_of_it(line: Line, tmp_path: Path) -> None:
    lake = Warehouse(shutil.copytree(line.warehouse.root, tmp_path / "lake"))
    write_bundle(tmp_path / "before.zip", line.recipe, lake, roots(line))
    for small in lake.artifacts("features"):
        merge(lake, merge_of([small]))
    write_bundle(tmp_path / "after.zip", line.recipe, lake, roots(line))
    assert not [one for one in read_bundle(tmp_path / "after.zip").artifacts if one.request.step == STEP]
    assert (tmp_path / "before.zip").read_bytes() == (tmp_path / "after.zip").read_bytes()


def test_what_is_read_ahead_decides_nothing(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a rule it is what the shards rest on, and need not be read again."""
    asked = line.recipe, line.warehouse, roots(line)
    begun: list[int] = []
    spans = bundles._spans
    monkeypatch.setattr(bundles, "_spans", lambda paths: begun.append(len(paths)) or spans(paths))
    write_bundle(tmp_path / "guessed.zip", *asked)
    monkeypatch.setattr(bundles, "_likely_read", lambda warehouse, recipe: [])
    write_bundle(tmp_path / "missed.zip", *asked)
    assert begun == [1, 0, 1]
    assert (tmp_path / "guessed.zip").read_bytes() == (tmp_path / "missed.zip").read_bytes()


def test_shards_that_somebody_else_packs_meanwhile_are_in_it(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Warehouse(shutil.copytree(line.warehouse.root, tmp_path / "lake"))
    late = lake.artifacts("shards")[-1]
    late.folder.rename(tmp_path / late.key)
    shards_of = bundles.shards_of

    def packed(*asked: Any) -> Any:
        (tmp_path / late.key).rename(late.folder)
        return shards_of(*asked)

    monkeypatch.setattr(bundles, "shards_of", packed)
    shards = write_bundle(tmp_path / "b.zip", line.recipe, Warehouse(lake.root), roots(line))
    assert late.key in {shard.key for shard in shards}
    assert {one.digest for one in read_bundle(tmp_path / "b.zip").shards} == {shard.digest for shard in shards}


def sounds(bundle: Bundle) -> dict[tuple[str, str], tuple[str, str]]:
    """Reading and utterance -> `recording_id` and `audio_id`, as SPANS says how they are told."""
    by_digest = {one.digest: one for one in bundle.artifacts}
    files = {(row["record"], row["path"]): row["sha256"] for row in bundle.files.to_pylist()}

    def records(one: Made) -> set[str]:
        above = (by_digest[digest] for digests in one.request.inputs.values() for digest in digests)
        return {one.request.key} if one.request.kind == "raw" else {key for made in above for key in records(made)}

    of_reading = {one.request.key: records(one) for one in bundle.artifacts if one.request.kind == "utterances"}
    found = {}
    for row in bundle.spans.to_pylist():
        (recording,) = {files[key, row["path"]] for key in of_reading[row["reading"]] if (key, row["path"]) in files}
        own = audio_id(recording, row["start_s"], row["end_s"], row["channel"])
        found[row["reading"], row["utterance_id"]] = recording, own
    return found


def test_which_sound_an_utterance_is_follows_from_what_is_told(tmp_path: Path) -> None:
    """Also where the same file had other bytes before, of which there are features still."""
    line = swept_line(tmp_path, verb="pack")
    sound, rate_hz = soundfile.read(tmp_path / "clips" / "3.wav", dtype="float32")
    soundfile.write(tmp_path / "clips" / "3.wav", sound[::-1], rate_hz)
    again = Line(line.recipe, Warehouse(line.warehouse.root), dict(line.roots), Wholly(Warehouse(line.warehouse.root)))
    again.pack()
    write_bundle(tmp_path / "b.zip", again.recipe, again.warehouse, roots(again))
    told = {
        (one.key, row["utterance_id"]): (row["recording_id"], row["audio_id"])
        for one in again.warehouse.artifacts("utterances")
        for row in pq.read_table(one.path("utterances.parquet")).to_pylist()
    }
    assert sounds(read_bundle(tmp_path / "b.zip")) == told and len(told) == 2 * 18


def test_what_is_not_packed_cannot_be_shared(tmp_path: Path) -> None:
    line = swept_line(tmp_path, verb="ingest")
    with pytest.raises(NotPacked, match=r"not packed: 'extract vector' is not done, .*`emolake pack swept`"):
        write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))


def test_a_protocol_outside_the_recipes_folder_is_refused(line: Line, tmp_path: Path) -> None:
    outside = {"protocol": "../calm2.toml"}
    models = {name: entry.model_copy(update=outside) for name, entry in line.recipe.models.items()}
    recipe = line.recipe.model_copy(update={"models": models})
    with pytest.raises(InvalidField, match="has a protocol outside the recipe's folder: put it beside the recipe"):
        write_bundle(tmp_path / "b.zip", recipe, line.warehouse, roots(line))


def rewritten(source: Path, target: Path, **changes: bytes) -> Path:
    """A copy of a zip file with some members replaced, by the beginning of their names."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            change = next((content for begin, content in changes.items() if name.startswith(begin)), None)
            new.writestr(name, old.read(name) if change is None else change)
    return target


OTHER = io.BytesIO()
pq.write_table(pa.table({"path": ["a.wav"]}), OTHER)


@pytest.mark.parametrize(
    ("member", "content", "why"),
    [
        ("bundle", b"{", "JSONDecodeError"),
        ("bundle", json.dumps({"format": 1}).encode(), "its format is 1, this version of Emolake reads 2"),
        ("bundle", json.dumps({"format": 2, "name": "x", "protocols": ["../../x.toml"]}).encode(), "leads out of its"),
        ("bundle", json.dumps({"format": 2, "name": "x", "protocols": ["/x.toml"]}).encode(), "leads out of its"),
        ("artifacts", b"", "it holds no shard"),
        ("artifacts", b'{"request": 3}', "TypeError"),
        ("files/", b"PAR1", "ArrowInvalid"),
        ("files/", OTHER.getvalue(), "KeyError: 'Field \"n_bytes\" does not exist in schema'"),
        ("spans", OTHER.getvalue(), "KeyError: 'Field \"reading\" does not exist in schema'"),
    ],
)
def test_what_is_no_bundle_is_refused(line: Line, tmp_path: Path, member: str, content: bytes, why: str) -> None:
    write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))
    path = rewritten(tmp_path / "b.zip", tmp_path / "c.zip", **{member: content})
    with pytest.raises(BadBundle, match=f"c.zip is no bundle that can be read .*{re.escape(why)}"):
        read_bundle(path)


def test_whatever_is_damaged_in_a_bundle_ends_in_a_sentence(line: Line, tmp_path: Path) -> None:
    """Each bit of some hundred bytes all over it, an artifact that is told twice, and one whose request is too deep."""
    write_bundle(tmp_path / "b.zip", line.recipe, line.warehouse, roots(line))
    whole, path = (tmp_path / "b.zip").read_bytes(), tmp_path / "c.zip"
    n_refused = 0
    for number, at in enumerate(range(0, len(whole), max(len(whole) // 120, 1))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << number % 8]) + whole[at + 1 :])
        try:
            read_bundle(path)
        except BadBundle as error:
            n_refused += str(error).startswith(f"{path} is no bundle that can be read (")
    assert n_refused > 60
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        first, *others = opened.read("artifacts.jsonl").splitlines()
    deep = first.replace(b'"params":{', b'"params":{"a":' + b"[" * 900 + b"]" * 900 + b",", 1)
    for lines, why in (([first, first, *others], "it tells an artifact twice"), ([deep, *others], "RecursionError")):
        with pytest.raises(BadBundle, match=f"c.zip is no bundle that can be read .*{why}"):
            read_bundle(rewritten(tmp_path / "b.zip", path, artifacts=b"\n".join(lines)))


def test_a_file_that_is_no_zip_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("hello")
    for name in ("x.zip", "none.zip"):
        with pytest.raises(BadBundle, match="`emolake share` writes them"):
            read_bundle(tmp_path / name)


def test_the_recipe_of_a_bundle_is_the_one_that_was_shared() -> None:
    assert 'protocol = "calm2.toml"' in RECIPE, "the tests above rest on a protocol of the recipe's own"
