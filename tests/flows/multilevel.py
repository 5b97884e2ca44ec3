"""The recipes of multi-level fusion on a few utterances of the sandbox through tiny networks."""

from __future__ import annotations

import re
from pathlib import Path

from features.sandbox import iemocap
from flows.line import Line
from flows.recipe import read_recipe, recipe_path
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.wholly import Wholly
from warehouse import Warehouse

PROTOCOL = """
id = "three"
title = "A session to learn from, one to choose on, one to test on"
reader = "iemocap"
test = "session = '1'"
dev = "session = '2'"
metrics = ["uar"]
labels = { ang = "angry", exc = "happy", hap = "happy", neu = "neutral", sad = "sad" }
"""
SMALL = "hidden = 8\nwidth = 16\nlayers = 1\nheads = 2\nfeed_forward = 8\n"


def small(text: str) -> str:
    """A shipped recipe with one fit of one epoch per row, small layers and the protocol above."""
    text = text.replace('"iemocap4-loso5:dev=random10"', '"three.toml"')
    text = text.replace("seeds = [0, 1, 2, 3, 4]", "seeds = [0]")
    text = text.replace('reader = "iemocap"', 'reader = "iemocap"\nsessions = [1, 2, 3]')
    text = re.sub(r"\nlayers = \[.*\]", "\nlayers = [1, 2]", text)
    text = text.replace('student = "multilevel"\n', f'student = "multilevel"\n{SMALL}')
    return re.sub(r"epochs = \d+", "epochs = 1", text)


def line_of(name: str, folder: Path) -> Line:
    """The line of a shipped recipe, run wholly in this process."""
    iemocap.write(folder / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    (folder / f"{name}.toml").write_text(small(recipe_path(name).read_text(encoding="utf-8")), "utf-8")
    (folder / "three.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / f"{name}.toml")
    roots = {"iemocap": folder / "raw"} | {f"checkpoints/{one}": folder / one for one in recipe.checkpoints}
    write_speech_encoder(folder / "wav2vec2", "wav2vec2")
    write_bert(folder / "bert", "BertModel")
    warehouse = Warehouse(folder / "lake", create=True)
    made = Line(recipe, warehouse, roots, Wholly(warehouse))
    made.run()
    return made
