"""The loop of rows: wanted minus present, in batches; one bad clip never takes its neighbours along."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from features.extract import extract, works
from features.extractors.waveform import Waveform
from features.guard import Apart, apart
from features.ingest import ingest
from features.inventory import failed, holding, input_id, row_key
from features.plugin import Clip, FeatureSpec, Interval, RawFile, Rows
from warehouse import Warehouse
from warehouse.artifact import Artifact
from warehouse.errors import ArtifactNotFound, NothingToHear, ProcessDied, SourceChanged, UnknownField, Untreatable
from warehouse.schema import audio_id, canonical_text, pair_id, text_id
from warehouse.tables import array_of

TEXTS = {"a": "one two", "b": "three four", "c": "five six", "d": "seven eight", "e": "nine ten"}


@dataclasses.dataclass(frozen=True)
class Lines:
    """A corpus of `<name>.wav` and one `labels.txt` / `texts.txt`, one unit."""

    version: ClassVar[int] = 1

    def units(self, root: Path) -> Mapping[str, Sequence[str]]:
        return {"all": sorted(p.name for p in root.iterdir())}

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        texts = dict(line.split("\t") for line in (root / "texts.txt").read_text().splitlines())
        labels = dict(line.split("\t") for line in (root / "labels.txt").read_text().splitlines())
        rows = Rows()
        for name, text in texts.items():
            path = f"{name}.wav"
            duration_s = soundfile.info(root / path).duration
            identity = audio_id(files[path].sha256, 0.0, duration_s, "mix")
            rows.utterances.append({
                "utterance_id": f"{corpus}-{name}", "corpus": corpus, "unit": unit, "recording_id": files[path].sha256,
                "path": path, "start_s": 0.0, "end_s": duration_s, "channel": "mix", "audio_id": identity,
                "verbatim": text, "text": canonical_text(text), "text_id": text_id(text), "speaker_id": "s",
                "dialogue_id": "d", "turn": 0, "session": "", "split": "", "language": "en", "attributes": [],
            })  # fmt: skip
            rows.labels.append({
                "utterance_id": f"{corpus}-{name}", "scheme": "emotion", "rater": "summary", "value": labels[name],
                "number": None,
            })  # fmt: skip
        return rows


@dataclasses.dataclass(frozen=True)
class Energy:
    """Mean square and length of the sound; refuses clips that are silent."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "audio"
    calls: ClassVar[list[list[str]]] = []
    gain: float = 1.0

    def outputs(self) -> Mapping[str, FeatureSpec]:
        return {
            "vector": FeatureSpec("utterance", ("dim",), 2, names=("energy", "length")),
            "frames": FeatureSpec("frame", ("frame", "dim"), 1, hop_s=0.01),
        }

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]:
        def run(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            self.calls.append([clip.input_id for clip in clips])
            return [self._one(clip) for clip in clips]

        return run

    def _one(self, clip: Clip) -> dict[str, np.ndarray]:
        assert clip.wave is not None
        if not clip.wave.any():
            raise Untreatable("the clip is silent")
        vector = np.array([self.gain * (clip.wave**2).mean(), len(clip.wave)], np.float32)
        return {"vector": vector, "frames": np.ones((3, 1), np.float32)}


@dataclasses.dataclass(frozen=True)
class Words:
    """Text only: the number of letters."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "text"
    calls: ClassVar[list[str]] = []

    def outputs(self) -> Mapping[str, FeatureSpec]:
        return {"vector": FeatureSpec("utterance", ("dim",), 1, names=("n_letters",))}

    def load(self, device: str) -> Callable[[Sequence[Clip]], Sequence[Mapping[str, np.ndarray]]]:
        def run(clips: Sequence[Clip]) -> list[dict[str, np.ndarray]]:
            self.calls.extend(clip.text for clip in clips)
            return [{"vector": np.array([len(clip.text)], np.float32)} for clip in clips]

        return run


@dataclasses.dataclass(frozen=True)
class Halves:
    """An aligner: every word takes an equal share of the clip."""

    version: ClassVar[int] = 1
    needs: ClassVar[str] = "pair"

    def load(self, device: str) -> Callable[[Clip], Sequence[Interval]]:
        def align(clip: Clip) -> list[Interval]:
            words = clip.text.split()
            if not words:
                raise Untreatable("the transcript is empty")
            share = clip.duration_s / len(words)
            return [Interval("word", word, i * share, (i + 1) * share) for i, word in enumerate(words)]

        return align


@dataclasses.dataclass(frozen=True)
class HalvesOfMany(Halves):
    """The same, of many clips at once."""

    version: ClassVar[int] = 2
    aligns_many: ClassVar[bool] = True
    batch_s: ClassVar[float] = 3.0
    calls: ClassVar[list[tuple[Path, int]]] = []

    def load(self, device: str, lake: Path) -> Callable[[Sequence[Clip]], Any]:  # type: ignore[override]
        def align(clips: Sequence[Clip]) -> list[Sequence[Interval] | Untreatable]:
            self.calls.append((lake, len(clips)))
            one, answers = Halves().load(device), []
            for clip in clips:
                try:
                    answers.append(one(clip))
                except Untreatable as error:
                    answers.append(error)
            return answers[: -1 if "lost" in [clip.text for clip in clips] else None]

        return align


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    root.mkdir()
    for number, name in enumerate(TEXTS):
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, 16_000 + 1600 * number)
        soundfile.write(root / f"{name}.wav", noise, 16_000)
    _write(root / "texts.txt", TEXTS)
    _write(root / "labels.txt", dict.fromkeys(TEXTS, "happy"))
    Energy.calls.clear()
    Words.calls.clear()
    return root


def _write(path: Path, lines: Mapping[str, str]) -> None:
    path.write_text("".join(f"{name}\t{value}\n" for name, value in lines.items()))


def read_in(warehouse: Warehouse, root: Path, reader: Lines | None = None) -> tuple[list[Artifact], list[Artifact]]:
    """Ingests the tree and returns its utterances and labels artifacts."""
    made = ingest(warehouse, "lines", "corpora.lines", reader or Lines(), root)
    return [a for a in made if a.request.kind == "utterances"], [a for a in made if a.request.kind == "labels"]


def make(warehouse: Warehouse, root: Path, plugin: Any, batch_s: float = 240.0) -> list[Artifact]:
    kind, step = ("intervals", "aligners.x") if isinstance(plugin, Halves) else ("features", "extractors.x")
    utterances, _ = read_in(warehouse, root)
    for work in works(warehouse, step, plugin, utterances, {"lines": root}, batch_s=batch_s):
        warehouse.perform(work)
    return holding(warehouse, kind, step, plugin)


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lake", create=True)


def rows_of(artifacts: Sequence[Artifact]) -> dict[str, dict[str, Any]]:
    rows = [row for a in artifacts for row in pq.read_table(a.path("features.parquet")).to_pylist()]
    assert len({row["input_id"] for row in rows}) == len(rows), "a row is there twice"
    return {row["input_id"]: row for row in rows}


def test_rows_hold_what_the_extractor_said(lake: Warehouse, root: Path) -> None:
    rows = rows_of(make(lake, root, Energy()))
    assert len(rows) == len(TEXTS)
    assert sorted(row["length"] for row in rows.values()) == [16_000 + 1600 * n for n in range(5)]
    assert array_of(next(iter(rows.values())), "frames").shape == (3, 1)


def test_nothing_is_extracted_twice(lake: Warehouse, root: Path) -> None:
    make(lake, root, Energy())
    make(lake, root, Energy())
    assert len(Energy.calls) == 1


def test_another_field_is_another_namespace(lake: Warehouse, root: Path) -> None:
    make(lake, root, Energy())
    loud = make(lake, root, Energy(gain=2.0))
    assert len(Energy.calls) == 2
    assert len(rows_of(loud)) == len(TEXTS)


def test_a_changed_transcript_costs_one_text_and_no_sound(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(lake, root, Energy())
    make(lake, root, Words())
    Energy.calls.clear()
    Words.calls.clear()
    decoded: list[Path] = []
    loop = importlib.import_module("features.extract")  # `features.extract` itself is the function
    monkeypatch.setattr(loop, "decode_many", lambda path, *_: decoded.append(path))

    _write(root / "texts.txt", TEXTS | {"b": "quite other words"})
    make(lake, root, Words())
    make(lake, root, Energy())
    assert Words.calls == ["quite other words"]
    assert Energy.calls == [] and decoded == []


def test_a_changed_label_rewrites_no_utterance_and_no_feature(lake: Warehouse, root: Path) -> None:
    utterances, labels = read_in(lake, root)
    before = {a.key for a in make(lake, root, Energy())}
    Energy.calls.clear()
    _write(root / "labels.txt", dict.fromkeys(TEXTS, "happy") | {"a": "sad"})
    same, changed = read_in(lake, root)
    assert [a.digest for a in same] == [a.digest for a in utterances]
    assert [a.digest for a in changed] != [a.digest for a in labels]
    assert {a.key for a in make(lake, root, Energy())} == before
    assert Energy.calls == []


def test_a_new_recording_costs_only_itself(lake: Warehouse, root: Path) -> None:
    make(lake, root, Energy())
    Energy.calls.clear()
    soundfile.write(root / "f.wav", np.full(8000, 0.1), 16_000)
    _write(root / "texts.txt", TEXTS | {"f": "eleven"})
    _write(root / "labels.txt", dict.fromkeys([*TEXTS, "f"], "happy"))
    rows = rows_of(make(lake, root, Energy()))
    assert [len(call) for call in Energy.calls] == [1]
    assert len(rows) == len(TEXTS) + 1


@pytest.mark.parametrize("finished", [(0,), (1,), (0, 2), (1, 2)])
def test_whatever_was_finished_before_a_kill_the_artifacts_are_the_same(
    tmp_path: Path, root: Path, finished: tuple[int, ...]
) -> None:
    undisturbed = Warehouse(tmp_path / "undisturbed", create=True)
    expected = {a.digest for a in make(undisturbed, root, Energy(), batch_s=2.5)}
    assert len(expected) == 3

    disturbed = Warehouse(tmp_path / "disturbed", create=True)
    utterances, _ = read_in(disturbed, root)
    first = works(disturbed, "extractors.x", Energy(), utterances, {"lines": root}, batch_s=2.5)
    for number in finished:
        disturbed.perform(first[number])
    assert {a.digest for a in make(disturbed, root, Energy(), batch_s=2.5)} == expected


def test_how_rows_are_batched_changes_no_row(tmp_path: Path, root: Path) -> None:
    one = rows_of(make(Warehouse(tmp_path / "one", create=True), root, Energy(), batch_s=1000))
    many = rows_of(make(Warehouse(tmp_path / "many", create=True), root, Energy(), batch_s=0.1))
    assert one == many


def test_one_bad_clip_is_a_failures_row_and_its_neighbours_stay(lake: Warehouse, root: Path) -> None:
    soundfile.write(root / "c.wav", np.zeros(16_000), 16_000)
    (root / "d.wav").write_bytes((root / "d.wav").read_bytes()[:60])  # a header and hardly any sound
    artifacts = make(lake, root, Energy())
    failures = {row["utterance_id"]: row["reason"] for row in failed(artifacts)}
    assert failures["lines-c"] == "the clip is silent"
    assert failures.get("lines-d", "d.wav").startswith("d.wav") and set(failures) <= {"lines-c", "lines-d"}
    assert len(rows_of(artifacts)) == len(TEXTS) - len(failures)
    Energy.calls.clear()
    make(lake, root, Energy())
    assert Energy.calls == [], "what failed is not tried again until its bytes change"


def test_the_machines_trouble_stops_the_run_and_is_no_failure(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failures row is kept and never tried again: too many open files must not become one."""

    def exhausted(self: Energy, clip: Clip) -> dict[str, np.ndarray]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Energy, "_one", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        make(lake, root, Energy())
    monkeypatch.undo()
    assert len(rows_of(make(lake, root, Energy()))) == len(TEXTS)


def test_how_sound_is_decoded_is_part_of_identity_for_what_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    before = row_key("extractors.x", Energy()), row_key("extractors.x", Words())
    monkeypatch.setattr("features.inventory.AUDIO_VERSION", 99)
    after = row_key("extractors.x", Energy()), row_key("extractors.x", Words())
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)


