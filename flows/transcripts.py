"""How far what a recogniser heard is from what the corpora say was spoken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jiwer

from features.plugin import normalised_words
from warehouse import Warehouse
from warehouse.errors import UnknownName

COLUMNS = ("corpus", "utterances", "words", "wer", "cer")


def error_rates(spoken: Sequence[str], heard: Sequence[str]) -> dict[str, Any]:
    """Words spoken, and the error rates over all texts together.

    Both sides are compared as `normalised_words`. A text without words is left out, for its rate would have no
    denominator; without any text with words, rates are None.

    Args:
        spoken, heard: of the same utterances.

    Returns:
        'utterances' and 'words' that were compared; 'wer' and 'cer': insertions, deletions and substitutions of words
        and of characters, spaces included, over those spoken.

    Example:
        >>> error_rates(["You're late.", "[sighs]"], ["you were late", ""])
        {'utterances': 2, 'words': 3, 'wer': 1.0, 'cer': 0.5}
    """
    pairs = [(" ".join(normalised_words(a)), " ".join(normalised_words(b))) for a, b in zip(spoken, heard, strict=True)]
    pairs = [pair for pair in pairs if pair[0]]
    found: dict[str, Any] = {
        "utterances": len(pairs), "words": sum(len(said.split()) for said, _ in pairs), "wer": None, "cer": None,
    }  # fmt: skip
    if pairs:
        references, hypotheses = map(list, zip(*pairs, strict=True))
        found["wer"], found["cer"] = jiwer.wer(references, hypotheses), jiwer.cer(references, hypotheses)
    return found


def transcript_rates(warehouse: Warehouse, feature: str) -> list[dict[str, Any]]:
    """One row per corpus that has transcripts of this feature, in order of name.

    Corpora told again with other words, or with others' voices, are left out, and so is their sound where an extractor
    that only hears made it anew: nobody said these words there.

    Raises:
        UnknownName: no feature of this name has transcripts.
    """
    known = [name for name in warehouse.refs("features") if _is_transcript(warehouse, name)]
    if feature not in known:
        raise UnknownName("transcript", feature, known)
    rows = warehouse.table(f"""
        SELECT corpus, list(text ORDER BY utterance_id) AS spoken, list(heard ORDER BY utterance_id) AS heard
        FROM (
            SELECT corpus, utterance_id, utterances.text, decode(own.text) AS heard
            FROM utterances JOIN "features_{feature}" AS own ON own.input_id = audio_id
        ) GROUP BY corpus ORDER BY corpus
    """).to_pylist()
    refs = warehouse.refs("corpora")
    return [
        {"corpus": row["corpus"]} | error_rates(row["spoken"], row["heard"])
        for row in rows
        if says_its_words(refs, row["corpus"])
    ]


def says_its_words(refs: Mapping[str, Mapping[str, Any]], corpus: str) -> bool:
    """Whether a corpus' words are those that were spoken in its sound, or that its sound was made of."""
    told = refs[corpus].get("told")
    if told == "sound" and refs[corpus].get("needs") == "audio":
        return says_its_words(refs, refs[corpus]["source"])
    return told in (None, "sound")


def _is_transcript(warehouse: Warehouse, feature: str) -> bool:
    columns = warehouse.table("SELECT table_name, column_name FROM duckdb_columns()").to_pylist()
    return {"table_name": f"features_{feature}", "column_name": "text_shape"} in columns
