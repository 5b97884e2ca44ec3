"""What every table, view and column of a lake says, in a sentence each: `emolake sql --schema`, and the comments in the
catalog file. A test holds that none is left out."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from warehouse.errors import UnknownName

if TYPE_CHECKING:
    from warehouse.store import Warehouse

VIEWS: Mapping[str, str] = {
    "artifacts": "Every artifact: what was asked, and where its files are.",
    "inputs": "What each artifact was made from: one row per artifact, role and digest.",
    "merged": "What lies in one artifact with others now, and may be gone itself: `emolake compact`.",
    "plugins": "Which extractor or aligner made which artifact.",
    "raw_files": "The raw files of every corpus as last ingested.",
    "utterances": "The utterances of every corpus as last ingested: one speaker turn each.",
    "labels": "The labels of these utterances, verbatim: one judgement by one rater under one scheme each.",
    "intervals": "Aligned words, phones and syllables; join by pair_id(audio_id, text_id) = input_id.",
    "aligners": "What recipes call the aligners.",
    "side_by_side": "The segments of every two aligners, matched in order by their symbols.",
    "disagreement": "How far apart two aligners are, by utterance and tier.",
    "features": "Which artifact holds which row of which extractor.",
    "features_*": "The rows of the extractor that a recipe calls so; join by input_id.",
    "means_*": "The mean of its frames over every word, phone and syllable of every aligner.",
    "failures": "What could not be treated, by which step, and why; of attempts the newest.",
    "failures_of_attempts": "The same of every attempt, also where a later one succeeded.",
    "splits": "Which utterance is in which part of a fold, as fits see it.",
    "selections": "Utterances that a teacher is sure of.",
    "predicted": "Predictions as they were made, which is without the labels that judge them.",
    "truths": "The labels of the parts that are predicted; no fit reads them.",
    "judges": "Which truth judges which predictions.",
    "predictions": "Predictions with the labels that judge them.",
    "metrics": "What the predictions are worth, by protocol, variant, fold, seed and part.",
    "extractors": "What recipes call the extractors.",
    "reports": "The last report of each recipe.",
    "works": "How long the making of each artifact took.",
    "soft_labels": "Every labelled utterance and scheme: the corpus's own label, the raters' majority, their shares.",
    "agreement": "Krippendorff's alpha of the raters, by corpus and scheme.",
    "class_balance": "Utterances of each class in each part of each fold.",
    "hours": "Utterances, speakers and hours of sound by corpus.",
    "coverage": "Rows wanted, present and failed, by extractor and corpus.",
    "catalog": "In the catalog file: the lake that it is of, as it was then.",
    "left_out": "In the catalog file: views that only Emolake's own connections can answer.",
    "costs": "Seconds of work on all that the last report of a recipe was made from, by kind and step.",
}
"""View -> what its rows are; * stands for a name of the recipe's."""

