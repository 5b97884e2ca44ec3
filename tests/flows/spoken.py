"""A small lake with fitted and reported models of four kinds, over clips of spoken sandbox sentences."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import soundfile

from features.sandbox import meld, voices
from flows.line import Line
from flows.recipe import read_recipe
from tests.features.tiny_bert import write_bert
from tests.features.tiny_recogniser import write_recogniser
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.wholly import Wholly
from warehouse import Warehouse

RECIPE = """
name = "spoken"
title = "Four kinds of student"

[corpora.clips]
reader = "table"
file = "clips.csv"
split = "split"

[checkpoints.hearer]
folder = "hearer"
licence = "hearer's licence"
trained_on = ["Clips & Co"]

[checkpoints.w2v]
folder = "w2v"
licence = "Apache-2.0"
trained_on = ["LibriSpeech"]

[checkpoints.bert]
folder = "bert"
licence = ""

[align.sphinx]
aligner = "pocketsphinx"
corpora = ["clips"]

[features.heard]
extractor = "asr"
corpora = ["clips"]
checkpoint = "hearer"

[features.functionals]
extractor = "opensmile"
corpora = ["clips"]
feature_set = "eGeMAPSv02"
level = "functionals"

[features.frames]
extractor = "mfcc"
corpora = ["clips"]
n_mfcc = 13

[features.wave]
extractor = "waveform"
corpora = ["clips"]

[models.linear]
student = "linear"
corpus = "clips"
protocol = "two.toml"
inputs = { vector = "functionals" }

[models.words]
student = "pooled"
modalities = "audio"
corpus = "clips"
protocol = "two.toml"
inputs = { audio_states = "frames@word" }
objective = { label = 1.0 }
fit = { epochs = 2, learning_rate = 1e-2, batch_frames = 100 }

[models.read]
student = "text_encoder"
task = "classify"
vocabulary_size = 150
layers = 1
width = 16
heads = 2
max_tokens = 12
corpus = "clips"
protocol = "two.toml"
inputs = { text = "text" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 100 }

[models.crossed]
student = "cross_attention"
corpus = "clips"
protocol = "two.toml"
inputs = { wave = "wave", text = "text" }
encoders = { audio = "w2v", text = "bert" }
channels = 8
lstm = 4
heads = 2
feed_forward = 8
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 640_000 }
seeds = [0, 1]

[report]
models = ["linear", "words", "read", "crossed"]

[failures]
allowed = 100
"""
PROTOCOL = """
id = "two"
title = "Two classes"
reader = "table"
test = "split = 'test'"
dev = "split = 'dev'"
metrics = ["uar", "accuracy"]
labels = { anger = "angry", sadness = "sad" }
"""


@dataclass(frozen=True)
class Spoken:
    """The lake, where the clips lie, each with a .txt beside it, and where the placed checkpoints do."""

    warehouse: Warehouse
    clips: Path
    weights: Path


def write_spoken(folder: Path) -> Spoken:
    """Writes it: 24 sentences of two emotions."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    lines = ["path,text,speaker,label,split"]
    for split, emotion in ((s, e) for s in ("train", "dev", "test") for e in ("anger", "sadness")):
        own = [clip for clip in meld.plan(0, 0.5) if (clip.split, clip.emotion) == (split, emotion)]
        for clip in own[: 6 if split == "train" else 3]:
            name = f"{split}_{emotion}_{clip.name}"
            take = voices.say(clip.text, meld.CAST[clip.speaker], meld.MOODS[emotion], 1.0, random.Random(name))
            soundfile.write(clips / f"{name}.wav", voices.resampled(take.wave, 16_000), 16_000)
            (clips / f"{name}.txt").write_text(clip.text + "\n", encoding="utf-8")
            lines.append(f'{name}.wav,"{clip.text}",{clip.speaker},{emotion},{split}')
    (clips / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "spoken.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "two.toml").write_text(PROTOCOL, encoding="utf-8")
    recipe = read_recipe(folder / "spoken.toml")
    roots = {"clips": clips}
    for name in recipe.checkpoints:
        roots[f"checkpoints/{name}"] = folder / name
        (folder / name).mkdir()
    write_recogniser(folder / "hearer")
    write_speech_encoder(folder / "w2v", "wav2vec2")
    write_bert(folder / "bert", "BertModel")
    warehouse = Warehouse(folder / "lake", create=True)
    Line(recipe, warehouse, roots, Wholly(warehouse)).run()
    return Spoken(warehouse, clips, folder)
