"""How fast a fit goes, and how long it still takes: what a person who waits wants to know."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping

import pyarrow.parquet as pq

from models.orders import shard_roles
from models.stream import RATE_HZ, Stream
from warehouse import Request, Warehouse


def seconds_of(warehouse: Warehouse, request: Request) -> dict[str, float]:
    """utterance id -> seconds of sound, of all utterances from which the shards of a request were made, whatever they
    hold; {} where the lake does not know, or there is no sound."""
    made = {artifact.digest: artifact for artifact in warehouse.artifacts()}
    wanted = {digest for digests in shard_roles(request).values() for digest in digests}
    seen: set[str] = set()
    seconds: dict[str, float] = {}
    while wanted:
        seen |= wanted
        found = [made[digest] for digest in sorted(wanted) if digest in made]
        wanted = set()
        for artifact in found:
            if artifact.request.kind == "utterances":
                with pq.ParquetFile(artifact.path("utterances.parquet")) as file:  # as in `warehouse.tables`
                    table = file.read(columns=["utterance_id", "start_s", "end_s"])
                spans = zip(*(column.to_pylist() for column in table.columns), strict=True)
                seconds |= {utterance_id: end_s - start_s for utterance_id, start_s, end_s in spans if end_s > start_s}
            else:
                wanted |= {digest for digests in artifact.request.inputs.values() for digest in digests} - seen
    return seconds


class Pace:
    """How much is worked through in a second: seconds of audio, or steps of the first role where nobody knows how
    long the utterances of a stream are.

    Args:
        seconds: of utterances, as `seconds_of` finds them; needed where the first role is no sound.
    """

    def __init__(self, stream: Stream, seconds: Mapping[str, float]) -> None:
        first = stream.fields[0]
        steps = {utterance_id: float(stream.n_steps([[utterance_id]])) for utterance_id in stream.ids}
        if first.is_wave:
            self._amount, self.unit = {u: n / RATE_HZ for u, n in steps.items()}, "s of audio"
        elif seconds.keys() >= set(stream.ids):
            self._amount, self.unit = {u: seconds[u] for u in stream.ids}, "s of audio"
        else:
            self._amount, self.unit = steps, f"steps of '{first.role}'"

    def amount(self, groups: Iterable[Collection[str]]) -> float:
        """Of some groups of utterance ids, padding not counted."""
        return sum(self._amount[utterance_id] for group in groups for utterance_id in group)

    def told(self, groups: Iterable[Collection[str]], lasted_s: float) -> str:
        """How fast some groups were worked through, for the reader."""
        return f"{self.amount(groups) / max(lasted_s, 1e-9):.3g} {self.unit} per second"


class Remaining:
    """How long the rest takes, by what was done since this was made.

    Args:
        done: epochs that are done.
        total: that there are at most.
    """

    def __init__(self, done: float, total: int) -> None:
        self._done, self._total, self._began_s = done, total, time.monotonic()

    def told(self, done: float) -> str:
        """The time that is left when so many epochs are done, with a comma before it; '' when all are."""
        if not self._done < done < self._total:
            return ""
        per_epoch_s = (time.monotonic() - self._began_s) / (done - self._done)
        return f", at most {duration((self._total - done) * per_epoch_s)} left"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> [duration(s) for s in (0.2, 59.4, 90, 5400, 200_000)]
        ['0 s', '59 s', '2 min', '1.5 h', '55.6 h']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
