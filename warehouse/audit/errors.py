"""The mistakes of whoever audits a lake, one class each, as in `warehouse.errors`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from warehouse.errors import EmolakeError, _did_you_mean


class NothingAsOf(EmolakeError):
    def __init__(self, corpus: str, when: str) -> None:
        super().__init__(
            f"the lake holds no reading of corpus '{corpus}' as of '{when}': give a day (2026-05-01), a moment "
            "(2026-05-01T12:00+00:00), or a report that used the corpus"
        )


class NothingToCompare(EmolakeError):
    def __init__(self, before: str, before_tables: Sequence[str], after: str, after_tables: Sequence[str]) -> None:
        def held(tables: Sequence[str]) -> str:
            return ", ".join(sorted(tables)) or "no table"

        super().__init__(
            f"'{before}' holds {held(before_tables)} and '{after}' holds {held(after_tables)}: "
            "name two of which both hold the same table"
        )


class NotPacked(EmolakeError):
    def __init__(self, recipe: str, step: str) -> None:
        super().__init__(
            f"recipe '{recipe}' is not packed: '{step}' is not done, and only shards that exist can be shared; "
            f"run `emolake pack {recipe}` first"
        )


class DamagedFile(EmolakeError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} has other bytes than when it was made: `emolake verify` says what can be repaired")


class BadBundle(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is no bundle that can be read ({why}): `emolake share` writes them")


class ShardsThere(EmolakeError):
    def __init__(self, root: Path) -> None:
        super().__init__(
            f"the lake {root} holds other work, so finding shards there would prove nothing: "
            "name an empty folder with --lake"
        )


class OtherRawFiles(EmolakeError):
    def __init__(self, corpus: str, missing: Sequence[str], extra: Sequence[str], other: Sequence[str]) -> None:
        lists = (("are missing", missing), ("are not in the bundle's", extra), ("have other bytes", other))
        told = [f"{len(paths)} files {what} ({', '.join(paths[:3])}{', …' * (len(paths) > 3)})" for what, paths in lists
                if paths]  # fmt: skip
        super().__init__(
            f"this copy of corpus '{corpus}' is not the one that the bundle was made from: {'; '.join(told)}; "
            "its shards can only come from the same files"
        )


class NothingToPurge(EmolakeError):
    def __init__(self, what: str, value: str, known: Sequence[str], purge: str) -> None:
        done = f": purge {purge} withdrew it" if purge else _did_you_mean(value, known)
        forms = {"speaker": " (CORPUS/SPEAKER)", "recording": " (SHA-256 of the file)"}
        super().__init__(
            f"no reading of the lake holds {what} '{value}'{forms.get(what, '')}{done}; it holds {len(known)} of them: "
            "ask `emolake sql` for `utterances`"
        )


class NothingNamed(EmolakeError):
    def __init__(self) -> None:
        super().__init__("nobody and nothing is named: give --speaker, --recording, --utterance or --where")


class NoPredicate(EmolakeError):
    def __init__(self, predicate: str, why: str) -> None:
        super().__init__(
            f"'{predicate}' is no condition on a row of `utterances` ({why}): write one as after WHERE, such as "
            "\"corpus = 'meld' AND split = 'test'\""
        )


class ToldAgain(EmolakeError):
    def __init__(self, utterance: str, source: str) -> None:
        super().__init__(
            f"'{utterance}' is told from '{source}', which would stay, so the next run would tell it again: name the "
            "source, or let no recipe tell it"
        )


class NothingFallsUnder(EmolakeError):
    def __init__(self, predicate: str, n_utterances: int) -> None:
        super().__init__(
            f"none of the {n_utterances} utterances of the corpora as last ingested falls under '{predicate}': "
            "try it in `emolake sql` first"
        )


class UnfinishedPurge(EmolakeError):
    def __init__(self, purge: str) -> None:
        super().__init__(
            f"purge {purge} of this lake is not done: `emolake purge --resume` completes it, and until then nothing is "
            "made here"
        )


class LakeAtWork(EmolakeError):
    def __init__(self, folders: Sequence[str]) -> None:
        super().__init__(
            f"something is being made in this lake ({', '.join(folders[:3])} in .scratch), and what it reads or writes "
            "must not go meanwhile: wait for it, or end it"
        )


class LakeServed(EmolakeError):
    def __init__(self, lake: Path) -> None:
        super().__init__(
            f"`emolake serve` runs for the lake {lake}, and what its server remembers, which may name what goes, must "
            "not go from under it: end it, do this again, and serve the lake again"
        )


class StillThere(EmolakeError):
    def __init__(self, purge: str, places: Sequence[str]) -> None:
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        super().__init__(
            f"purge {purge} is not done: what it withdraws is still in {', '.join(places[:5])}{more}; remove these "
            "yourself where no step of Emolake wrote them, then `emolake purge --resume`"
        )


class FoundAgain(EmolakeError):
    def __init__(self, purge: str, places: Sequence[str]) -> None:
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        super().__init__(
            f"what purge {purge} withdrew is in the lake again: in {', '.join(places[:5])}{more}; something brought it "
            "back, such as a backup: purge it again"
        )


class DamagedBefore(EmolakeError):
    def __init__(self, places: Sequence[str]) -> None:
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        super().__init__(
            f"nothing is purged while {', '.join(places[:5])}{more} is damaged, for a rewriting would hide it: "
            "`emolake verify --repair` first, and delete what it cannot repair"
        )


class DamagedSource(EmolakeError):
    def __init__(self, places: Sequence[str]) -> None:
        more = f" and {len(places) - 5} more" if len(places) > 5 else ""
        super().__init__(
            f"nothing is merged while {', '.join(places[:5])}{more} is damaged or gone, for what a merge writes would "
            "pass for sound: `emolake verify --repair` first, then merge again"
        )


class UnreadableReceipt(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is no receipt of a purge ({why}): name a file of the lake's folder receipts/")


class ReceiptForged(EmolakeError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the signature of {path} is not that of what it says: it was changed after it was signed, so do not trust "
            "it; the refs `tombstones` of the lake say what was withdrawn"
        )


class UnusableKey(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"the signing key {path} cannot be used ({why}): set EMOLAKE_SIGNING_KEY to an Ed25519 private key in PEM "
            "form, or to where one may be made"
        )


class UnknownSubject(EmolakeError):
    def __init__(self, reference: str) -> None:
        super().__init__(
            f"no artifact has the key, digest or name '{reference}', and no utterance or raw file of any reading is "
            "called so: give an artifact (`emolake ls` lists them), ARTIFACT#ROW, an utterance id, or the path or "
            "sha256 of a raw file"
        )


class NoSuchRow(EmolakeError):
    def __init__(self, artifact: str, row: str) -> None:
        super().__init__(
            f"'{artifact}' has no row about '{row}': give the id of an utterance or of an input that it has, as its "
            "Parquet files list them"
        )


class NoSuchNumber(EmolakeError):
    def __init__(self, artifact: str, wanted: str, known: Sequence[str]) -> None:
        some = ", ".join(known[:6]) + (f", and {len(known) - 6} more" if len(known) > 6 else "")
        super().__init__(
            f"'{artifact}' has no number '{wanted}': write MODEL/FOLD/SEED/METRIC, of which fold and seed may be left "
            f"out (there are: {some or 'none'})"
        )


class NothingLicensed(EmolakeError):
    def __init__(self, name: str, corpora: Iterable[str], reports: Iterable[str]) -> None:
        super().__init__(
            f"'{name}' names nothing whose licence could be told: give RECIPE:MODEL, a corpus of this lake "
            f"({', '.join(sorted(corpora)) or 'none'}), a report ({', '.join(sorted(reports)) or 'none'}), a recipe, "
            "or the key of an artifact"
        )


class UseForbidden(EmolakeError):
    def __init__(
        self, subject: str, purpose: str, is_a: str, source: str, licence: str, term: str, path: Sequence[str],
        n_more: int,
    ) -> None:  # fmt: skip
        more = f"; {n_more} more sources forbid it too" if n_more > 1 else "; one more source forbids it too" * n_more
        super().__init__(
            f"'{subject}' cannot be exported for {purpose} use: {is_a} '{source}' is {term} ({licence}), and reaches "
            f"it by {' → '.join(path)}{more}: `emolake licence {subject}` lists all that hold"
        )


class TermsUnknown(EmolakeError):
    def __init__(
        self, subject: str, purpose: str, is_a: str, source: str, licence: str, path: Sequence[str], file: Path,
        entry: str,
    ) -> None:  # fmt: skip
        super().__init__(
            f"'{subject}' cannot be exported for {purpose} use: not all terms of {is_a} '{source}' are known "
            f"({licence}), and it reaches it by {' → '.join(path)}: where you know them, write into {file} "
            f'[{entry}] licence = "…", terms = […], source = "…"'
        )


class NotATime(EmolakeError):
    def __init__(self, when: str) -> None:
        super().__init__(
            f"'{when}' is no moment and no artifact: give a day (2026-05-01), a moment (2026-05-01T12:00, in UTC), or "
            "the key of an artifact that was made then"
        )


class NotYetMade(EmolakeError):
    def __init__(self, reference: str, until: str, made: str, others: Sequence[str]) -> None:
        super().__init__(
            f"'{reference}' is an artifact of {made} now, which was not there at {until}, and where a name pointed "
            f"then is not recorded: give a key (of its kind there were then: {', '.join(others) or 'none'})"
        )


class EventsRefused(EmolakeError):
    def __init__(self, url: str, sent: int, why: str) -> None:
        super().__init__(
            f"{url} did not take event {sent + 1} ({why}), and has the {sent} before it: see that the server runs and "
            "that the path is its own, as in http://localhost:5000/api/v1/lineage, then send all again"
        )


class ReachUnknown(EmolakeError):
    def __init__(self, lake: Path, why: str) -> None:
        super().__init__(
            f"nothing is taken away, for what is still wanted in {lake} is not known ({why}): put that right, or "
            "delete refs/reports/NAME.json of a recipe that is not wanted any more"
        )


class NoReport(EmolakeError):
    def __init__(self, reference: str, kind: str) -> None:
        super().__init__(
            f"'{reference}' is of kind '{kind}', and a page of audit is about a report: `emolake ls report`"
        )


class SecretToldOn(EmolakeError):
    def __init__(self, what: str, secret: str) -> None:
        super().__init__(
            f"{what} would hold {secret}, for everybody to read who is given the lake: nothing is written; "
            "take it out of the recipe, the roots or the names of files, and run the same command again"
        )


class NotACatalog(EmolakeError):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is there and cannot be told to be the catalog of a lake ({why}): it is left as it is; name "
            "another file, or remove it yourself"
        )
