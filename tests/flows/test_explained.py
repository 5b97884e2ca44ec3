"""What a report says of why its models answer so: pooled over fits, drawn, and on the sandbox from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from features.sandbox import iemocap
from flows.explained import told_of
from flows.line import Line
from flows.plan import is_done, plan
from flows.recipe import read_recipe
from flows.report import html_report
from tests.features.tiny_bert import write_bert
from tests.features.tiny_speech import write_speech_encoder
from tests.flows.test_firewall import CALM
from tests.flows.test_firewall import RECIPE as LAW
from tests.flows.test_teaching import RECIPE as TAUGHT
from tests.flows.wholly import Wholly
from warehouse import Artifact, Request, Warehouse
from warehouse.audit.lineage import up
from warehouse.errors import InvalidField


def _row(name: str, told: str, audio: float, text: float, n_tokens: int) -> dict[str, Any]:
    return {"utterance_id": name, "told": told, "n_tokens": n_tokens, "gradients": {"audio": audio, "text": text},
            "dominant": "audio" if audio > text else "text"}  # fmt: skip


def _fit(lake: Warehouse, number: int, streams: list[dict[str, Any]], weights: list[float]) -> Artifact:
    utterance = {
        "utterance_id": f"u{number}", "told": "sad", "tokens": ["<b>no", "more"], "importance": [2.0, 1.0],
        "attention": [{"layer": "across.2.branches.1", "asks": "words", "asked": "sound",
                       "words": ["[CLS]", "<b>no", "more"], "weights": [[0.5, 0.5], [0.9, 0.1], [0.25, 0.75]]}],
    }  # fmt: skip
    content = {"classes": ["angry", "sad"], "streams": streams, "layers": {"frames": weights},
               "utterances": [utterance]}  # fmt: skip
    request = Request("explanations", "made", 1, {"number": number})
    return lake.materialize(
        request, lambda folder: (folder / "explanations.json").write_text(json.dumps(content), "utf-8") and None
    )


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    lake = Warehouse(tmp_path / "lake", create=True)
    first = [_row("a", "sad", 2, 1, 4), _row("b", "sad", 1, 2, 8)]
    fits = [_fit(lake, 1, first, [0.25, 0.75]), _fit(lake, 2, [_row("c", "angry", 2, 1, 6)], [0.75, 0.25])]
    return told_of("cmd", fits)


def test_streams_are_counted_over_all_fits_and_by_the_class_that_is_told(told: dict[str, Any]) -> None:
    found = {(row["told"], row["stream"]): (row["share"], row["mean_tokens"], row["n"]) for row in told["dominance"]}
    assert found == {
        (None, "audio"): (pytest.approx(2 / 3), 5.0, 3), (None, "text"): (pytest.approx(1 / 3), 8.0, 3),
        ("angry", "audio"): (1.0, 6.0, 1), ("angry", "text"): (0.0, None, 1),
        ("sad", "audio"): (0.5, 4.0, 2), ("sad", "text"): (0.5, 8.0, 2),
    }  # fmt: skip
    assert told["layers"] == {"frames": [0.5, 0.5]} and told["n_fits"] == 2
    assert [one["utterance_id"] for one in told["utterances"]] == ["u1"], "of the first fit"


def test_the_page_colours_tokens_and_escapes_them(told: dict[str, Any]) -> None:
    empty: dict[str, Any] = {
        "title": "t", "recipe": "", "scores": [], "classes": [], "confusions": [], "calibration": [], "curves": [],
        "corpora": [], "durations": {"counts": {}, "width_s": 1}, "leakage": [], "shared": [], "failures": [],
        "protocols": [], "warnings": [], "trace": [], "selections": [], "sizes": [], "points": [], "stamps": {},
        "papers": {"rows": [], "caveats": []},
    }  # fmt: skip
    page = html_report(empty | {"explanations": [told]})
    assert "Why cmd answers so" in page and "<b>no" not in page and "&lt;b&gt;no" in page
    assert re.search(r'rgba\(214, 39, 40, 1\.00\)">&lt;b&gt;no', page), "the token that counts most is reddest"
    assert re.search(r'rgba\(214, 39, 40, 0\.50\)">more', page)
    unlettered = {**told["utterances"][0], "tokens": [], "importance": []}
    plain = told | {"utterances": [unlettered], "layers": {}}
    assert 'told" style' not in html_report(empty | {"explanations": [plain]})
    assert page.count('title="0.900"') == 1 and page.count("<th>[CLS]</th>") == 1
    assert "answers so" not in html_report(empty)


def test_only_models_of_the_report_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "taught.toml"
    for name in ("nobody", "student"):
        models = '["teacher"]' if name == "student" else '["teacher", "student"]'
        path.write_text(TAUGHT.replace('models = ["teacher", "student"]', f'models = {models}\nexplain = ["{name}"]'))
        with pytest.raises(InvalidField, match=f"'report.explain' names '{name}', which is no model that"):
            read_recipe(path)


def test_what_cannot_be_explained_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    def read(text: str) -> None:
        (tmp_path / "law.toml").write_text(text, encoding="utf-8")
        (tmp_path / "calm.toml").write_text(CALM.replace("test = \"split = 'test'\"\n", ""), encoding="utf-8")
        read_recipe(tmp_path / "law.toml")

    reported = LAW[: LAW.index("[models.chosen]")] + '[report]\nmodels = ["plain"]\nexplain = ["plain"]\n'
    with pytest.raises(
        InvalidField, match=r"names 'plain', but of its kind nothing can be told; of these it can: cmd,"
    ):
        read(reported)
    pooled = reported[: reported.index("channels =")].replace('"mced"', '"pooled"\nmodalities = "audio"')
    pooled = pooled.replace("speech =", "audio_states =") + reported[reported.index("[report]") :]
    with pytest.raises(InvalidField, match="names 'plain', whose protocol has no test part to be explained"):
        read(pooled)


RECIPE = """
name = "explained"
title = "A CMD that explains itself"

