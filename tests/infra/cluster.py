"""A Slurm of this host, for tests: sbatch, srun, sacct, scancel and scontrol, as far as submitit calls them.

Jobs are real processes. Each has a folder with `script` (what sbatch was given), `state`, and `group`, the process
group of what runs it. Every call is a line of `calls`. Where there is a file `blind`, nodes do not see
the disk to which jobs write.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

PROGRAM = """
import json, os, pathlib, re, signal, subprocess, sys, time
root = pathlib.Path({root!r})
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with open(root / "calls", "a") as calls:
    calls.write(json.dumps([name, *words]) + "\\n")

def write(job, name, text):
    (job / (name + ".new")).write_text(text)
    os.replace(job / (name + ".new"), job / name)

if name == "sbatch":
    if (root / "refusal").exists():
        sys.exit((root / "refusal").read_text())
    number = str(int((root / "last").read_text()) + 1)
    write(root, "last", number)
    job = root / number
    job.mkdir()
    (job / "script").write_text(pathlib.Path(words[0]).read_text())
    (job / "state").write_text("PENDING")
    os.environ["SLURM_JOB_ID"] = number
    with open(job / "supervised", "w") as out:
        supervise = [sys.executable, "-S", root / "supervise", str(job), *words[1:]]
        subprocess.Popen(supervise, start_new_session=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    print("Submitted batch job", number)
elif name == "supervise":
    job = pathlib.Path(words[0])
    write(job, "group", str(os.getpid()))
    if (root / "blind").exists():
        sys.exit(write(job, "state", "FAILED"))
    while True:
        write(job, "state", "RUNNING")
        code = subprocess.run(["bash", job / "script", *words[1:]]).returncode
        if not (job / "requeue").exists():
            break
        (job / "requeue").unlink()
        write(job, "state", "PENDING")
    write(job, "state", "FAILED" if code else "COMPLETED")
elif name == "srun":
    at = lambda flag: words[words.index(flag) + 1].replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
    with open(at("--output"), "a") as out, open(at("--error"), "a") as err:
        sys.exit(subprocess.run(words[words.index("--error") + 2:], stdout=out, stderr=err).returncode)
elif name == "scontrol":
    (root / words[1] / "requeue").touch()
elif name == "sacct":
    print("JobID|State|NodeList")
    for flag, number in zip(words, words[1:]):
        if flag == "-j" and (root / number / "state").exists():
            print(number, (root / number / "state").read_text(), "n1", sep="|")
elif name == "scancel":
    job = root / words[0]
    write(job, "state", "CANCELLED by 1000")
    if (job / "group").exists():
        try:
            os.killpg(int((job / "group").read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass
"""


class Cluster:
    """The cluster in a folder whose `bin` is put first on PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir(parents=True)
        # Whoever asks for states keeps them by number, in one place for the whole process.
        (root / "last").write_text(str(uuid.uuid4().int % 10**9))
        programs = [root / "bin" / name for name in ("sbatch", "srun", "sacct", "scancel", "scontrol")]
        for path in [*programs, root / "supervise"]:
            path.write_text(f"#!{sys.executable} -S\n{PROGRAM.format(root=str(root))}")
            path.chmod(0o755)

    @property
    def jobs(self) -> list[Path]:
        """The folders of all jobs, the first first."""
        return sorted(path.parent for path in self.root.glob("*/state"))

    def calls(self, name: str) -> list[list[str]]:
        """The words of each call of one program."""
        lines = [json.loads(line) for line in (self.root / "calls").read_text().splitlines()]
        return [words for called, *words in lines if called == name]

    def lose(self, job: Path, state: str = "NODE_FAIL") -> None:
        """The node of a job is gone: nobody says a word more."""
        os.killpg(int((job / "group").read_text()), signal.SIGKILL)
        (job / "state").write_text(state)

    def close(self) -> None:
        """Ends what still runs."""
        for job in self.jobs:
            deadline = time.monotonic() + 5
            while not (job / "group").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            if (job / "state").read_text() in ("PENDING", "RUNNING"):
                self.lose(job)
