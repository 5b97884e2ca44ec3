"""Made-up predictions, utterances and the content of a report on them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flows.findings import report_content
from warehouse.schema import UTTERANCES

CLASSES = ["angry", "happy", "sad"]
LOSO = {
    "id": "three-loso", "title": "three classes, leave one session out", "classes": CLASSES, "folds": "session",
    "dev": "session = $next", "test": "session = $fold", "metrics": ["uar", "accuracy", "f1/sad"], "citation": "",
}  # fmt: skip
TEXT_PLAIN = "epoch,train_loss,train_label,dev_loss,kept\n1,1.2,1.2,1.1,0\n2,0.9,0.9,1,1\n3,0.7,0.7,nan,0\n"


def prediction(variant: str, fold: str, seed: int, number: int, label: str | None, predicted: str) -> dict[str, Any]:
    """One row of PREDICTIONS with its variant, fold and seed."""
    return {
        "variant": variant, "fold": fold, "seed": seed, "part": "test", "utterance_id": f"{fold}-{number}",
        "label": label, "predicted": predicted, "classes": CLASSES, "probabilities": [0.2, 0.3, 0.5],
    }  # fmt: skip


Rows = list[dict[str, Any]]


def predictions(variant: str, seeds: tuple[int, ...] = (0, 1), folds: tuple[str, ...] = ("A", "B")) -> Rows:
    """Twelve predictions per fold and seed, a fifth of them wrong."""
    rows = []
    for seed in seeds:
        for fold in folds:
            for number in range(12):
                label = CLASSES[number % 3]
                wrong = (number * 7 + seed * 3 + len(variant) + ord(fold[0])) % 5 == 0
                rows.append(prediction(variant, fold, seed, number, label, "happy" if wrong else label))
    return rows


def uttered(corpus: str, number: int, span_s: float, speaker: str = "") -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(UTTERANCES.names, "")
    return row | {
        "corpus": corpus, "utterance_id": f"{corpus}-{number}", "speaker_id": speaker, "turn": 0, "attributes": [],
        "start_s": 2.0, "end_s": 2.0 + span_s,
    }  # fmt: skip


UTTERED = pa.Table.from_pylist(
    [uttered("acted", n, 0.5 * (1 + n % 7), f"speaker {n % 2}") for n in range(20)]
    + [uttered("films", n, 1.5) for n in range(4)],
    schema=UTTERANCES,
)
LABELLED = pa.table(
    {
        "utterance_id": [f"acted-{n}" for n in range(18)],
        "value": [CLASSES[n % 3] for n in range(18)],
    }
)


def content_of(**changes: Any) -> dict[str, Any]:
    """A report on two variants; `changes` are other arguments of `report_content`."""
    given_content: dict[str, Any] = {
        "title": "A title & <more>",
        "recipe": 'name = "demo"\n[models.student]\nnote = "<script>alert(1)</script>"\n',
        "predictions": pa.Table.from_pylist(predictions("distilled") + predictions("plain", seeds=(0,))),
        "protocols": {"plain": LOSO, "distilled": LOSO},
        "utterances": UTTERED,
        "labels": LABELLED,
        "failures": [{"input_id": "x", "utterance_id": "films-9", "step": "aligners.one", "reason": "no word of <it>"}],
        "trace": [
            {"what": "metric", "key": "", "note": "uar 0.5"},
            {"what": "predictions", "key": "ab" * 16, "digest": "cd" * 32, "note": ""},
        ],
        "caveats": ["Scripts repeat over sessions."],
        "histories": {"distilled": {"fold A, seed 0": TEXT_PLAIN, "fold B, seed 0": TEXT_PLAIN}, "solved": {}},
    }
    return report_content(**given_content | changes)
