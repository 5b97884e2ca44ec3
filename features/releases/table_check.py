"""The check of a table of clips: nobody published its counts, so they are told; rows that cannot be read are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from features.check import Anomaly, Findings, counted
from features.plugin import Rows
from features.releases.walk import misnamed_files
from warehouse.errors import EmolakeError

ANOMALIES: Mapping[str, str] = {
    "malformed_table": "the table is not there, or cannot be read as the fields say",
    "untreatable_row": "a row's file is missing or holds no sound, or its span does not lie in it",
    "misnamed_file": "a file or folder whose name is not UTF-8: no table can name it",
    "no_speaker": "rows without a speaker, where there is a column for it: no protocol can keep speakers apart",
    "no_label": "rows without a label, where there is a column for it",
    "no_text": "rows without words, where there is a column for them",
}


def check(root: Path, read: Callable[[], Rows], named: Mapping[str, str], expected: Mapping[str, int]) -> Findings:
    """Counts and anomalies of one table.

    Args:
        read: reads it.
        named: what rows have ('speaker', 'label', 'text') -> its column, '' where the table has none.
    """
    unnameable = list(misnamed_files(root))
    try:
        rows = read()
    except EmolakeError as error:
        return Findings(counted({}, expected), [Anomaly("malformed_table", "the table", str(error)), *unnameable])
    found = Counter({
        "utterances": len(rows.utterances), "rows that cannot be treated": len(rows.failures),
        "recordings": len({row["path"] for row in rows.utterances}),
        "speakers": len({row["speaker_id"] for row in rows.utterances} - {""}),
        "minutes": round(sum(row["end_s"] - row["start_s"] for row in rows.utterances) / 60),
    })  # fmt: skip
    found.update(f"label '{row['value']}'" for row in rows.labels)
    anomalies = [Anomaly("untreatable_row", row["utterance_id"], row["reason"]) for row in rows.failures]
    return Findings(counted(found, expected), [*anomalies, *unnameable, *_lacking(rows, named)])


def _lacking(rows: Rows, named: Mapping[str, str]) -> Iterator[Anomaly]:
    labelled = {row["utterance_id"] for row in rows.labels}
    without = {
        "speaker": [row["utterance_id"] for row in rows.utterances if not row["speaker_id"]],
        "label": [row["utterance_id"] for row in rows.utterances if row["utterance_id"] not in labelled],
        "text": [row["utterance_id"] for row in rows.utterances if not row["text"]],
    }
    for what, ids in without.items():
        if named[what] and ids:
            problem = f"{len(ids)} of {len(rows.utterances)} utterances have no {what}"
            yield Anomaly(f"no_{what}", f"column '{named[what]}', first: {ids[0]}", problem, known=True)