COLUMNS: Mapping[str, str] = {
    "aligner": "its step",
    "aligner_a": "step of the first aligner",
    "aligner_b": "step of the second",
    "alpha": "1 is perfect agreement, 0 is chance; NULL where nobody rated twice, or one rating only was given",
    "artifact": "key of the artifact that the row lies in",
    "attempt": "0, or how many times what failed was tried again",
    "attributes": "what only this corpus knows",
    "audio_id": "names the sound: recording, span, channel; '' without sound",
    "channel": "'mix', or the index of a channel; '' without sound",
    "class": "class of the protocol; NULL where no label is needed",
    "classes": "the classes, in the order of the probabilities",
    "corpus": "name that the recipe gives the corpus",
    "created_at": "when it was made: ISO 8601, UTC",
    "dialogue_id": "conversation that the turn belongs to",
    "digest": "digest of its files' bytes: what later requests cite",
    "end_a_s": "its end, in seconds from the start of the utterance",
    "end_b_s": "end of the partner",
    "end_max_s": "the same of ends: largest",
    "end_median_s": "the same of ends: median",
    "end_p90_s": "the same of ends: 90th percentile",
    "end_s": "end in seconds",
    "failed": "of these, those that it could not treat",
    "fold": "fold of the protocol",
    "folder": "where its files are",
    "hours": "hours of sound",
    "input_id": "what the row is about: an audio_id, a text_id, or pair_id of both",
    "inputs": "digests of what it was made from",
    "key": "digest of the request: known before the work",
    "kind": "what it is: 'utterances', 'features', 'checkpoint', …",
    "label": "class; NULL where there is none",
    "lake": "folder of the lake",
    "language": "BCP 47, '' if not stated",
    "level": "'nominal' of classes, 'interval' of numbers",
    "majority": "what most raters said; NULL on a tie, or where none is named",
    "mean": "mean",
    "metric": "its name: 'uar', 'accuracy', 'wf1', …",
    "missing": "of these, those not asked for yet",
    "n_a": "segments of the first aligner",
    "n_artifacts": "how many artifacts",
    "n_b": "segments of the second",
    "n_bytes": "size in bytes",
    "n_dialogues": "how many conversations",
    "n_matched": "segments with a partner",
    "n_raters": "how many raters; NULL or 0 where none is named",
    "n_ratings": "how many ratings; one who names two classes gives two",
    "n_recordings": "how many media files",
    "n_speakers": "how many speakers are told apart",
    "n_utterances": "how many utterances",
    "n_votes": "how many votes",
    "name": "what recipes call it",
    "needs": "what it reads: 'audio', 'text' or the 'pair' of both",
    "number": "the value where it is a number",
    "params": "every choice that decides the numbers, as JSON",
    "part": "'train', 'dev' or 'test'",
    "path": "file, relative to the root of the corpus",
    "piece": "key of the artifact that it was before",
    "plugin_key": "digest of the plug-in's step, version and fields",
    "plugin_key_a": "plugin_key of the first aligner",
    "plugin_key_b": "plugin_key of the second",
    "position": "order within utterance and tier, from 0",
    "position_a": "its position; NULL where the second has no partner",
    "position_b": "position of the partner; NULL where there is none",
    "predicted": "the class that was predicted",
    "predictions": "digest of the predictions that it was computed from",
    "present": "of these, those that have a row",
    "probabilities": "probability of each class",
    "probability": "the teacher's probability of that class",
    "protocol": "its id, with the options chosen",
    "rater": "'summary' for the corpus's own label, 'votes' for counts without names, else who judged",
    "reason": "why, in a sentence",
    "recipe": "its name",
    "recording_id": "SHA-256 of the media file; of the text file where there is no sound",
    "report": "key of the artifact",
    "role": "what it is to the artifact: 'raw', 'split', 'shards:lld', …",
    "scheme": "what is judged: 'emotion', 'sentiment', 'valence', …",
    "score": "log likelihood per frame, where the aligner gives one",
    "sd": "standard deviation of the raters' numbers",
    "seconds": "seconds of work, one process at a time",
    "seed": "of the fit",
    "selected_on": "the part whose loss chose the epoch; NULL in metrics of early versions",
    "session": "the corpus's own session, '' where it has none",
    "sha256": "digest of the file's bytes",
    "share": "among all of that part",
    "soft": "each class's share of the votes",
    "speaker_id": "who speaks; '' where unknown",
    "split": "the corpus's own part: 'train', 'dev', 'test' or ''",
    "start_a_s": "its start, in seconds from the start of the utterance",
    "start_b_s": "start of the partner",
    "start_max_s": "distance of the starts of partners, in seconds: largest",
    "start_median_s": "distance of the starts of partners, in seconds: median",
    "start_p90_s": "distance of the starts of partners, in seconds: 90th percentile",
    "start_s": "start in seconds",
    "state": "digest of the lake's artifacts and names",
    "step": "the file that made it: 'corpora.iemocap', 'extractors.opensmile', …",
    "summary": "the corpus's own label",
    "symbol": "what is said: a word, a phone, the phones of a syllable",
    "symbol_a": "its symbol",
    "symbol_b": "symbol of the partner",
    "text": "normalised words: what models read; may be empty",
    "text_id": "names the words",
    "tier": "'word', 'phone' or 'syllable'",
    "truth": "key of the truth",
    "turn": "order within the dialogue, from 0",
    "unit": "what was read as one: a session, a split, a film",
    "unmatched": "share of all segments without a partner",
    "utterance_id": "names the utterance",
    "value": "verbatim",
    "variant": "what the report calls the model",
    "verbatim": "the words as the corpus has them, tags and all",
    "version": "of the step; another one gives other numbers",
    "view": "name of the view",
    "wanted": "inputs that the corpus has for it",
    "why": "why it is not there, and where it is",
    "work_s": "seconds; NULL where they were not recorded",
}
"""Column -> what it says, wherever it stands."""

