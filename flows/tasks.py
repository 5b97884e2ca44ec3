"""One Prefect task is one call: a work goes in, an artifact of a few hundred bytes comes out."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.doer import Unmade
from flows.show import Noter
from flows.workers import Workers
from warehouse.artifact import Artifact, Work


@task(name="answer", cache_policy=NO_CACHE, persist_result=False)
def answer(workers: Workers, works: Sequence[Work], note: Noter) -> list[Artifact | Unmade]:
    """Answers one batch of works. Prefect's own cache is off: the warehouse is the only memory."""
    artifacts = workers.answer(works, note)
    note(1, 1, "")
    return artifacts
