"""A small lake in which grids and an average were run: clips of two classes, told apart by sound and by words."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from flows.line import Line
from flows.recipe import read_recipe
from tests.flows.wholly import Wholly
from warehouse import Warehouse

RECIPE = """
name = "swept"
title = "Two grids and their mean"

[corpora.clips]
reader = "table"
file = "clips.csv"

[features.vector]
extractor = "opensmile"
corpora = ["clips"]
feature_set = "eGeMAPSv02"
level = "functionals"

[models.sound]
student = "linear"
corpus = "clips"
protocol = "calm2.toml"
inputs = { vector = "vector" }

[models.sound.grid]
inverse_strength = [0.1, 1, 10]

[models.words]
student = "text_encoder"
task = "classify"
vocabulary_size = 100
layers = 1
width = 16
heads = 1
dropout = 0.0
corpus = "clips"
protocol = "calm2.toml"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 12, batch_frames = 12 }

[models.words.grid]
"fit.learning_rate" = [1e-9, 0.01]

[report]
models = ["words", "sound"]
averages = { both = ["words", "sound"] }
remarks = ["Nobody feels anything here."]
"""
QUICK = RECIPE.replace("epochs = 12", "epochs = 1")
"""For tests that do not look at what was learned."""
PROTOCOL = """
id = "calm2"
reader = "table"
title = "Two classes, a speaker to choose on, a speaker to test on"
folds = "speaker_id"
test = "speaker_id = $fold"
dev = "speaker_id = $next"
metrics = ["uar", "accuracy"]
[labels]
calm = "calm"
loud = "loud"
"""
WORDS = {"calm": "sleep tea snow", "loud": "run fire drum"}


def swept_line(folder: Path, text: str = RECIPE, doer: type[Wholly] = Wholly, verb: str = "run") -> Line:
    """The line of a recipe over the clips, run wholly in this process, or as far as a verb goes.

    What one such line has made, the next that runs need not make again: it begins with a copy of the artifacts.
    """
    root = folder / "clips"
    root.mkdir(parents=True)
    lines, rng = ["path,text,speaker,label"], np.random.default_rng(0)
    for number in range(18):
        label, speaker = ("calm", "loud")[number % 2], "abc"[number // 6]
        sound = rng.normal(size=8000) * {"calm": 0.01, "loud": 0.2}[label]
        soundfile.write(root / f"{number}.wav", sound.astype(np.float32), 16_000)
        lines.append(f"{number}.wav,{WORDS[label]} {'again ' * (number % 3)},{speaker},{label}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "calm2.toml").write_text(PROTOCOL, encoding="utf-8")
    (folder / "swept.toml").write_text(text, encoding="utf-8")
    warehouse = Warehouse(folder / "lake", create=True)
    first = _made.get((text, doer)) if verb == "run" else None
    if first is not None:
        shutil.copytree(first, warehouse.root / "artifacts")
    line = Line(read_recipe(folder / "swept.toml"), warehouse, {"clips": root}, doer(warehouse))
    getattr(line, verb)()
    if first is None and verb == "run":
        _made[text, doer] = Path(tempfile.mkdtemp(prefix="swept-", dir=folder)) / "artifacts"
        shutil.copytree(warehouse.root / "artifacts", _made[text, doer])
    return line


_made: dict[tuple[str, type[Wholly]], Path] = {}
"""Recipe and doer -> a copy of what the first such line made."""
