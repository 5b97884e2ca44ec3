"""What is wrong with the input is said in one sentence or in a row of failures; the rest is treated, and a run after
the mending continues."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from flows import server_database
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows.killing import HERE, INTERRUPTED, Running, left_behind
from tests.flows.small import emolake
from tests.sparing import first
from warehouse import Warehouse
from warehouse.audit.verify import verify

RECIPE = """
name = "bad"
title = "Bad input"

[corpora.iemocap]
reader = "iemocap"
sessions = [1]

[features.waveform]
extractor = "waveform"
corpora = ["iemocap"]
"""
MORE = """
[corpora.films]
reader = "films"

[align.pocketsphinx]
aligner = "pocketsphinx"
corpora = ["iemocap", "films"]

[features.egemaps]
extractor = "opensmile"
corpora = ["iemocap"]
feature_set = "eGeMAPSv02"
level = "functionals"

[failures]
allowed = 9
"""
FIT = """
name = "fit"
title = "One fit"

[corpora.films]
reader = "films"

[models.language]
student = "text_encoder"
task = "mlm"
vocabulary_size = 300
width = 32
corpus = "films"
protocol = "films-unlabelled:dev=none"
inputs = { text = "text" }
objective = { mlm = 1.0 }
fit = { epochs = 60, learning_rate = 1e-3, batch_frames = 32 }
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a Prefect server that has been up once, and did nothing."""
    home = tmp_path_factory.mktemp("someone") / ".prefect"
    home.mkdir()
    server_database.prepare(home)
    if server_database.path(home).exists():  # it was up for another lake
        server_database.complete(home)
        return home
    program = "import sys, pathlib, flows.server as s\nwith s.prefect_server(pathlib.Path(sys.argv[1])) as wait: wait()"
    subprocess.run([sys.executable, "-c", program, str(home)], cwd=HERE, check=True)
    return home


class Bench:
    """A folder with one session, one film, a recipe, and a lake to be."""

    def __init__(
        self, folder: Path, trees: dict[str, Path], database: Path, recipe: str = RECIPE, api: str | None = None
    ) -> None:
        self.folder, self.iemocap, self.films = folder, folder / "IEMOCAP", folder / "films"
        shutil.copytree(trees["iemocap"] / "Session1", self.iemocap / "Session1")
        film = sorted(path for path in trees["films"].iterdir() if path.is_dir())[0]
        shutil.copytree(film, self.films / film.name)
        self.recipe = folder / "bad.toml"
        self.recipe.write_text(recipe, encoding="utf-8")
        self.wavs = sorted(self.iemocap.glob("Session1/sentences/wav/*/Ses*.wav"))
        (self.subtitles,) = self.films.glob("*/*.srt")
        self.lake = folder / "lake"
        self.database, self.server = database, {"PREFECT_API_URL": api} if api else {}

    def arguments(self, verb: str) -> list[str]:
        return [verb, str(self.recipe), *(f"--root={name}={root}" for name, root in self.roots.items())]

    @property
    def roots(self) -> dict[str, Path]:
        declared = self.recipe.read_text(encoding="utf-8")
        roots = {"iemocap": self.iemocap, "films": self.films}
        return {name: root for name, root in roots.items() if f"[corpora.{name}]" in declared}

    def with_database(self) -> Bench:
        """Begins the lake with a database of Prefect's, whose making takes ten seconds."""
        shutil.copytree(self.database, self.lake / ".prefect")
        return self

    def cli(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        return emolake(*self.arguments(verb), *more, cwd=self.folder, **self.server)

    def sql(self, query: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = Warehouse(self.lake).sql(query).to_arrow_table().to_pylist()
        return rows

    def say(self, wav: Path, words: str) -> None:
        """Gives an utterance another transcript."""
        (path,) = self.iemocap.glob(f"*/dialog/transcriptions/{wav.parent.name}.txt")
        lines, n = re.subn(rf"(?m)^({wav.stem} \[[^\]]*\]:).*$", rf"\1 {words}", path.read_text(encoding="utf-8"))
        assert n == 1
        path.write_text(lines, encoding="utf-8")

    def continues(self, verb: str) -> None:
        """After the mending the same command ends well, and the lake is sound and whole."""
        again = self.cli(verb)
        assert (again.returncode, again.stderr) == (0, "")
        lake = Warehouse(self.lake)
        assert is_done(plan(read_recipe(self.recipe), lake, self.roots, verb))
        assert verify(lake) == []
        assert left_behind(self.folder) == []


@pytest.fixture
def bench(database: Path, small_sandbox: dict[str, Path], api: str, tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_sandbox, database, api=api)


@pytest.fixture
def lone(small_sandbox: dict[str, Path], tmp_path: Path) -> Bench:
    """One for what is refused before there is any server."""
    return Bench(tmp_path, small_sandbox, tmp_path / "no database")


def refused(printed: subprocess.CompletedProcess[str], sentence: str) -> None:
    """One sentence on stderr, exit code 1, and nothing else."""
    assert printed.returncode == 1, printed.stderr
    assert re.fullmatch(rf"emolake: .*{sentence}.*\n", printed.stderr), printed.stderr


# -- utterances that cannot be treated -------------------------------------------------------------------------------


@pytest.mark.slow  # `test_line` counts failures over all steps, and stops where they are too many
def test_bad_clips_are_rows_of_failures_and_the_others_are_treated(bench: Bench) -> None:
    """Where the session is missing, or the recipe allows no failure, one sentence comes first; each run goes on where
    the one before it stopped."""
    corrupt, tags_only, short, strange, *others = bench.wavs
    corrupt.write_bytes(b"RIFF and nothing else")
    bench.say(tags_only, "[LAUGHTER] [BREATHING]")
    wave, rate_hz = soundfile.read(short, dtype="int16")
    soundfile.write(short, wave[: rate_hz // 50], rate_hz)
    bench.say(strange, "The zorblatt quimfled.")
    with open(bench.subtitles, "a", encoding="utf-8") as stream:
        stream.write("\n99\n01:00:00,000 --> 01:00:04,000\nNobody hears this any more.\n")

    (bench.iemocap / "Session1").rename(bench.folder / "elsewhere")
    refused(bench.cli("ingest"), f"Session1 of IEMOCAP is not at {bench.iemocap}/Session1: put the whole release there")
    assert left_behind(bench.folder) == [] and Warehouse(bench.lake).artifacts() == []
    (bench.folder / "elsewhere").rename(bench.iemocap / "Session1")
    bench.recipe.write_text(RECIPE + MORE.replace("allowed = 9", "allowed = 0"), encoding="utf-8")
    first = rf"first: iemocap-{corrupt.stem}: \S+/{corrupt.name} cannot be decoded as audio"
    refused(
        bench.cli("run"),
        rf"step 'corpora.iemocap' could not treat 1 utterances, and the recipe allows 0 \({first}",
    )
    bench.recipe.write_text(RECIPE + MORE, encoding="utf-8")
    bench.continues("run")
    rows = bench.sql("SELECT utterance_id, step, reason FROM failures")
    found = {(row["step"], row["utterance_id"]): row["reason"] for row in rows}
    assert len(found) == len(rows)
    for (step, name), reason in {
        ("corpora.iemocap", corrupt.stem): f"{corrupt.name} cannot be decoded as audio",
        ("corpora.films", ""): r"cue \d+ \[3600.0, 3604.0\] s passes the end of the soundtrack at",
        ("aligners.pocketsphinx", tags_only.stem): "the transcript is empty",
        ("aligners.pocketsphinx", short.stem): "the clip lasts 0.020 s, but its",
        ("extractors.opensmile", short.stem): "the clip lasts 0.020 s, too short for one frame of eGeMAPSv02",
    }.items():
        key = next(key for key in found if key[0] == step and name in key[1])
        assert re.search(reason, found.pop(key))
    assert found == {}

    aligned = bench.sql(
        "SELECT u.utterance_id AS id, symbol, score FROM utterances u "
        "JOIN intervals i ON i.input_id = pair_id(u.audio_id, u.text_id) WHERE tier = 'word' AND corpus = 'iemocap'"
    )
    scores = {row["symbol"]: row["score"] for row in aligned if str(row["id"]).endswith(strange.stem)}
    assert scores["ZORBLATT"] is None and scores["QUIMFLED"] is None, "guessed words have no score"
    assert scores["THE"] is not None
    assert {row["id"] for row in aligned} == {f"iemocap-{wav.stem}" for wav in [strange, *others]}
    heard = bench.sql("SELECT count(*) AS n FROM utterances JOIN features_waveform ON input_id = audio_id")
    assert heard == [{"n": len(bench.wavs) - 1}]


# -- what is wrong with the whole ------------------------------------------------------------------------------------


def test_an_unknown_field_is_named_with_the_nearest_and_no_lake_is_made(lone: Bench) -> None:
    lone.recipe.write_text(RECIPE.replace("sessions =", "sesions ="), encoding="utf-8")
    refused(lone.cli("extract"), r"\[corpora.iemocap\]: no field 'sesions'; did you mean 'sessions'\?")
    assert not (lone.lake).exists()


@pytest.mark.parametrize("verb", first(1, ["extract", "plan"]))
def test_a_lake_of_a_newer_format_is_left_alone(lone: Bench, verb: str) -> None:
    (lone.lake).mkdir()
    marker = lone.lake / "lake.json"
    marker.write_text('{"format":999}')
    sentence = "has format 999, but this version of Emolake knows formats up to .: install a newer Emolake"
    refused(lone.cli(verb), sentence)
    assert [path.name for path in lone.lake.iterdir()] == ["lake.json"]
    assert marker.read_text() == '{"format":999}'


@pytest.mark.slow
def test_a_file_that_changes_while_a_run_reads_it_stops_the_run(
    database: Path, small_sandbox: dict[str, Path], tmp_path: Path
) -> None:
    bench = Bench(tmp_path, small_sandbox, database, RECIPE + MORE).with_database()
    wav = bench.wavs[-1]
    whole = wav.read_bytes()
    running = Running(*bench.arguments("run"), cwd=bench.folder)
    running.wait_for(lambda: len(list(bench.lake.glob("artifacts/labels/*/manifest.json"))) == 2)
    wav.write_bytes(whole[:-2])  # the corpora are read; the aligner, which comes first, is only starting
    assert running.end(timeout_s=120) == 1
    running.wait_until_nobody_is_left()
    assert running.complaint == (
        f"emolake: {wav} is not what was ingested (missing, or other bytes): run `emolake ingest` again\n"
    )
    assert left_behind(bench.folder) == []
    wav.write_bytes(whole)
    bench.continues("run")


@pytest.mark.slow
def test_a_full_disk_is_named_and_with_more_space_a_run_continues(bench: Bench) -> None:
    room = bench.folder / "room"
    room.mkdir()
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(room)], capture_output=True).returncode:
        pytest.skip("this user may mount no small disk")
    shutil.copytree(bench.database, bench.folder / "database")
    n_bytes = sum(path.stat().st_size for path in (bench.folder / "database").iterdir())
    script = f"""
        mount -t tmpfs -o size=40k tmpfs "{room}"
        "$@"; echo $?
        mount -o remount,size={n_bytes + 400_000} "{room}" && mkdir -p "{room}/lake"
        cp -r "{bench.folder}/database" "{room}/lake/.prefect"
        "$@"; echo $?
        mount -o remount,size=1g "{room}"
        "$@" > /dev/null; echo $?
        cp -r "{room}/lake" "{bench.folder}"
    """
    command = [sys.executable, "-m", "flows", *bench.arguments("extract"), "--lake", str(room / "lake"), "--json"]
    printed = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command], cwd=bench.folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(HERE)}, check=True,
    )  # fmt: skip
    assert printed.stdout == "1\n1\n0\n"
    said = [line for line in printed.stderr.splitlines() if not re.search(r" new +[\d.]+ s$", line)]
    assert len(said) == 2, printed.stderr
    for sentence in said:
        assert sentence.startswith(f"emolake: no space left on the disk of {room}/lake while '")
        assert sentence.endswith("run the same command again, which continues where this one stopped")
    assert left_behind(bench.folder) == []
    assert verify(Warehouse(bench.lake)) == []


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupted(running: Running) -> None:
    """Exit code 130, one sentence, nobody alive, and nothing half-written."""
    assert running.interrupt() == 130, running.complaint
    running.wait_until_nobody_is_left()
    assert running.complaint == INTERRUPTED


