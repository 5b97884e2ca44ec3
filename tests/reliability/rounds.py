"""Rounds: a small build is disturbed at a random moment, finished by the same command, and held against one that nobody
disturbed.

A `Bench` has two corpora of noise, the recipes over them, and what is made of them in peace. A round draws everything
from its seed: what happens when, to whom. `benchmarks/reliability.py` counts rounds, the tests of this folder hold each
to its laws.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from flows.plan import is_done, plan
from flows.recipe import read_recipe
from tests.flows.killing import HERE, Running, identities, left_behind
from warehouse import Warehouse
from warehouse.audit.verify import verify
from warehouse.errors import EmolakeError

N_WORKERS = 2
WATCHED = Path(__file__).parent / "watched"
DOOR, COMMAND = "tests.reliability.door", "flows"
"""The command line without Prefect, and as a user has it."""

HOURS_S = 3600

SERVER = """
import os, sys
from pathlib import Path
from flows.server import prefect_server
with prefect_server(Path(sys.argv[1])) as wait_until_ready:
    wait_until_ready()
    print(os.environ["PREFECT_API_URL"], flush=True)
    sys.stdin.read()
"""

CORPORA = """
[corpora.calls]
reader = "table"
file = "clips.csv"

[corpora.clips]
reader = "table"
file = "clips.csv"
"""
FEATURES = """
[features.coarse]
extractor = "mfcc"
n_mfcc = 13
corpora = {corpora}

[features.{name}]
extractor = "mfcc"
n_mfcc = {n_mfcc}
corpora = {corpora}

[failures]
allowed = 2
"""
FIT = """
name = "fitted"
title = "Fits that are disturbed"

[corpora.clips]
reader = "table"
file = "clips.csv"

[models.words]
student = "text_encoder"
task = "classify"
vocabulary_size = 100
layers = 1
width = 16
heads = 1
corpus = "clips"
protocol = "calm2.toml"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 40, batch_frames = 12, learning_rate = 1e-3 }
"""
PROTOCOL = """
id = "calm2"
reader = "table"
title = "Two classes, a speaker to choose on, a speaker to test on"
folds = "speaker_id"
test = "speaker_id = $fold"
dev = "speaker_id = $next"
metrics = ["uar"]
[labels]
calm = "calm"
loud = "loud"
"""
RECIPES = {
    "both": 'name = "both"\ntitle = "Two corpora"\n' + CORPORA
            + FEATURES.format(corpora='["calls", "clips"]', name="fine", n_mfcc=40),
    "shared": 'name = "shared"\ntitle = "One of them"\n' + CORPORA[CORPORA.index("[corpora.clips]"):]
              + FEATURES.format(corpora='["clips"]', name="finest", n_mfcc=60),
    "fitted": FIT,
}  # fmt: skip
VERBS = {"both": "extract", "shared": "extract", "fitted": "run"}


@dataclass(frozen=True)
class Holdings:
    """What a lake holds, told so that two can be compared.

    Args:
        artifacts: key -> digest.
        rows: table -> how many rows, and how many of them are different.
        names: what corpora and features point at.
    """

    artifacts: dict[str, str]
    rows: dict[str, tuple[int, int]]
    names: dict[str, object]


@dataclass
class Found:
    """What a round came to.

    Args:
        was_disturbed: whether what was to happen did, before the build was done.
        went_on: whether the disturbed command ended well all the same.
        n_repeated: works begun more than once, by all commands together.
        losses: artifacts that are missing or other, rows lost or doubled, names that point elsewhere.
        faults: what `verify --deep` says.
        left: what is half-written, and who lives on.
        said: the sentences of the commands.
    """

    what: str
    seed: int
    was_disturbed: bool = True
    went_on: bool = False
    n_repeated: int = 0
    losses: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All that must not be."""
        return [*self.losses, *self.faults, *self.left]


