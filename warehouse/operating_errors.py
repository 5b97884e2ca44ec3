"""The mistakes of operating a lake: on a schedule, on a cluster, on an object store. One class each, as in
`warehouse.errors`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from warehouse.errors import EmolakeError, NotALake


class NoLakeYet(NotALake):
    """Nothing there says that it is one: a run may begin one there."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root, "it has no lake.json")


class NoSuchPlace(NotALake):
    """Nothing can be put there, so no run may begin one."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, f"the store has no such place: {why}", "make the bucket first, or name another URL")


class MissingExtra(EmolakeError):
    def __init__(self, asked: str, package: str, extra: str) -> None:
        super().__init__(
            f"{asked} needs the package '{package}', which is not installed: pip install 'emolake[{extra}]'"
        )


class ClusterNotReached(EmolakeError):
    def __init__(self, runner: str, address: str, why: str) -> None:
        super().__init__(
            f"no {runner} cluster answers at '{address}' ({why}): start one there, or leave EMOLAKE_CLUSTER out to "
            "have workers of this machine"
        )


class ServerNotReached(EmolakeError):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"a worker does not reach Prefect's server ({why}): start one that all hosts reach, "
            "`prefect server start --host 0.0.0.0`, and name it with PREFECT_API_URL"
        )


class WorkersLost(EmolakeError):
    def __init__(self, step: str, n_works: int, n_tries: int, runner: str) -> None:
        super().__init__(
            f"the processes that did {n_works} works of '{step}' were lost {n_tries} times (EMOLAKE_RUNNER "
            f"'{runner}'): see what ended them, such as memory that ran out; the same command goes on "
            "with what is missing"
        )


class UnknownRun(EmolakeError):
    def __init__(self, asked: str, known: Sequence[str]) -> None:
        there = ", ".join(known[-5:]) or "none: `emolake run` makes one"
        super().__init__(f"no run, or more than one, is called '{asked}': give a recipe or one of these ({there})")


class NothingScheduled(EmolakeError):
    def __init__(self, recipe: str) -> None:
        super().__init__(
            f"the recipe '{recipe}' does not say when it runs: give it a section [schedule], such as "
            "build = \"0 2 * * *\" (README, 'Operate')"
        )


class AlreadyServed(EmolakeError):
    def __init__(self, lake: Path, url: str) -> None:
        super().__init__(
            f"the lake {lake} is served already ({url or 'it is just starting'}): `emolake status` says what it runs; "
            "end that one first to serve other recipes"
        )


class OtherBytes(EmolakeError):
    def __init__(self, url: str, name: str, key: str) -> None:
        super().__init__(
            f"the store {url} has other bytes of '{name}' than the manifest of {key} says: run `emolake verify --deep` "
            "to see what else is damaged, then delete that artifact's folder on the store and its copy here; the next "
            "run makes again what it needs"
        )


class FileLost(EmolakeError):
    def __init__(self, url: str, name: str, key: str) -> None:
        super().__init__(
            f"the file '{name}' of {key} is not on the store {url}, though its manifest names it: run `emolake verify` "
            "to see what else is missing, then delete that artifact's folder on the store and its copy here; the next "
            "run makes again what it needs"
        )


class OtherLake(EmolakeError):
    def __init__(self, root: Path, url: str) -> None:
        super().__init__(
            f"{url} is no longer the lake that {root} is a copy of (it was made anew, or something was taken out of "
            "it): delete that folder, and give the same command again"
        )


class BeingTaken(EmolakeError):
    def __init__(self, url: str, who: str) -> None:
        super().__init__(
            f"{who} is taking something away from the lake {url}, and nothing is begun there meanwhile: wait for it. "
            "If it was killed, `emolake gc`, or of a purge `emolake purge --resume`, on its host ends what it began; "
            f"if that host is gone for good, delete .working/{who} on the store, and then any host's does"
        )


class StoreAtWork(EmolakeError):
    def __init__(self, url: str, names: Sequence[str]) -> None:
        super().__init__(
            f"somebody works in the lake {url} ({', '.join(names[:3])} in .working), and what is read or written there "
            "must not go meanwhile: wait for it, or end it. What a host left that is gone for good, delete there"
        )


class TakenMeanwhile(EmolakeError):
    def __init__(self, url: str) -> None:
        super().__init__(
            f"something was taken away from the lake {url} since this command began, on which its work may rest: "
            "nothing of that work was kept; give the same command again"
        )


class NoLakeUrl(EmolakeError):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"'{text}' is neither a folder nor the URL of a lake: write one like s3://bucket/lake, in lower case up to "
            "the colon and with nothing before it"
        )


class StoreFails(EmolakeError):
    def __init__(self, url: str, what: str, n_attempts: int, why: str) -> None:
        super().__init__(
            f"the store {url} did not {what} in {n_attempts} attempts (last: {why}): nothing half-written counts; "
            "check that it answers and who may write there, then give the same command again"
        )


class StateNotSeen(EmolakeError):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            f"not every process of the fit finds the state '{name}' in {folder}, from which the first one goes on: let "
            "all of them have that folder on one disk, and give the same command again"
        )


class NoWorkPool(EmolakeError):
    def __init__(self, pool: str, url: str) -> None:
        super().__init__(
            f"the Prefect server {url} has no work pool '{pool}': set PREFECT_API_URL to the server that its workers "
            f"ask, or make it there with `prefect work-pool create {pool} --type process` and start a worker of it"
        )


class ServerLost(EmolakeError):
    def __init__(self, why: str, home: Path) -> None:
        super().__init__(
            f"Prefect's server does not answer ({why}): what was finished is kept, and the same command goes "
            f"on there. The words of the server are in {home}/server.log, unless PREFECT_API_URL names another"
        )


class ServerRefuses(EmolakeError):
    def __init__(self, url: str, code: int) -> None:
        super().__init__(
            f"the Prefect server {url} answers, but not to you ({code}): set PREFECT_API_KEY or "
            "PREFECT_API_AUTH_STRING as it was set for that server"
        )