def test_ctrl_c_while_the_sandbox_is_spoken_leaves_no_sandbox(tmp_path: Path) -> None:
    for _ in range(2):
        running = Running("demo", cwd=tmp_path)
        running.wait_for(lambda: len(list(tmp_path.glob(".sandbox.writing-*/*/*/*/*/*"))) > 3)
        interrupted(running)
        assert left_behind(tmp_path) == [] and not (tmp_path / "sandbox").exists()


@pytest.mark.slow
def test_ctrl_c_while_corpora_are_ingested_and_a_rerun_continues(bench: Bench) -> None:
    running = Running(*bench.with_database().arguments("ingest"), cwd=bench.folder)
    running.wait_for(lambda: any(bench.lake.glob("artifacts/raw/*/manifest.json")))
    interrupted(running)
    assert left_behind(bench.folder) == []
    bench.continues("ingest")


@pytest.mark.slow
def test_ctrl_c_while_a_model_is_fitted_ends_the_job_and_a_rerun_continues(bench: Bench) -> None:
    bench.recipe.write_text(FIT, encoding="utf-8")
    running = Running(*bench.with_database().arguments("run"), cwd=bench.folder)
    running.wait_for(lambda: any("models.job" in command for command in running.descendants()))
    # A scratch folder that holds no order is an artifact's: the job has begun, not only started.
    running.wait_for(lambda: any(not list(f.glob("request.json")) for f in (bench.lake / ".scratch").glob("*")))
    interrupted(running)
    assert left_behind(bench.folder) == []
    assert Warehouse(bench.lake).artifacts("checkpoint") == []
    bench.continues("run")
