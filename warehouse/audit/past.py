"""A lake as it was: the artifacts that had been made by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from warehouse.artifact import Artifact
from warehouse.audit.errors import NotATime, NotYetMade
from warehouse.errors import ArtifactNotFound
from warehouse.merged import is_merged, pieces
from warehouse.store import Warehouse


class Past(Warehouse):
    """A lake that holds only what was made until then, for lineage; its views are those of now.

    What was taken away since is not there either: nobody keeps it. Names are those of now, because where a name pointed
    then is written nowhere; one that points at something later is refused, and the key of an artifact is not.

    Args:
        until: the last moment that counts.
    """

    def __init__(self, warehouse: Warehouse, until: datetime) -> None:
        super().__init__(warehouse.root)
        self.until = until

    def artifacts(self, kind: str | None = None) -> list[Artifact]:
        """Those made until then, oldest first; of what was merged since, what it was merged from."""
        found = super().artifacts(kind)
        then = {a.key: a for a in found if self._was_there(a)}
        later = (p for a in found if a.key not in then and is_merged(a) for p in pieces(a))
        then |= {p.key: p for p in later if p.key not in then and self._was_there(p)}
        return sorted(then.values(), key=lambda a: (a.created_at, a.key))

    def with_digest(self, digest: str) -> list[Artifact]:
        """As that of a lake."""
        return [a for a in super().with_digest(digest) if self._was_there(a)]

    def by_digest(self, kind: str) -> dict[str, Artifact]:
        """As that of a lake."""
        return {a.digest: a for a in sorted(self.artifacts(kind), key=lambda artifact: artifact.key, reverse=True)}

    def resolve(self, reference: str) -> Artifact:
        """As that of a lake.

        Raises:
            ArtifactNotFound, AmbiguousReference.
            NotYetMade: there is such an artifact now, and was none then.
        """
        found = super().resolve(reference)
        if self._was_there(found):
            return found
        others = [f"{a.key[:12]} of {a.created_at[:16]}" for a in self.artifacts(found.request.kind)]
        until = self.until.isoformat(timespec="minutes")
        raise NotYetMade(reference, until, found.created_at[:16], others[-3:])

    def _was_there(self, artifact: Artifact) -> bool:
        return datetime.fromisoformat(artifact.created_at) <= self.until


def as_of(warehouse: Warehouse, when: str) -> Past:
    """A lake as it was at a moment or, where `when` is an artifact, when that was made.

    Args:
        when: '2026-05-01' (its end), '2026-05-01T12:00' (UTC unless it says otherwise), a key, or a name; of
            'reports/demo@3f2a81' the key counts.

    Raises:
        NotATime: it is neither.
        AmbiguousReference: it begins several keys.
    """
    until = moment_of(when)
    if until is None:
        try:
            until = datetime.fromisoformat(warehouse.resolve(when.rpartition("@")[2]).created_at)
        except ArtifactNotFound:
            raise NotATime(when) from None
    return Past(warehouse, until)


def moment_of(when: str) -> datetime | None:
    """The last moment that a day or a time means, in UTC unless it says otherwise; None for what is neither.

    Example:
        >>> moment_of("2026-05-01").isoformat(timespec="seconds"), moment_of("reports/demo")
        ('2026-05-01T23:59:59+00:00', None)
    """
    try:
        moment = datetime.fromisoformat(when)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    is_day = len(when) == len("2026-05-01")
    return moment + (timedelta(days=1, microseconds=-1) if is_day else timedelta())