def test_a_file_that_changes_while_it_is_read_is_not_ingested(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Lines.read

    def read(self: Lines, root: Path, *rest: Any) -> Rows:
        rows = real(self, root, *rest)
        _write(root / "labels.txt", dict.fromkeys(TEXTS, "sad"))
        return rows

    monkeypatch.setattr(Lines, "read", read)
    with pytest.raises(SourceChanged, match=r"labels\.txt is not what was ingested"):
        read_in(lake, root)
    assert lake.artifacts("utterances") == []


def test_out_of_memory_stops_the_run(lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: Energy, clip: Clip) -> dict[str, np.ndarray]:
        raise MemoryError("no more")

    monkeypatch.setattr(Energy, "_one", exhausted)
    with pytest.raises(MemoryError, match="no more"):
        make(lake, root, Energy())
    assert lake.artifacts("features") == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.array([np.nan, 1], np.float32), "output 'vector' holds values that are not finite"),
        (np.zeros(3, np.float32), r"output 'vector' is float32 \(3,\), but float32 with axes"),
        (np.zeros(2, np.float64), "output 'vector' is float64"),
    ],
)
def test_an_answer_that_breaks_its_promise_is_a_failure(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch, answer: np.ndarray, reason: str
) -> None:
    frames = np.ones((3, 1), np.float32)
    monkeypatch.setattr(Energy, "_one", lambda self, clip: {"vector": answer, "frames": frames})
    failures = failed(make(lake, root, Energy()))
    assert len(failures) == len(TEXTS)
    assert all(re.search(reason, row["reason"]) for row in failures)