[corpora.iemocap]
reader = "iemocap"
sessions = [1, 2, 3]

[checkpoints.w2v]
folder = "w2v"
licence = "as its publisher says"

[checkpoints.bert]
folder = "bert"
licence = "as its publisher says"

[models.cmd]
student = "cmd"
blocks = 1
channels = 8
feed_forward = 16
corpus = "iemocap"
protocol = "sandbox4-loso5"
inputs = { wave = "wave", text = "text" }
encoders = { audio = "w2v", text = "bert" }
objective = { label = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 640_000 }

[features.wave]
extractor = "waveform"
corpora = ["iemocap"]

[report]
models = ["cmd"]
explain = ["cmd"]
"""


@pytest.mark.slow
def test_explanations_are_made_of_what_was_fitted_and_stand_in_the_report(tmp_path: Path) -> None:
    iemocap.write(tmp_path / "raw", [one for one in iemocap.plan(0, 0.1) if one.session < 4], 0, lambda: None)
    write_speech_encoder(tmp_path / "w2v", "wav2vec2")
    write_bert(tmp_path / "bert", "BertModel")
    (tmp_path / "explained.toml").write_text(RECIPE, encoding="utf-8")
    recipe = read_recipe(tmp_path / "explained.toml")
    roots = {"iemocap": tmp_path / "raw"} | {f"checkpoints/{name}": tmp_path / name for name in recipe.checkpoints}
    warehouse = Warehouse(tmp_path / "lake", create=True)
    line = Line(recipe, warehouse, roots, Wholly(warehouse))
    line.run()
    report = line.report()
    [one] = json.loads(report.path("report.json").read_text(encoding="utf-8"))["explanations"]
    rows = [row for row in one["dominance"] if row["told"] is None]
    assert one["n_fits"] == 3 and sum(row["share"] for row in rows) == pytest.approx(1) and rows[0]["n"] > 20
    assert len(one["utterances"]) > 3 and all(len(row["attention"]) == 2 for row in one["utterances"])
    page = report.path("report.html").read_text(encoding="utf-8")
    assert "Why cmd answers so" in page and one["utterances"][0]["utterance_id"] in page
    above = {node.artifact.request.kind for node in up(warehouse, report).walk()}
    assert {"explanations", "checkpoint", "raw"} <= above
    assert is_done(plan(recipe, warehouse, roots))