class Bench:
    """A folder with corpora, recipes and undisturbed builds of them."""

    def __init__(self, folder: Path, module: str = COMMAND) -> None:
        self.folder, self.module = folder, module
        self.environment = {"PYTHONPATH": os.pathsep.join(map(str, (WATCHED, HERE))), "OMP_NUM_THREADS": "1"}
        self.roots = {name: _write_corpus(folder / name, number) for number, name in enumerate(("calls", "clips"))}
        for name, text in RECIPES.items():
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        (folder / "calm2.toml").write_text(PROTOCOL, encoding="utf-8")
        self._in_peace: dict[str, tuple[Holdings, int]] = {}

    def arguments(self, recipe: str, lake: Path) -> list[str]:
        roots = [f"--root={name}={root}" for name, root in self.roots.items() if f"[corpora.{name}]" in RECIPES[recipe]]
        return [
            VERBS[recipe], str(self.folder / f"{recipe}.toml"), *roots, "--lake", str(lake), "--workers",
            str(N_WORKERS), "--json",
        ]  # fmt: skip

    def in_peace(self, recipe: str = "both", poison: str = "") -> tuple[Holdings, int]:
        """What an undisturbed build of a recipe makes, and how many works that takes."""
        asked = recipe + poison
        if asked not in self._in_peace:
            folder = self._peaceful(asked)
            build = Build(self, folder, recipe, **({"EMOLAKE_TEST_POISON": poison} if poison else {}))
            assert build.start().end(timeout_s=300) == 0, build.said()
            self._in_peace[asked] = holdings(folder / "lake"), len(build.told("made"))
        return self._in_peace[asked]

    def _peaceful(self, asked: str) -> Path:
        return self.folder / f"in-peace-{asked}"

    def prepare(self) -> None:
        """Builds all in peace that rounds are held against, before several of them are played at once."""
        for recipe in RECIPES:
            self.in_peace(recipe)
        self.in_peace(poison=self.poison)
        if DISTURBANCES["clocks hours apart"].is_possible():
            self.clock  # noqa: B018

    @cached_property
    def poison(self) -> str:
        """The sound of one clip."""
        self.in_peace()
        lake = Warehouse(self._peaceful("both") / "lake")
        (row,) = lake.sql("SELECT audio_id FROM utterances ORDER BY audio_id LIMIT 1").fetchall()
        return str(row[0])

    @cached_property
    def clock(self) -> Path:
        """A library that shifts the clock of whom it is preloaded into."""
        library = self.folder / "clock.so"
        source = Path(__file__).parent / "clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        return library

    @contextmanager
    def served(self) -> Iterator[None]:
        """Within it, one Prefect server for all builds that do not bring their own: the start of one takes longer than
        a build."""
        command = [sys.executable, "-c", SERVER, str(self.folder / "server")]
        server = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with server:
            assert server.stdin is not None and server.stdout is not None
            self.environment["PREFECT_API_URL"] = server.stdout.readline().strip()
            try:
                yield
            finally:
                del self.environment["PREFECT_API_URL"]
                server.stdin.close()


