"""A program that stands in for `mfa`: it behaves as version 3.4.3 was seen to behave, and misbehaves as it is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCRIPT = r'''#!PYTHON -SE
import csv, json, os, struct, subprocess, sys, time, wave, zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLAN = json.loads((HERE / "plan.json").read_text())
if sys.argv[1:] == ["version"]:
    with open(HERE / "asked", "a") as stream:
        stream.write("mfa\n")
    print(PLAN["says"])
    sys.exit(PLAN["says_with"])

arguments = sys.argv[1:]
root = Path(os.environ["MFA_ROOT_DIR"])
with open(HERE / "calls.jsonl", "a") as stream:
    told = [name for name in ("PYTHONPATH", "MFA_PROFILE", "VIRTUAL_ENV") if name in os.environ]
    call = {"arguments": arguments, "root": str(root), "told": told, "pid": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"), "path": os.environ["PATH"].split(":")[0]}
    stream.write(json.dumps(call) + "\n")
print("said by the stand-in", flush=True)
verb, corpus, dictionary, *others = arguments
if str(corpus).startswith(str(root)) or list(root.iterdir()):
    sys.exit("the root is not the run's own")
(root / "database").touch()
if verb != "align":
    first = {}
    for lab in sorted(Path(corpus).glob("*/*.lab")):
        for word in lab.read_text(encoding="utf-8").split():
            first.setdefault(word, f"{lab.parent.name}/{lab.stem}")
    if verb == "validate":
        (root / "corpus").mkdir()
        for file, reports in PLAN.get("reports", {}).items():
            lines = [line.replace("NAME", first[word]) for word, line in reports.items() if word in first]
            (root / "corpus" / file).write_text("".join(line + "\n" for line in lines))
        sys.exit(PLAN.get("validates_with", 0))
    [model, *_] = others
    how = PLAN.get("trains", "")
    if how == "hangs":
        time.sleep(60)
    if how == "writes text":
        Path(model).write_text("no zip")
    elif how != "writes nothing":
        with zipfile.ZipFile(model, "w") as archive:
            archive.writestr(zipfile.ZipInfo("acoustic/meta.json"), json.dumps(sorted(first)))
    sys.exit(PLAN.get("trains_with", 0))
model, output, *flags = others
beam = int(flags[flags.index("--beam") + 1])
lexicon = {}
for line in Path(dictionary).read_text(encoding="utf-8").splitlines():
    word, rest = line.split("\t", 1)
    lexicon.setdefault(word, rest.split()[-PLAN["n_phones"]:])


def says(key, words):
    """What the plan has for the first word of a clip that it names."""
    plan = PLAN.get(key, {})
    return next((plan[word] for word in words if word in plan), None)


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


clips = []
for lab in sorted(Path(corpus).glob("*/*.lab")):
    words = lab.read_text(encoding="utf-8").split()
    with wave.open(str(lab.with_suffix(".wav"))) as stream:
        assert (stream.getnchannels(), stream.getframerate(), stream.getsampwidth()) == (1, 16000, 2)
        pcm = stream.readframes(stream.getnframes())
    clips.append((lab.stem, lab.parent.name, words, len(pcm) / 32000, not any(pcm)))
    if (code := says("crash", words)) is not None:
        sys.stderr.write("Traceback (most recent call last):\nSoundFileError: " + lab.stem + "\n")
        sys.exit(code)
    if hang := says("hang", words):
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if hang == "deaf" else ""
        child = subprocess.Popen([sys.executable, "-SE", "-c", deaf + "import time; time.sleep(60)"])
        (HERE / "child").write_text(str(child.pid))
        time.sleep(60)


def aligned(words, duration_s):
    """Words with equal time for each of their phones, from a tenth of the clip to the end but a tenth."""
    phones = [(n, phone) for n, word in enumerate(words) for phone in lexicon.get(word, ["spn"])]
    frames = int(duration_s * 80)
    if frames < len(phones):
        return None
    times = [(int(duration_s * 10) + frames * n // len(phones)) / 100 for n in range(len(phones) + 1)]
    rows = [(float32(a), float32(b), name) for a, b, (_, name) in zip(times, times[1:], phones)]
    spans = [[row for row, (n, _) in zip(rows, phones) if n == k] for k in range(len(words))]
    return {"words": [[s[0][0], s[-1][1], w] for s, w in zip(spans, words)], "phones": [list(row) for row in rows]}


found, rows, n_paths = {}, [], 0
for stem, speaker, words, duration_s, is_silent in clips:
    tiers = aligned(words, duration_s)
    damage = says("damage", words)
    if is_silent or beam < (says("no_path", words) or 0):
        tiers = None
    n_paths += tiers is not None
    row = [stem, "0.0", duration_s, speaker] + (["", ""] if tiers is None else ["-96.5", "-95.1"])
    if damage == "no output":
        tiers = None
    if damage == "no word":
        tiers, row = None, [*row[:5], ""]
    if damage == "unmentioned":
        tiers, row = None, None
    if damage == "blank":
        row = [*row[:4], "", ""]
    if damage == "unmentioned output":
        row = None
    if damage == "of another":
        row[2] = duration_s + 1
    if row:
        rows += [row] * (2 if damage == "twice" else 1)
    if tiers is not None:
        if damage == "late":
            tiers["words"][-1][1] = tiers["phones"][-1][1] = duration_s + 0.5
        if damage == "backwards":
            tiers["words"][0][:2] = tiers["words"][0][1::-1]
        if damage == "overlap":
            tiers["words"][1][0] -= 0.05
        if damage == "early":
            tiers["words"][0][0] = tiers["phones"][0][0] = -0.02
        if damage == "hole":
            del tiers["phones"][1]
        if damage == "outside":
            tiers["phones"].append([duration_s - 0.02, duration_s, "AH0"])
        if damage == "spn":
            begin, end, _ = tiers["words"][0]
            tiers["phones"] = [[begin, end, "spn"]] + [p for p in tiers["phones"] if p[0] >= end]
        if damage == "fewer":
            end = tiers["words"].pop()[0]
            tiers["phones"] = [p for p in tiers["phones"] if p[0] < end]
        if damage == "nan":
            tiers["words"][0][0] = float("nan")
        if damage == "text time":
            tiers["words"][0][0] = "0.1"
        text = json.dumps({"start": 0, "end": duration_s, "tiers": {
            name: {"type": "interval", "entries": entries} for name, entries in tiers.items()
            if not (damage == "no phones" and name == "phones")}})
        found[stem] = {"truncated": text[:60], "empty": "", "list": "[]", "deep": "[" * 100_000,
                       "not text": "\udcff"}.get(damage, text)
if PLAN.get("swap"):
    found = dict(zip(found, [*list(found.values())[1:], *list(found.values())[:1]]))
if not n_paths:
    print("Traceback (most recent call last):\nmontreal_forced_aligner.exceptions.NoAlignmentsError: ", file=sys.stderr)
    print("\nThere were no successful alignments for %d utterances." % len(clips), file=sys.stderr)
    sys.exit(1)
for stem, text in found.items():
    folder = Path(output) / stem
    folder.mkdir(parents=True)
    (folder / (stem + ".json")).write_bytes(text.encode("utf-8", "surrogateescape"))
    if PLAN.get("exporter_dies"):
        time.sleep(60)
Path(output).mkdir(exist_ok=True)
if table := PLAN.get("table"):
    (Path(output) / "alignment_analysis.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
elif table is None:
    with open(Path(output) / "alignment_analysis.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "begin", "end", "speaker", "overall_log_likelihood", "speech_log_likelihood"])
        writer.writerows(rows)
'''

_PYTHON = r"""#!/bin/sh
echo kalpy >> "$(dirname "$0")/asked"
echo "SAYS"
"""

PHONES = ("AH0", "T", "IY1")


@dataclass(frozen=True)
class StandIn:
    """Where it lies: the command, a model and a dictionary to give to it."""

    folder: Path

    @property
    def command(self) -> Path:
        return self.folder / "bin" / "mfa"

    @property
    def model(self) -> Path:
        return self.folder / "model.zip"

    @property
    def dictionary(self) -> Path:
        return self.folder / "words.dict"

    def plan(self, **plan: Any) -> None:
        """What it does from now on: word of a transcript -> what befalls its clip, under 'crash', 'hang', …"""
        whole = {"says": "3.4.3", "says_with": 0, "n_phones": len(PHONES)} | plan
        (self.command.parent / "plan.json").write_text(json.dumps(whole))

    def calls(self) -> list[dict[str, Any]]:
        """What it was called with, run by run."""
        path = self.command.parent / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        return [call["arguments"][0] for call in self.calls()]

    def beams(self) -> list[int]:
        told = [call["arguments"] for call in self.calls() if "--beam" in call["arguments"]]
        return [int(arguments[arguments.index("--beam") + 1]) for arguments in told]

    def asked(self) -> list[str]:
        """Whose version it was asked for, in turn."""
        path = self.command.parent / "asked"
        return path.read_text().split() if path.exists() else []


def write_stand_in(folder: Path, words: Iterable[str], kalpy: str = "0.9.1") -> StandIn:
    """A stand-in that knows these words, with the same three phones for each."""
    found = StandIn(folder)
    found.command.parent.mkdir(parents=True)
    found.command.write_text(_SCRIPT.replace("PYTHON -SE", f"{sys.executable} -SE"))
    python = found.command.with_name("python")
    python.write_text(_PYTHON.replace("SAYS", kalpy))
    for program in (found.command, python):
        program.chmod(0o755)
    found.model.write_bytes(b"a model")
    found.dictionary.write_text("".join(f"{word.lower()}\t{' '.join(PHONES)}\n" for word in words))
    found.plan()
    return found
