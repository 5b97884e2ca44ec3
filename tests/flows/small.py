"""The small lake of this room's tests, and the command line as a user has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.recipe import RECIPES
from warehouse import Warehouse


def small_recipe() -> str:
    """The demo with two epochs everywhere, one test part, and only the films aligned, so that it takes seconds."""
    text = (RECIPES / "demo.toml").read_text(encoding="utf-8")
    text = text.replace('name = "demo"', 'name = "small"')
    text = re.sub(r"epochs = \d+", "epochs = 2", text)
    text = re.sub(r'(aligner = "pocketsphinx"\ncorpora = ).*', r'\1["films"]', text)
    text = text.replace("threshold = 0.4", "threshold = 0.01").replace("neutral = 0.8", "neutral = 0.01")
    text = re.sub(r"\[models\.scratch\].*?(?=\[report\])", "", text, flags=re.DOTALL)
    text = text.replace('corpora = ["iemocap", "films"]', 'corpora = ["meld", "films"]')
    text = text.replace(
        'corpus = "iemocap"\nprotocol = "sandbox4-loso5"', 'corpus = "meld"\nprotocol = "sandbox5-official"'
    )
    text = text.replace('"films-unlabelled"', '"films-unlabelled:dev=none"')  # of so few lines none falls into dev
    return text.replace('["distilled", "scratch"]', '["distilled"]')


def beginning(text: str) -> str:
    """The small recipe without IEMOCAP and waveforms, of which there is nothing before the run."""
    text = text.replace('[corpora.iemocap]\nreader = "iemocap"\n\n', "")
    text = text.replace('["iemocap", "meld", "films"]', '["meld", "films"]')
    return re.sub(r"(?s)\[features\.waveform\].*?\n\n", "", text)


def films_recipe() -> str:
    """What the small recipe does with the sound of the films: seconds of work, and the small lake has its artifacts."""
    text = small_recipe().partition("[features.teacher]")[0]
    text = re.sub(r'\[corpora\.(?:iemocap|meld)\]\nreader = "\w+"\n', "", text)
    return re.sub(r"(?m)^corpora = .*$", 'corpora = ["films"]', text)


def emolake(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user has it."""
    command = [sys.executable, "-m", "flows", *arguments]
    here = Path(__file__).resolve().parents[2]
    # One worker: each costs the start of a process and the import of what it extracts with.
    variables = os.environ | {"PYTHONPATH": str(here), "COLUMNS": "160", "EMOLAKE_WORKERS": "1"} | environment
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=variables, check=False)


@dataclass(frozen=True)
class Small:
    """The built lake: its folder, the recipe's path, the corpora's roots, and what the run printed."""

    folder: Path
    recipe: Path
    roots: dict[str, Path]
    printed: subprocess.CompletedProcess[str]
    outcome: dict[str, Any]

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.lake)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return emolake(*arguments, cwd=self.folder)
