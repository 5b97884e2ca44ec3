"""What the single raters said of the utterances that a fit learns from and is chosen on: soft labels are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from flows.protocol import Protocol
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import InvalidField
from warehouse.schema import LABELS, SPLIT, VOTES
from warehouse.tables import read_table, write_table

if TYPE_CHECKING:
    from flows.line import Line

VERSION = 1
COUNTED = "votes"
"""The rater under whose name a corpus gives the number of votes for each value: scheme 'emotion/joy' and so on."""


def votes_of(line: Line, model: str, splits: Mapping[str, Artifact]) -> dict[str, str]:
    """Fold -> digest of the votes for its split; {} for a model that asks for no soft labels."""
    if not line.recipe.models[model].fit.get("soft_labels"):
        return {}
    rules, labels = line.recipe.protocol(model), line.corpora_of(model).labels
    works = [votes_work(rules, split, labels) for split in splits.values()]
    made = line.doer.step(f"votes for {model}", works)
    return dict(zip(splits, (artifact.digest for artifact in made), strict=True))


def votes_work(protocol: Protocol, split: Artifact, labels: Sequence[Artifact]) -> Work:
    """The work that writes `votes.parquet` of one fold: its train and dev part, and never its test part.

    Args:
        labels: of the corpora of the split.
    """
    rules = protocol.model_dump(include={"scheme", "rater", "labels", "voters", "votes"})
    inputs = {"split": (split.digest,), "labels": tuple(a.digest for a in labels)}
    request = Request("votes", "flows.votes", VERSION, {"rules": rules}, inputs)
    return Work(request, write_votes, {"protocol": protocol, "split": split, "labels": labels})


def write_votes(folder: Path, protocol: Protocol, split: Artifact, labels: Sequence[Artifact]) -> None:
    """Writes `votes.parquet`, ordered by utterance and class: how many raters gave an utterance each class.

    A rater who names two values of one class has one vote for it; who names two classes votes for both. What is no
    class of the protocol does not count.

    Raises:
        InvalidField: nobody voted: soft labels would be the hard ones without a word.
    """
    from warehouse.questions import closed_memory

    connection = closed_memory()
    tables = [read_table(a.path("labels.parquet"), LABELS) for a in labels]
    connection.register("labels", pa.concat_tables(tables) if tables else LABELS.empty_table())
    connection.register("split", read_table(split.path("split.parquet"), SPLIT))
    classes = protocol.votes or protocol.labels
    connection.register("named", pa.table({"value": list(classes), "class": list(classes.values())}))
    for name in ("scheme", "rater", "voters"):
        connection.execute(f"SET VARIABLE {name} = ?", [getattr(protocol, name)])
    connection.execute(f"SET VARIABLE counted = '{COUNTED}'")
    table = connection.sql("""
        WITH judged AS (
            SELECT utterance_id, value, rater AS voter, NULL AS n FROM labels
            WHERE scheme = getvariable('scheme') AND rater <> getvariable('rater') AND rater GLOB getvariable('voters')
            UNION ALL
            SELECT utterance_id, substr(scheme, length(getvariable('scheme')) + 2), NULL, number FROM labels
            WHERE rater = getvariable('counted') AND starts_with(scheme, getvariable('scheme') || '/')
        ),
        heard AS (SELECT DISTINCT utterance_id FROM split WHERE part IN ('train', 'dev'))
        SELECT utterance_id, class AS label, (count(DISTINCT voter) + coalesce(sum(n), 0))::BIGINT AS n_votes
        FROM judged JOIN named USING (value) JOIN heard USING (utterance_id)
        GROUP BY ALL HAVING n_votes > 0 ORDER BY ALL
    """).to_arrow_table()
    if not table.num_rows:
        problem = f"is '{protocol.voters}', but no such rater gave any utterance that is learned from a class: fit "
        raise InvalidField(f"protocol '{protocol.id}'", "voters", problem + "without soft_labels")
    write_table(folder / "votes.parquet", table, VOTES)
