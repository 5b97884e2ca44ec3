"""One artifact without what goes: its rows, its files, its request."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.warehouse.audit.withdrawn_lake import (
    ANA,
    BEN,
    DIALOGUE,
    OWN,
    ROWS,
    SECRET,
    files_digest,
    pair,
    withdrawn_lake,
)
from tests.warehouse.small_lake import SmallLake
from warehouse import Artifact
from warehouse.audit.rewriting import change_of, is_reading, names_any, renewed, without, words_of, write_rest
from warehouse.audit.withdrawal import Withdrawal
from warehouse.shards import ShardReader

HELLO, PLAIN, SPOILT = ROWS[:3]
ALONE = Withdrawal(
    corpora=frozenset({"clips"}), utterances=frozenset({ANA[0]}), audio=frozenset({HELLO["audio_id"]}),
    texts=frozenset({HELLO["text_id"]}), pairs=frozenset({pair(HELLO)}), recordings=frozenset({OWN}),
    phrases=frozenset({SECRET}),
)  # fmt: skip


@pytest.fixture
def held(tmp_path: Path) -> SmallLake:
    return withdrawn_lake(tmp_path)


def _rest(artifact: Artifact, withdrawal: Withdrawal, folder: Path, moved: dict[str, str] | None = None) -> Path:
    folder.mkdir()
    write_rest(folder, artifact, withdrawal, moved or {})
    return folder


def test_rows_are_counted_by_table(held: SmallLake) -> None:
    change = change_of(held.named["words"], ALONE, (), False)
    assert change and (change.how, change.gone, change.n_left) == ("rewritten", {"features.parquet": 1}, 3)
    assert change_of(held.named["metrics"], ALONE, (), False) is None
    removed = change_of(held.named["only ana"], ALONE, (), False)
    assert removed and (removed.how, removed.why) == ("removed", "no row is left")


def test_a_reading_is_kept_when_it_is_empty(held: SmallLake) -> None:
    everybody = Withdrawal(utterances=frozenset([*ANA, *BEN, "clips-ben-lost"]))
    for name in ("utterances", "labels"):
        change = change_of(held.named[name], everybody, (), True)
        assert change and (change.how, change.n_left) == ("rewritten", 0)


def test_a_reading_that_is_concerned_and_loses_nothing_is_renewed(held: SmallLake, tmp_path: Path) -> None:
    nobody = Withdrawal(corpora=frozenset({"clips"}))
    old = held.named["labels"]
    change = change_of(old, nobody, (), True)
    assert change and (change.how, dict(change.gone)) == ("renewed", {})
    request = renewed(old, nobody, lambda digest: digest, "p", True)
    assert request.params == {**old.request.params, "withdrawn": ["p"]} and request.inputs == old.request.inputs
    folder = _rest(old, nobody, tmp_path / "made")
    assert (folder / "labels.parquet").read_bytes() == old.path("labels.parquet").read_bytes()


def test_the_alignment_of_a_reading_that_changed_is_renewed_and_other_rows_are_not(held: SmallLake) -> None:
    nobody, changed = Withdrawal(), {held.named["utterances"].digest}
    change = change_of(held.named["provided"], nobody, changed, False)
    assert change and change.how == "renewed"
    assert change_of(held.named["sound"], nobody, changed, False) is None


def test_files_that_name_or_quote_what_goes_go_with_their_artifact(held: SmallLake) -> None:
    found = {
        name: change_of(held.named[name], ALONE, (), False) for name in ("leakage", "explanations", "report", "aside")
    }
    assert {name: change.why for name, change in found.items() if change} == {
        "leakage": "leakage.json names what goes", "explanations": "explanations.json names what goes",
        "report": "report.html names what goes",
    }  # fmt: skip


def test_a_model_is_never_rewritten_for_a_word_in_a_file(held: SmallLake) -> None:
    fitted = held.named["learned"]
    path = fitted.path("history.csv")
    path.unlink()
    path.write_text(ANA[0])
    assert change_of(fitted, ALONE, (), False) is None


def test_a_record_of_raw_files_gets_the_request_of_the_files_that_stay(held: SmallLake) -> None:
    request = renewed(held.named["raw"], ALONE, lambda digest: digest, "p", False)
    kept = [{"path": "wav/dialogue.wav", "n_bytes": 9, "sha256": DIALOGUE}]
    assert request.params == {"corpus": "clips", "unit": "one", "files": files_digest(kept)}


def test_other_requests_are_marked_and_cite_what_stands_there_now(held: SmallLake) -> None:
    split = held.named["split 1"]
    read, labels = held.named["utterances"].digest, held.named["labels"].digest
    twice = Withdrawal(utterances=frozenset({ANA[2]}))
    now = {read: "new", labels: ""}
    request = renewed(split, twice, lambda digest: now.get(digest, digest), "p", False)
    assert request.inputs == {"utterances": ("new",)}
    assert request.params == {**split.request.params, "without": ["clips-ben-lost"], "purged": ["p"]}
    assert not is_reading(split.request) and is_reading(held.named["utterances"].request)
    assert is_reading(held.named["raw"].request) and not is_reading(held.named["waves"].request)


def test_a_tar_without_a_member_is_a_tar_of_the_others(held: SmallLake, tmp_path: Path) -> None:
    folder = _rest(held.named["texts"], ALONE, tmp_path / "made")
    with tarfile.open(folder / "shard.tar") as tar:
        assert tar.getnames() == [f"{name}.text.txt" for name in (*ANA[1:], *BEN)]
    assert ShardReader(folder).text(BEN[1]) == ROWS[4]["text"]
    same = _rest(held.named["texts"], Withdrawal(), tmp_path / "same")
    assert (same / "shard.tar").read_bytes() == held.named["texts"].path("shard.tar").read_bytes()


def test_paths_of_sound_that_was_made_here_follow_its_record(held: SmallLake, tmp_path: Path) -> None:
    moved = {held.named["waves"].key: "f" * 32}
    folder = _rest(held.named["spoken"], Withdrawal(), tmp_path / "made", moved)
    paths = pq.read_table(folder / "utterances.parquet")["path"].to_pylist()
    assert paths[0] == f"raw/{'f' * 32}/wav/spoken-ana-hello.wav"
    kept = _rest(held.named["utterances"], Withdrawal(), tmp_path / "kept", moved)
    assert pq.read_table(kept / "utterances.parquet")["path"].to_pylist()[0] == "wav/garden.wav"


def test_a_failure_goes_or_finds_an_heir(held: SmallLake, tmp_path: Path) -> None:
    words = held.named["words"]
    shared = Withdrawal(utterances=frozenset({ANA[2]}), heirs={SPOILT["text_id"]: BEN[2]})
    (failed,) = pq.read_table(_rest(words, shared, tmp_path / "heir") / "failures.parquet").to_pylist()
    assert failed["utterance_id"] == BEN[2]
    hers = Withdrawal(utterances=frozenset({ANA[2]}), texts=frozenset({SPOILT["text_id"]}))
    assert pq.read_table(_rest(words, hers, tmp_path / "none") / "failures.parquet").num_rows == 0


def test_words_are_found_where_blocks_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.audit.rewriting._BLOCK", 64)
    path = tmp_path / "report.json"
    for before in range(50, 70):
        path.write_text("." * before + f'"{ANA[0]}"' + "." * 90)
        assert ANA[0] in set(words_of(path)) and names_any(path, ALONE)


@pytest.mark.parametrize("content", ["my garden has seven \\u003cyellow", "so it is", "", "clips-ana"])
def test_what_is_not_named_is_not_found(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    assert not names_any(path, ALONE)


def test_ids_are_taken_out_of_values_wherever_they_stand() -> None:
    value = {"a": ["u1", {"b": "u1"}, ["u1"]], "u1": 3, "c": "u10"}
    assert without(value, {"u1"}) == {"a": [{"b": "u1"}, []], "c": "u10"}
