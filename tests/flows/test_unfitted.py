"""A fold that cannot be fitted: the others are judged without it, and what needs all of them says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.flows.swept import QUICK, swept_line
from tests.flows.wholly import Wholly
from warehouse import Artifact, Work
from warehouse.errors import InvalidField

WITHOUT_GRIDS = (
    QUICK.replace("[models.sound.grid]\ninverse_strength = [0.1, 1, 10]\n", "")
    .replace('[models.words.grid]\n"fit.learning_rate" = [1e-9, 0.01]\n', "")
    .replace("batch_frames = 12 }", "batch_frames = 12, learning_rate = 0.01 }")
    .replace('averages = { both = ["words", "sound"] }\n', "")
)


class Losing(Wholly):
    """Of every model but the linear one, the second fit is not to be had."""

    def step(self, name: str, works: Sequence[Work], n_rows: int | None = None) -> list[Artifact]:
        is_lost = name.startswith("fit words")
        return super().step(name, [work for number, work in enumerate(works) if not (is_lost and number == 1)], n_rows)


def test_the_report_is_of_the_folds_that_could_be_fitted_and_says_so(tmp_path: Path) -> None:
    line = swept_line(tmp_path, WITHOUT_GRIDS, Losing)
    assert line.unfitted == {"words": [("b", 0)], "sound": []}
    content = json.loads(line.report().path("report.json").read_text(encoding="utf-8"))
    counts = {row["variant"]: (row["n_folds"], row["n_utterances"]) for row in content["scores"]}
    assert counts == {"words": (2, 12), "sound": (3, 18)}
    sentence = "'words' lacks fold 'b', seed 0, which could not be fitted: its figures are of the others."
    assert sentence in content["warnings"]
    assert [fit.fold for fit, _ in line.predictions("words")] == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (QUICK, r"the choice of 'words'"),
        (WITHOUT_GRIDS + 'averages = { both = ["words", "sound"] }\n', "the average 'both'"),
        (
            WITHOUT_GRIDS.replace("[report]", """[models.pupil]
student = "text_encoder"
task = "classify"
vocabulary_size = 100
layers = 1
width = 16
heads = 1
corpus = "clips"
protocol = "calm2.toml"
inputs = { text = "text" }
objective = { logits = 1.0 }
fit = { epochs = 1, batch_frames = 12, learning_rate = 0.01 }
teacher = "words"

[report]"""),
            "'pupil', which it teaches,",
        ),
    ],
)  # fmt: skip
def test_what_needs_all_folds_is_refused(tmp_path: Path, text: str, who: str) -> None:
    with pytest.raises(InvalidField, match=f"lacks fold 'b', seed 0, which could not be fitted, and {who} needs all"):
        swept_line(tmp_path, text, Losing)
