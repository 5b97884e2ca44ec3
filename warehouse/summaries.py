"""The views that answer what is asked most: who agrees, what is balanced, what is covered, what it cost.

extractors, reports, works         what recipes call extractors and reports; the seconds of work of every artifact
soft_labels                        every labelled utterance: the corpus's own label, the majority's, each class's share
agreement                          Krippendorff's alpha of the raters, by corpus and scheme
class_balance                      utterances of each class in each part of each fold
hours                              utterances, speakers and hours of sound by corpus
coverage                           rows wanted, present and failed, by extractor and corpus
costs                              seconds of work, by recipe, kind and step, of all that its last report was made from
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from warehouse import agreement

if TYPE_CHECKING:
    from warehouse.store import Warehouse


def tables(warehouse: Warehouse) -> dict[str, pa.Table]:
    """What refs call extractors and reports, by name of the table."""
    extractors = [
        {"name": name, "plugin_key": ref["plugin_key"], "needs": ref.get("needs")}
        for name, ref in warehouse.refs("features").items()
    ]
    reports = [{"recipe": name, "report": ref.get("artifact")} for name, ref in warehouse.refs("reports").items()]
    return {
        "extractors": _table(extractors, "name", "plugin_key", "needs"),
        "reports": _table(reports, "recipe", "report"),
    }


def _table(rows: Sequence[Mapping[str, Any]], *columns: str) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=pa.schema([(column, pa.string()) for column in columns]))


def create(connection: duckdb.DuckDBPyConnection, names: Callable[[str], bool] = lambda name: True) -> None:
    """Creates the views over `utterances`, `labels`, `splits`, `truths`, `features`, `failures`, `artifacts`, `inputs`,
    `merged`, `plugins`, `works` and the tables above.

    Args:
        names: which of them are wanted.
    """
    if names("agreement"):
        agreement.register(connection)
    for name, query in VIEWS.items():
        if names(name):
            connection.execute(f"CREATE VIEW {name} AS {query}")


_JUDGED = """
    SELECT utterance_id, scheme, value AS class, rater, 1 AS n FROM labels
    WHERE rater NOT IN ('summary', 'votes') AND number IS NULL
    UNION ALL
    SELECT utterance_id, scheme[:strpos(scheme, '/') - 1], scheme[strpos(scheme, '/') + 1:], NULL, number FROM labels
    WHERE rater = 'votes' AND contains(scheme, '/') AND number > 0