def _write_corpus(root: Path, seed: int) -> Path:
    root.mkdir(parents=True)
    chance = np.random.default_rng(seed)
    lines = ["path,text,speaker,label"]
    for number in range(6):
        soundfile.write(root / f"{number}.wav", chance.uniform(-0.1, 0.1, 16_000), 16_000)
        lines.append(f"{number}.wav,{root.name} {number} says so and so,s{number // 2},{('calm', 'loud')[number % 2]}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


class Build:
    """One lake, and the commands that build it."""

    def __init__(self, bench: Bench, folder: Path, recipe: str = "both", **environment: str) -> None:
        self.bench, self.folder, self.recipe = bench, folder, recipe
        self.lake, self.log = folder / "lake", folder / "works.log"
        folder.mkdir()
        self.environment = bench.environment | {"EMOLAKE_TEST_LOG": str(self.log)} | environment
        self.running: list[Running] = []
        self.others: dict[Running, str] = {}  # the recipe of those that were given another than the build's

    def start(self, recipe: str = "", before: Sequence[str] = (), lake: Path | None = None, **more: str) -> Running:
        """Gives the command, or that of another recipe."""
        running = Running(
            *self.bench.arguments(recipe or self.recipe, lake or self.lake), cwd=self.folder, before=before,
            module=self.bench.module, **self.environment | more,
        )  # fmt: skip
        self.running.append(running)
        if recipe:
            self.others[running] = recipe
        return running

    def told(self, what: str) -> list[str]:
        """Keys of the works that were begun or made, as often as they were."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split()[1] for line in lines if line.startswith(what)]

    def waits(self, running: Running, happened: Callable[[], object], timeout_s: float = 120) -> bool:
        """Waits for something, or for the end of the command: whether it lives still."""
        deadline = time.monotonic() + timeout_s
        while running.process.poll() is None and not happened():
            assert time.monotonic() < deadline, "what was waited for never happened"
            time.sleep(0.01)
        return running.process.poll() is None

    def at_random(self, running: Running, chance: random.Random, least: int = 0) -> bool:
        """Waits for a random moment: a little after so many works were begun or made. None is the time before the
        first. False if the command ended first."""
        n_works = self.bench.in_peace(self.recipe)[1]
        n_lines = chance.randrange(least, 2 * n_works)
        deadline = None
        delay_s = chance.uniform(0, 0.1) if n_lines else chance.uniform(0, 4)

        def is_now() -> bool:
            nonlocal deadline
            if len(self.told("")) >= n_lines:
                deadline = deadline or time.monotonic() + delay_s
            return deadline is not None and time.monotonic() >= deadline

        return self.waits(running, is_now)

    def said(self) -> list[str]:
        return [line for running in self.running for line in running.complaint.splitlines()]


def holdings(lake: Path) -> Holdings:
    """What a lake holds."""
    warehouse = Warehouse(lake)
    questions = {
        "utterances": "SELECT count(*), count(DISTINCT utterance_id) FROM utterances",
        "labels": "SELECT count(*), count(DISTINCT (utterance_id, rater, scheme)) FROM labels",
        "failures": "SELECT count(*), count(DISTINCT (step, utterance_id)) FROM failures",
    }
    for name in warehouse.refs("features"):
        questions[name] = f"SELECT count(*), count(DISTINCT input_id) FROM features_{name}"
    rows = {name: tuple(warehouse.table(question).to_pylist()[0].values()) for name, question in questions.items()}
    names = {f"{group}/{name}": ref for group in ("corpora", "features") for name, ref in warehouse.refs(group).items()}
    return Holdings(identities(lake), rows, names)  # type: ignore[arg-type]


# -- what happens to a build -------------------------------------------------------------------------------------------


def _signalled(number: signal.Signals, build: Build, chance: random.Random) -> bool:
    """The run, or now and then all of its group."""
    running = build.start()
    hit = build.at_random(running, chance)
    if hit:
        (os.killpg if chance.random() < 0.5 else os.kill)(running.process.pid, number)
        running.end(timeout_s=120)
    if chance.random() < 0.5:  # else the next command meets those that have not yet noticed
        running.wait_until_nobody_is_left()
    return hit


def run_killed(build: Build, chance: random.Random) -> bool:
    """kill -9 of the run, by itself or with its group."""
    return _signalled(signal.SIGKILL, build, chance)


def run_terminated(build: Build, chance: random.Random) -> bool:
    """SIGTERM to the run, as a scheduler ends what it takes back."""
    return _signalled(signal.SIGTERM, build, chance)


def run_interrupted(build: Build, chance: random.Random) -> bool:
    """Ctrl-C."""
    running = build.start()
    hit = build.at_random(running, chance)
    if hit:
        running.interrupt()
    return hit


def worker_killed(build: Build, chance: random.Random) -> bool:
    """kill -9 of a worker process: the run goes on by itself."""
    running = build.start()
    hit = build.at_random(running, chance, least=1) and _kill_one(build, running, "spawn_main", chance)
    running.end(timeout_s=120)
    return hit


def server_killed(build: Build, chance: random.Random) -> bool:
    """kill -9 of the embedded Prefect server."""
    build.environment.pop("PREFECT_API_URL", None)
    running = build.start()
    hit = build.at_random(running, chance) and _kill_one(build, running, os.path.join("flows", "server.py"), chance)
    running.end(timeout_s=300)
    return hit


def job_killed(build: Build, chance: random.Random) -> bool:
    """kill -9 of a job that fits a model."""
    running = build.start()
    hit = build.at_random(running, chance, least=1) and _kill_one(build, running, "models.job", chance)
    running.end(timeout_s=120)
    return hit


def _kill_one(build: Build, running: Running, word: str, chance: random.Random) -> bool:
    """Kills one of the processes of a run whose command has this word."""
    found: list[int] = []
    while not found and build.waits(running, lambda: True):
        found = sorted(pid for pid, command in running.processes().items() if word in command)
    if found:
        os.kill(chance.choice(found), signal.SIGKILL)
    return bool(found)


def started_twice(build: Build, chance: random.Random) -> bool:
    """Two schedulers start the same build, each with a server of its own; now and then one is killed."""
    if chance.random() < 0.3:
        build.environment.pop("PREFECT_API_URL", None)
    return _two(build, "", chance)


def started_beside_another(build: Build, chance: random.Random) -> bool:
    """Two recipes that share a feature are started at once on one lake."""
    return _two(build, "shared", chance)


def _two(build: Build, other: str, chance: random.Random) -> bool:
    one = build.start()
    time.sleep(chance.uniform(0, 0.5))
    two = build.start(other)
    if chance.random() < 0.3 and build.at_random(two, chance):
        two.kill(group=True)
    codes = [running.end(timeout_s=300) for running in (one, two)]
    if codes[0]:
        raise AssertionError(f"{codes}: {build.said()}")
    return True


def clocks_apart(build: Build, chance: random.Random) -> bool:
    """A host whose clock is hours off begins, and is killed; one whose clock is off the other way goes on."""
    off_s = chance.choice([-1, 1]) * chance.randrange(1, 48) * HOURS_S
    running = build.start(LD_PRELOAD=str(build.bench.clock), EMOLAKE_TEST_CLOCK_S=str(off_s))
    hit = build.at_random(running, chance, least=1)
    if hit:
        running.kill(group=True)
    build.environment |= {"LD_PRELOAD": str(build.bench.clock), "EMOLAKE_TEST_CLOCK_S": str(-off_s)}
    return hit


def disk_full(build: Build, chance: random.Random) -> bool:
    """The disk of the lake holds a part of it only, until there is more space."""
    room, whole = build.folder / "room", build.bench.folder / "in-peace-both" / "lake"
    room.mkdir()
    n_bytes = sum(path.stat().st_blocks * 512 for path in whole.rglob("*") if path.name != "prefect.db")
    script = f"""
        mount -t tmpfs -o size={round(n_bytes * chance.uniform(0.02, 0.7)) // 4096 * 4096} tmpfs "{room}"
        "$@" >&2; first=$?
        mount -o remount,size=1g "{room}"
        "$@" >&2 || exit 9
        cp -a "{room}/lake" lake
        exit $first
    """
    running = build.start(before=["unshare", "-rm", "sh", "-c", script, "sh"], lake=room / "lake")
    code = running.end(timeout_s=300)
    if code == 9:
        raise AssertionError(f"with space it did not go on: {build.said()}")
    return code == 1


def poisoned(build: Build, chance: random.Random) -> bool:
    """A clip crashes the extractor natively, and a worker is killed besides."""
    build.environment["EMOLAKE_TEST_POISON"] = build.bench.poison
    return worker_killed(build, chance) if chance.random() < 0.5 else run_killed(build, chance)


@dataclass(frozen=True)
class Disturbance:
    """What happens to a build.

    Args:
        happen: does it, and says whether it did before the build was done.
        share: of a hundred rounds.
        recipe: of the build.
        most_repeated: works of a build that it may make begin again; None where two builds or a poisoned clip do
            them more than once by design.
        needs: a command that must work here.
    """

    happen: Callable[[Build, random.Random], bool]
    share: int
    recipe: str = "both"
    most_repeated: int | None = N_WORKERS
    needs: tuple[str, ...] = ("true",)

    def is_possible(self) -> bool:
        """Whether this machine has what it takes."""
        if not CAN_LOOK or shutil.which(self.needs[0]) is None:
            return False
        return subprocess.run(self.needs, capture_output=True).returncode == 0


CAN_LOOK = Path("/proc/self/environ").exists()
"""Whether it can be seen who lives on: processes of a build are looked for in /proc."""



DISTURBANCES: Mapping[str, Disturbance] = {
    "kill -9 of the run": Disturbance(run_killed, 20),
    "kill -9 of a worker": Disturbance(worker_killed, 20),
    "kill -9 of the Prefect server": Disturbance(server_killed, 10),
    "kill -9 of a job": Disturbance(job_killed, 8, "fitted"),
    "SIGTERM to the run": Disturbance(run_terminated, 9),
    "Ctrl-C": Disturbance(run_interrupted, 9),
    "two schedulers, one build": Disturbance(started_twice, 10, most_repeated=None),
    "two schedulers, two recipes that share": Disturbance(started_beside_another, 6, most_repeated=None),
    "clocks hours apart": Disturbance(clocks_apart, 6, needs=("cc", "--version")),
    "the disk runs full": Disturbance(disk_full, 6, most_repeated=None, needs=("unshare", "-rm", "true")),
    "a poisoned clip, and a kill": Disturbance(poisoned, 6, most_repeated=None),
}


def play(bench: Bench, what: str, seed: int) -> Found:
    """One round."""
    disturbance, chance = DISTURBANCES[what], random.Random(f"{what} {seed}")
    bench.in_peace(disturbance.recipe)
    folder = bench.folder / f"{list(DISTURBANCES).index(what)}-{seed}"
    build = Build(bench, folder, disturbance.recipe)
    found = Found(what, seed)
    try:
        found.was_disturbed = disturbance.happen(build, chance)
        ended = [running for running in build.running if running.process.returncode]
        found.went_on = not ended
        for recipe in dict.fromkeys(build.others.get(running, "") for running in ended):
            if code := build.start(recipe).end(timeout_s=300):
                found.losses.append(f"the same command, given once more, ended with {code}")
        for running in build.running:
            running.wait_until_nobody_is_left()
        _judge(bench, build, disturbance, found)
    except (AssertionError, EmolakeError) as mistake:
        found.losses.append(str(mistake))
    found.said = [line for line in build.said() if line.startswith("emolake: ") or "Traceback" in line]
    found.losses += [f"a traceback: {build.said()}" for line in found.said if "Traceback" in line][:1]
    if not found.problems:
        shutil.rmtree(folder)
    return found


def _judge(bench: Bench, build: Build, disturbance: Disturbance, found: Found) -> None:
    found.faults = [f"{fault.key}: {fault.problem}" for fault in verify(Warehouse(build.lake), deep=True)]
    Warehouse(build.lake)  # sweeps what a worker left who outlived its run, and so the beginning of the next command
    found.left = left_behind(build.folder)
    begun = Counter(build.told("began"))
    found.n_repeated = sum(n - 1 for n in begun.values())
    most = disturbance.most_repeated
    if most is not None and found.n_repeated > most:
        found.losses.append(f"{found.n_repeated} works were done again, and there were {N_WORKERS} workers")
    recipe, verb = read_recipe(bench.folder / f"{build.recipe}.toml"), VERBS[build.recipe]
    if not is_done(plan(recipe, Warehouse(build.lake), bench.roots, verb)):
        found.losses.append("a plan finds something that is still to do")
    expected, _ = bench.in_peace(build.recipe, build.environment.get("EMOLAKE_TEST_POISON", ""))
    here = holdings(build.lake)
    if disturbance.happen is started_beside_another:
        # Which of the two made the rows that they share, and so in which shards they lie, is chance.
        other, _ = bench.in_peace("shared")
        expected = Holdings(here.artifacts, other.rows | expected.rows, other.names | expected.names)
    for name, there, own in (
        ("artifact", expected.artifacts, here.artifacts), ("table", expected.rows, here.rows),
        ("name", expected.names, here.names),
    ):  # fmt: skip
        for key in sorted({**there, **own}):
            if there.get(key) != own.get(key):
                found.losses.append(f"{name} {key} is {own.get(key)}, not {there.get(key)}")


def main() -> None:
    """`python -m tests.reliability.rounds FOLDER WHAT SEED …`: rounds by hand."""
    folder, what, *seeds = sys.argv[1:]
    bench = Bench(Path(folder))
    with bench.served():
        for seed in seeds:
            began = time.monotonic()
            found = play(bench, what, int(seed))
            print(json.dumps(vars(found) | {"seconds": round(time.monotonic() - began, 1)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