def test_a_file_that_changed_since_it_was_ingested_is_not_extracted(lake: Warehouse, root: Path) -> None:
    utterances, _ = read_in(lake, root)
    soundfile.write(root / "a.wav", np.full(16_000, 0.2), 16_000)
    (work,) = works(lake, "extractors.x", Energy(), utterances, {"lines": root})
    with pytest.raises(SourceChanged, match=r"a\.wav is not what was ingested"):
        lake.perform(work)


def test_intervals_are_numbered_per_tier_and_keyed_by_sound_and_words(lake: Warehouse, root: Path) -> None:
    _write(root / "texts.txt", TEXTS | {"e": ""})
    (artifact,) = make(lake, root, Halves())
    rows = pq.read_table(artifact.path("intervals.parquet")).to_pylist()
    assert [row["position"] for row in rows[:4]] == [0, 1, 0, 1]
    joined = lake.sql(
        "SELECT utterance_id, list(symbol ORDER BY position) AS words FROM utterances "
        "JOIN intervals ON input_id = pair_id(audio_id, text_id) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert joined[0] == ("lines-a", ["one", "two"])
    assert [(row["utterance_id"], row["reason"]) for row in failed([artifact])] == [
        ("lines-e", "the transcript is empty")
    ]


def test_two_utterances_with_the_same_words_share_a_row(lake: Warehouse, root: Path) -> None:
    _write(root / "texts.txt", dict.fromkeys(TEXTS, "the same"))
    assert len(rows_of(make(lake, root, Words()))) == 1
    assert Words.calls == ["the same"]


@dataclasses.dataclass(frozen=True)
class Silent(Lines):
    """The same corpus, of which only `a` can be heard, or nothing at all."""

    heard: str = ""

    def read(self, root: Path, unit: str, files: Mapping[str, RawFile], corpus: str) -> Rows:
        rows = super().read(root, unit, files, corpus)
        for row in rows.utterances:
            if row["utterance_id"] != f"{corpus}-{self.heard}":
                row |= {"audio_id": "", "start_s": 0.0, "end_s": 0.0, "channel": ""}
        return rows


def test_what_hears_leaves_out_words_without_sound(lake: Warehouse, root: Path) -> None:
    utterances, _ = read_in(lake, root, Silent(heard="a"))
    for step, plugin in (("extractors.x", Energy()), ("aligners.x", Halves())):
        found = works(lake, step, plugin, utterances, {"lines": root})
        assert [[row["utterance_id"] for row in work.arguments["rows"]] for work in found] == [["lines-a"]]
    (whole,) = works(lake, "extractors.x", Words(), utterances, {"lines": root})
    assert whole.n_rows == len(TEXTS)


def test_what_hears_refuses_a_corpus_that_is_only_text(lake: Warehouse, root: Path) -> None:
    utterances, _ = read_in(lake, root, Silent())
    for step, plugin in (("extractors.x", Energy()), ("aligners.x", Halves())):
        complaint = rf"'{step}' hears, but no utterance of corpus 'lines' has sound: take that corpus out of its entry"
        with pytest.raises(NothingToHear, match=complaint):
            works(lake, step, plugin, utterances, {"lines": root})
    with pytest.raises(NothingToHear, match=r"'extractors\.waveform' hears"):
        extract(lake, "waveform", ["lines"])


def test_words_without_sound_are_batched_by_what_it_takes_to_say_them(lake: Warehouse, root: Path) -> None:
    utterances, _ = read_in(lake, root, Silent())
    found = works(lake, "extractors.x", Words(), utterances, {"lines": root}, batch_s=1.3)
    assert [work.n_rows for work in found] == [2, 2, 1], "two words each"
    assert len(works(lake, "extractors.x", Words(), utterances, {"lines": root})) == 1


def test_a_text_that_sets_no_words_apart_is_batched_by_its_length(lake: Warehouse, root: Path) -> None:
    """Six characters of Chinese are 18 bytes: as much as one word, and twelve as three."""
    _write(root / "labels.txt", dict.fromkeys(TEXTS, "happy"))
    for text, n_rows in (("我今天很高兴", [2, 2, 1]), ("我今天很高兴" * 2, [1] * 5)):
        _write(root / "texts.txt", {name: f"{text}{number}" for number, name in enumerate(TEXTS)})
        utterances, _ = read_in(lake, root, Silent())
        found = works(lake, "extractors.x", Words(), utterances, {"lines": root}, batch_s=0.7)
        assert [work.n_rows for work in found] == n_rows


def test_other_batches_make_no_row_again(lake: Warehouse, root: Path) -> None:
    """A plug-in that now likes more at once, or less, has its rows of before."""
    make(lake, root, Energy(), batch_s=2.5)
    utterances, _ = read_in(lake, root)
    for batch_s in (0.1, 1000.0):
        assert works(lake, "extractors.x", Energy(), utterances, {"lines": root}, batch_s=batch_s) == []


def test_input_ids() -> None:
    utterance = {"audio_id": "A", "text_id": "T"}
    assert [input_id(utterance, needs) for needs in ("audio", "text", "pair")] == ["A", "T", pair_id("A", "T")]


def test_extract_by_name(lake: Warehouse, root: Path) -> None:
    read_in(lake, root)
    first = extract(lake, "waveform", ["lines"])
    assert [a.key for a in extract(lake, "waveform", ["lines"])] == [a.key for a in first]
    assert len(rows_of(first)) == len(TEXTS)
    assert len(lake.artifacts("canary")) == 1


def test_extract_by_name_keeps_rows_apart_where_a_library_has_drifted(
    lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in(lake, root)
    first = extract(lake, "waveform", ["lines"])
    real, store = importlib.metadata.version, Waveform._stored
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == "soxr" else real(name))
    monkeypatch.setattr(Waveform, "_stored", lambda self, clip: store(self, clip) // 2)
    told = r"extractor 'waveform': soxr .* → 99 moved 'wave' \(.*\) by 0\.5 of its scale .*: its rows are kept apart"
    with pytest.warns(UserWarning, match=told) as warned:
        second = extract(lake, "waveform", ["lines"])
    assert [one.filename for one in warned] == [__file__], "the place that asked"
    assert not {a.key for a in first} & {a.key for a in second}
    assert rows_of(first).keys() == rows_of(second).keys()


def test_extract_names_its_mistakes(lake: Warehouse, root: Path) -> None:
    read_in(lake, root)
    with pytest.raises(ArtifactNotFound, match="corpora/linse"):
        extract(lake, "waveform", ["linse"])
    with pytest.raises(UnknownField, match="extractor 'waveform': no field 'dtyp'; did you mean 'dtype'"):
        extract(lake, "waveform", ["lines"], dtyp="int16")


# -- aligners of many clips ------------------------------------------------------------------------------------


def test_an_aligner_of_many_clips_writes_what_one_of_single_clips_writes(lake: Warehouse, root: Path) -> None:
    _write(root / "texts.txt", TEXTS | {"b": ""})
    HalvesOfMany.calls.clear()
    one, many = make(lake, root, Halves()), make(lake, root, HalvesOfMany(), batch_s=240.0)
    assert HalvesOfMany.calls == [(lake.root, 5)]
    assert [pq.read_table(a.path("intervals.parquet")) for a in one] == [
        pq.read_table(a.path("intervals.parquet")) for a in many
    ]
    assert [row["reason"] for row in failed(many)] == ["the transcript is empty"]


def test_one_loading_serves_batch_after_batch(lake: Warehouse, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    for plugin in (Energy, Halves):
        load = plugin.load
        monkeypatch.setattr(plugin, "load", lambda self, device, old=load: loaded.append(self) or old(self, device))
    assert len(make(lake, root, Energy(gain=3.0), batch_s=0.1)) == len(make(lake, root, Halves(), batch_s=0.1)) > 2
    assert loaded == [Energy(gain=3.0), Halves()]


def test_it_may_say_how_many_seconds_it_likes_at_once(lake: Warehouse, root: Path) -> None:
    utterances, _ = read_in(lake, root)
    assert len(works(lake, "aligners.y", HalvesOfMany(), utterances, {"lines": root})) == 3
    assert len(works(lake, "aligners.y", Halves(), utterances, {"lines": root})) == 1
    assert len(works(lake, "aligners.y", HalvesOfMany(), utterances, {"lines": root}, batch_s=240.0)) == 1


def test_one_that_forgets_a_clip_is_stopped(lake: Warehouse, root: Path) -> None:
    _write(root / "texts.txt", TEXTS | {"c": "lost"})
    with pytest.raises(ValueError, match="shorter than argument 1"):
        make(lake, root, HalvesOfMany(), batch_s=240.0)


# -- what processes died of --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["clip", "recording"])
@pytest.mark.parametrize("plugin", [Energy(), Words(), Halves()])
def test_what_processes_died_of_is_not_touched_and_is_a_failure(
    plugin: Any, whose: str, lake: Warehouse, root: Path
) -> None:
    utterances, _ = read_in(lake, root)
    step = "aligners.x" if isinstance(plugin, Halves) else "extractors.x"
    (work,) = works(lake, step, plugin, utterances, {"lines": root})
    dead = next(row for row in work.arguments["rows"] if row["utterance_id"] == "lines-b")
    notes: list[str] = []
    how = Apart(notes.append, died={dead["input_id" if whose == "clip" else "recording_id"]: -11})
    with apart(how):
        made = lake.perform(work)
    assert [(row["utterance_id"], row["reason"]) for row in failed([made])] == [("lines-b", str(ProcessDied(-11)))]
    answered = pq.read_table(made.path(f"{made.request.kind}.parquet")).column("input_id").to_pylist()
    assert len(set(answered)) == len(TEXTS) - 1 and dead["input_id"] not in {*answered, *notes}
    heard = {row["recording_id"] for row in work.arguments["rows"]} - {dead["recording_id"]}
    assert set(notes) == {"", *answered} | (heard if plugin.needs != "text" else set())


@pytest.mark.parametrize(
    ("exit_code", "sentence"),
    [
        (-11, "the process died (signal 11, SIGSEGV) while it was treated"),
        (-40, "the process died (signal 40, unnamed) while it was treated"),
        (3, "the process ended (status 3) while it was treated"),
    ],
)
def test_what_a_process_died_of_is_said(exit_code: int, sentence: str) -> None:
    assert str(ProcessDied(exit_code)) == sentence
