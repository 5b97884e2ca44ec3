"""Which columns of its inputs a column of an artifact is made from, where that can be said column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from warehouse.artifact import Artifact

MADE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "intervals": {
        "intervals.input_id": ("utterances.audio_id", "utterances.text_id"),
        "intervals.symbol": ("utterances.text",),
    },
    "features": {"features.input_id": ("utterances.audio_id", "utterances.text_id")},
    "selection": {"selection.utterance_id": ("utterances.utterance_id",)},
    "split": {
        "split.utterance_id": ("utterances.utterance_id",),
        "split.label": ("labels.value", "selection.label"),
    },
    "truth": {"truth.utterance_id": ("split.utterance_id",), "truth.part": ("split.part",),
              "truth.label": ("labels.value",)},
    "votes": {"votes.utterance_id": ("labels.utterance_id",), "votes.label": ("labels.value",)},
    "shards": {"index.input_id": ("features.input_id",)},
    "predictions": {
        "predictions.utterance_id": ("split.utterance_id", "predictions.utterance_id"),
        "predictions.part": ("split.part", "predictions.part"),
        "predictions.probabilities": ("predictions.probabilities",),
    },
    "metrics": {
        "metrics.part": ("predictions.part",),
        "metrics.value": ("predictions.predicted", "predictions.probabilities", "truth.label"),
    },
}  # fmt: skip
"""Kind -> its 'table.column' -> those of the inputs that it is copied or computed from. What is computed from sound or
by a model has no line: it comes from no column."""


def columns_made(a: Artifact, sources: Sequence[tuple[str, Artifact]]) -> Iterator[tuple[str, Artifact, str]]:
    """(column, input, column of the input) of an artifact.

    Args:
        sources: (role, artifact) that it was made from.
    """
    made = dict(MADE.get(a.request.kind, {}))
    if a.request.kind == "selection":  # whose logits are named in the request
        logits = tuple(f"features.{name}" for name in a.request.params.get("logits", ()))
        made |= {"selection.label": logits, "selection.probability": logits}
    by_key = {source.key: source for _, source in sources}
    for column, columns in made.items():
        for wanted in columns:
            table = wanted.partition(".")[0]
            yield from ((column, source, wanted) for source in by_key.values() if f"{table}.parquet" in source.files)