OWN: Mapping[tuple[str, str], str] = {
    ("agreement", "n_utterances"): "utterances with two ratings or more",
    ("artifacts", "version"): "of its step; another one gives other numbers",
    ("hours", "median_s"): "median duration of an utterance, in seconds",
    ("intervals", "end_s"): "end, in seconds from the start of the utterance",
    ("intervals", "start_s"): "start, in seconds from the start of the utterance",
    ("judges", "artifact"): "key of the predictions",
    ("means_*", "end_s"): "end of the segment, in seconds from the start of the utterance",
    ("means_*", "mean"): "mean frame: FLOAT[], from 1; NULL where the segment lies outside the frames",
    ("means_*", "start_s"): "start of the segment, in seconds from the start of the utterance",
    ("metrics", "n_utterances"): "how many were judged",
    ("metrics", "value"): "of the metric",
    ("plugins", "artifact"): "key of the artifact",
    ("class_balance", "artifact"): "key of the split",
    ("soft_labels", "mean"): "mean of the raters' numbers",
    ("utterances", "end_s"): "end in its recording, in seconds; 0 without sound",
    ("utterances", "start_s"): "start in its recording, in seconds; 0 without sound",
}
"""View and column, where the column says something else there."""

_FEATURES = (  # the columns that an extractor names
    ("_shape", "shape of the array in the column of that name"),
    ("_dtype", "dtype of the array in the column of that name: little-endian, C order"),
    ("", "output or dimension, as the extractor calls it; an array is bytes, with shape and dtype beside it"),
)


def view_sentence(view: str) -> str:
    """What the rows of a view are; '' where nobody has written it.

    Example:
        >>> view_sentence("features_lld")
        'The rows of the extractor that a recipe calls so; join by input_id.'
    """
    return next((VIEWS[name] for name in VIEWS if fnmatch.fnmatchcase(view, name)), "")


def column_sentence(view: str, column: str) -> str:
    """What a column says; '' where nobody has written it.

    Example:
        >>> column_sentence("hours", "median_s"), column_sentence("features_lld", "frames_shape")
        ('median duration of an utterance, in seconds', 'shape of the array in the column of that name')
    """
    own = next((OWN[v, c] for v, c in OWN if c == column and fnmatch.fnmatchcase(view, v)), "")
    if own or (view.startswith("features_") and column not in ("input_id", "artifact")):
        return own or next(sentence for ending, sentence in _FEATURES if column.endswith(ending))
    return COLUMNS.get(column, "")


def schema_of(warehouse: Warehouse, view: str | None = None) -> list[dict[str, Any]]:
    """Every view with its columns, types and sentences, in order of name; `form` is 'table' for what is small and
    comes from manifests and refs, 'view' for what is read from Parquet when it is asked for.

    Args:
        view: only this one.

    Raises:
        UnknownName: there is none of this name.
    """
    connection = warehouse.connect()
    columns = connection.sql("""
        SELECT table_name, column_name, data_type FROM duckdb_columns()
        WHERE NOT internal ORDER BY table_name, column_index
    """).fetchall()
    tables = {name for (name,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()}
    found: dict[str, list[dict[str, str]]] = {}
    for name, column, kind in columns:
        found.setdefault(name, []).append({"column": column, "type": kind, "says": column_sentence(name, column)})
    if view is not None and view not in found:
        raise UnknownName("view", view, found)
    return [
        {"view": name, "form": "table" if name in tables else "view", "says": view_sentence(name), "columns": own}
        for name, own in found.items()
        if view in (None, name)
    ]