"""
"""Who gave which class: a rater, or, where a corpus tells only how many did, nobody by name."""

# Floats are summed in order, for what threads add up in any order differs in the last digit from one time to the next.
VIEWS: Mapping[str, str] = {
    "soft_labels": f"""
        WITH judged AS ({_JUDGED}),
        voted AS (
            SELECT utterance_id, scheme, class,
                   coalesce(count(DISTINCT rater) + sum(n) FILTER (rater IS NULL), count(DISTINCT rater)) AS n
            FROM judged GROUP BY ALL
        ),
        counted AS (
            SELECT utterance_id, scheme, sum(n) AS n_votes, max(n) AS most, arg_max(class, n) AS first,
                   list(class ORDER BY class) AS classes, list(n ORDER BY class) AS each
            FROM voted GROUP BY ALL
        ),
        told AS (
            SELECT utterance_id, scheme, min(value) FILTER (rater = 'summary') AS summary,
                   count(DISTINCT rater) FILTER (rater NOT IN ('summary', 'votes')) AS n_raters,
                   avg(number) FILTER (rater NOT IN ('summary', 'votes')) AS mean,
                   stddev_samp(number) FILTER (rater NOT IN ('summary', 'votes')) AS sd
            FROM labels WHERE rater <> 'votes' OR NOT contains(scheme, '/') GROUP BY ALL
        )
        SELECT utterance_id, corpus, speaker_id, text, scheme, summary,
               CASE WHEN len(list_filter(each, lambda n: n = most)) = 1 THEN first END AS majority,
               n_raters, n_votes::BIGINT AS n_votes,
               map(classes, list_transform(each, lambda n: n / n_votes)) AS soft, mean, sd
        FROM utterances JOIN (told FULL JOIN counted USING (utterance_id, scheme)) USING (utterance_id)
    """,
    "agreement": f"""
        WITH judged AS ({_JUDGED}),
        rated AS (
            SELECT utterance_id, scheme, 'nominal' AS level, class AS rating, NULL AS number, rater, n FROM judged
            UNION ALL
            SELECT utterance_id, scheme, 'interval', NULL, number, rater, 1 FROM labels
            WHERE rater NOT IN ('summary', 'votes') AND number IS NOT NULL
        ),
        of_corpus AS (SELECT corpus, rated.* FROM rated JOIN utterances USING (utterance_id)),
        raters AS (
            SELECT corpus, scheme, level, nullif(count(DISTINCT rater), 0) AS n_raters FROM of_corpus GROUP BY ALL
        ),
        counted AS (
            SELECT corpus, scheme, level, utterance_id, rating, number, sum(n)::BIGINT AS n,
                   sum(sum(n)) OVER (PARTITION BY corpus, scheme, level, utterance_id) AS of_utterance
            FROM of_corpus GROUP BY corpus, scheme, level, utterance_id, rating, number
        ),
        numbered AS (
            SELECT corpus, scheme, level, n, of_utterance, utterance_id,
                   dense_rank() OVER (PARTITION BY corpus, scheme, level ORDER BY utterance_id) - 1 AS unit,
                   coalesce(number, dense_rank() OVER (PARTITION BY corpus, scheme, level ORDER BY rating)) AS code
            FROM counted
        )
        SELECT corpus, scheme, level, n_raters,
               count(DISTINCT utterance_id) FILTER (of_utterance > 1) AS n_utterances,
               sum(n)::BIGINT AS n_ratings,
               krippendorff_alpha(list(unit), list(code), list(n), level) AS alpha
        FROM numbered JOIN raters USING (corpus, scheme, level) GROUP BY corpus, scheme, level, n_raters
    """,
    "class_balance": """
        WITH newest AS (
            SELECT inputs.digest, arg_max(key, (created_at, key)) AS truth
            FROM inputs JOIN artifacts USING (key) WHERE kind = 'truth' AND role = 'split' GROUP BY inputs.digest
        ),
        judged AS (
            SELECT newest.digest, utterance_id, part, label AS known FROM newest JOIN truths ON artifact = truth
        ),
        labelled AS (
            SELECT artifacts.key, artifacts.digest, created_at, params ->> '$.protocol' AS protocol,
                   params ->> '$.fold' AS fold, splits.utterance_id, splits.part, label
            FROM splits JOIN artifacts ON splits.artifact = artifacts.key
        )
        SELECT protocol, fold, part, coalesce(label, known) AS class, count(*) AS n_utterances,
               count(*) / sum(count(*)) OVER (PARTITION BY key, part) AS share, key AS artifact, created_at
        FROM labelled LEFT JOIN judged USING (digest, utterance_id, part)
        GROUP BY key, created_at, protocol, fold, part, class
    """,
    "hours": """
        SELECT corpus, count(*) AS n_utterances, count(DISTINCT nullif(speaker_id, '')) AS n_speakers,
               count(DISTINCT dialogue_id) AS n_dialogues, count(DISTINCT recording_id) AS n_recordings,
               fsum(end_s - start_s ORDER BY end_s - start_s) / 3600 AS hours, median(end_s - start_s) AS median_s
        FROM utterances GROUP BY corpus
    """,
    "coverage": """
        WITH asked AS (
            SELECT corpus, 'audio' AS needs, audio_id AS input_id FROM utterances WHERE audio_id <> ''
            UNION SELECT corpus, 'text', text_id FROM utterances
            UNION SELECT corpus, 'pair', pair_id(audio_id, text_id) FROM utterances
                  WHERE audio_id <> '' AND 'pair' IN (SELECT needs FROM extractors)
        ),
        answered AS (SELECT DISTINCT plugin_key, input_id, true AS is_present FROM features),
        refused AS (
            SELECT DISTINCT plugin_key, input_id, true AS has_failed FROM failures JOIN plugins USING (artifact)
        )
        SELECT name, plugin_key, corpus, count(*) AS wanted, count(is_present) AS present,
               count(*) FILTER (has_failed AND is_present IS NULL) AS failed, wanted - present - failed AS missing
        FROM extractors JOIN asked USING (needs) LEFT JOIN answered USING (plugin_key, input_id)
        LEFT JOIN refused USING (plugin_key, input_id)
        GROUP BY name, plugin_key, corpus
    """,
    "costs": """
        WITH RECURSIVE pieces AS (
            SELECT DISTINCT ON (piece) piece AS key, merged.digest, kind, plugins.step, merged.work_s, merged.n_bytes,
                                       merged.inputs
            FROM merged JOIN artifacts ON key = artifact JOIN plugins USING (artifact)
            WHERE piece NOT IN (SELECT key FROM artifacts)
        ),
        every AS (
            SELECT key, digest, kind, step, work_s, n_bytes FROM artifacts JOIN works USING (key)
            UNION ALL SELECT * EXCLUDE (inputs) FROM pieces
        ),
        cited AS (SELECT key, digest FROM inputs UNION ALL SELECT key, unnest(inputs) FROM pieces),
        made AS (SELECT digest, min(key) AS key FROM every GROUP BY digest),
        used AS (
            SELECT recipe, key FROM reports JOIN every ON report IN (key, digest)
            UNION
            SELECT recipe, made.key FROM used JOIN cited USING (key) JOIN made ON made.digest = cited.digest
        )
        SELECT recipe, kind, step, count(*) AS n_artifacts, fsum(work_s ORDER BY work_s) AS seconds,
               sum(n_bytes)::BIGINT AS n_bytes
        FROM used JOIN every USING (key) GROUP BY ALL
    """,
}
