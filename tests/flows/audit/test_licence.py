from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.audit.licence import FORBIDS, GONE, TERMS, UNSTATED, Purpose, Source, derived, licences, refuse
from tests.flows.audit.lent import Lent, lent_lake
from warehouse.audit.errors import NothingLicensed, TermsUnknown, UseForbidden
from warehouse.errors import ArtifactNotFound

READ = ("research-only", "no-redistribution", "attribution")


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return lent_lake(tmp_path / "lake")


def terms(lent: Lent, name: str) -> dict[str, tuple[str, ...]]:
    return {one.what: one.terms for one in licences(lent.lake, name)}


def test_the_terms_of_every_source_reach_what_was_made_from_it(lent: Lent) -> None:
    found = licences(lent.lake, "mine:best")
    assert {one.what: (one.is_a, one.terms) for one in found} == {
        "films": ("corpus", ("no-redistribution", "unknown")),
        "iemocap": ("corpus", READ),
        "w2v": ("checkpoint", ("attribution",)),
        "openSMILE": ("program", ("non-commercial", "attribution")),
    }
    assert derived(found) == ["research-only", "no-redistribution", "non-commercial", "attribution", "unknown"]
    keys = {name: artifact.key[:12] for name, artifact in lent.named.items()}
    assert found[0].path == (
        "corpus 'films'", f"utterances {keys['utterances films']} (corpora.films)",
        f"shards {keys['packed text']} (flows.pack)", f"checkpoint {keys['teacher']} (students.text_encoder)",
        f"checkpoint {keys['student']} (students.mced)",
    )  # fmt: skip


def test_what_lies_beside_the_way_adds_nothing(lent: Lent) -> None:
    assert terms(lent, lent.teacher.key) == {"films": ("no-redistribution", "unknown")}
    assert terms(lent, lent.named["extractors.opensmile"].key).keys() == {"iemocap", "openSMILE"}


@pytest.mark.parametrize("name", ["iemocap", "corpora/iemocap", "raw iemocap", "labels iemocap", "utterances iemocap"])
def test_a_corpus_by_any_of_its_names(lent: Lent, name: str) -> None:
    assert terms(lent, lent.named[name].key if name in lent.named else name)["iemocap"] == READ


def test_a_report_a_checkpoint_and_a_recipe_that_never_ran(lent: Lent) -> None:
    assert terms(lent, "mine") == terms(lent, "reports/mine") == terms(lent, "mine:best")
    assert terms(lent, "w2v") == terms(lent, "weights/w2v") == {"w2v": ("attribution",)}
    found = {one.what: one for one in licences(lent.lake, "cmd")}
    assert found["iemocap"].path == ("corpus 'iemocap'", "[corpora.iemocap]")
    assert found["bert"].terms == ("attribution",) and found["glove"].terms == ("unknown",)


def test_a_name_of_nothing_is_told_what_there_is(lent: Lent) -> None:
    sentence = (
        "'nothing' names nothing whose licence could be told: give RECIPE:MODEL, a corpus of this lake "
        "(films, iemocap), a report (mine), a recipe, or the key of an artifact"
    )
    with pytest.raises(NothingLicensed) as error:
        licences(lent.lake, "nothing")
    assert str(error.value) == sentence


def test_a_lake_states_what_it_knows_better(lent: Lent) -> None:
    (lent.lake.root / "licences.toml").write_text(
        '[corpora.films]\nlicence = "CC-BY-4.0"\nsource = "we shot them"\n'
        '[checkpoints.w2v]\nlicence = "ours"\nterms = []\nsource = "we trained it"\n'
        '[corpora.iemocap]\nlicence = "a licence nobody knows"\nsource = "a letter"\n'
    )
    assert terms(lent, "mine:best") == {
        "films": ("attribution",), "iemocap": ("unknown",), "w2v": (), "openSMILE": ("non-commercial", "attribution"),
    }  # fmt: skip
    (lent.lake.root / "licences.toml").write_text(
        '[licences."a licence nobody knows"]\nterms = ["share-alike"]\nsource = "read it"\n'
        '[corpora.iemocap]\nlicence = "A licence nobody knows"\nsource = "a letter"\n'
    )
    assert terms(lent, "iemocap") == {"iemocap": ("share-alike",)}


def test_what_a_recipe_says_of_a_checkpoint_counts_and_an_odd_licence_is_unknown(lent: Lent) -> None:
    ref = lent.lake.ref("weights/w2v") or {}
    lent.lake.set_ref("weights/w2v", ref | {"licence": "CC-BY-NC-SA-4.0"})
    assert terms(lent, "w2v") == {"w2v": ("non-commercial", "share-alike", "attribution")}
    lent.lake.set_ref("weights/w2v", ref | {"licence": "ask me", "folder": "mine"})
    assert terms(lent, "w2v") == {"w2v": ("unknown",)}
    lent.lake.set_ref("weights/w2v", ref | {"folder": "mine"})
    assert {one.licence for one in licences(lent.lake, "w2v")} == {UNSTATED}


def test_a_corpus_that_a_checkpoint_holds_keeps_its_terms(lent: Lent) -> None:
    """Its publisher's licence is free, and what it was tuned on is not."""
    ref = lent.lake.ref("weights/w2v") or {}
    lent.lake.set_ref("weights/w2v", ref | {"folder": "superb/wav2vec2-base-superb-er"})
    inside = {one.is_a: one for one in licences(lent.lake, "w2v")}
    assert inside["checkpoint"].terms == ("attribution",)
    assert inside["corpus in a checkpoint"].what == "iemocap" and inside["corpus in a checkpoint"].terms == READ
    assert inside["corpus in a checkpoint"].path[:2] == ("corpus in a checkpoint 'iemocap'", "checkpoint 'w2v'")


def test_a_corpus_that_is_told_again_has_the_terms_of_its_source(lent: Lent) -> None:
    source, said = lent.named["utterances iemocap"], {"corpus": "heard", "unit": "one"}

    def write(folder: Path) -> None:
        (folder / "utterances.parquet").write_bytes(source.path("utterances.parquet").read_bytes() + b" ")

    told = lent.make("heard", "utterances", "features.retell", write, {"source": [source]}, **said)
    read = lent.lake.ref("corpora/iemocap") or {}
    lent.lake.set_ref("corpora/heard", read | {"utterances": [told.digest], "source": "iemocap", "told": "text"})
    assert terms(lent, "heard") == {"iemocap": READ}


# -- what they forbid ------------------------------------------------------------------------------------------------


def source(*own: str) -> Source:
    return Source(
        "tapes", "corpus", "a licence", own, "a letter", "corpora.tapes", ("corpus 'tapes'", "[corpora.tapes]")
    )


@pytest.mark.parametrize("purpose", FORBIDS)
@pytest.mark.parametrize("term", TERMS)
def test_a_purpose_is_refused_by_the_terms_that_forbid_it_and_no_other(purpose: Purpose, term: str) -> None:
    if term not in FORBIDS[purpose]:
        refuse(Path("lake"), "mine:best", [source(term)], purpose)
        return
    with pytest.raises(TermsUnknown if term == "unknown" else UseForbidden, match=f"exported for {purpose} use"):
        refuse(Path("lake"), "mine:best", [source("attribution"), source(term)], purpose)


def refused(act: Callable[[], None], mistake: type[Exception]) -> str:
    with pytest.raises(mistake) as error:
        act()
    return str(error.value)


def test_a_refusal_names_the_source_the_term_and_the_way(lent: Lent) -> None:
    found = licences(lent.lake, "mine:best")
    keys = {name: artifact.key[:12] for name, artifact in lent.named.items()}
    assert refused(lambda: refuse(lent.lake.root, "mine:best", found, "commercial"), UseForbidden) == (
        "'mine:best' cannot be exported for commercial use: corpus 'iemocap' is research-only (the release form of USC "
        f"SAIL, signed), and reaches it by corpus 'iemocap' → utterances {keys['utterances iemocap']} "
        f"(corpora.iemocap) → split {keys['p split']} (flows.protocol) → checkpoint {keys['student']} (students.mced) "
        "→ mine:best; 2 more sources forbid it too: `emolake licence mine:best` lists all that hold"
    )


def test_a_refusal_of_the_unknown_says_how_to_state_it(lent: Lent) -> None:
    found = [one for one in licences(lent.lake, "mine:best") if one.what == "films"]
    unstated = [Source("films", "corpus", one.licence, ("unknown",), "", one.entry, one.path[:1]) for one in found]
    assert refused(lambda: refuse(Path("lake"), "mine:best", unstated, "public"), TermsUnknown) == (
        "'mine:best' cannot be exported for public use: not all terms of corpus 'films' are known (films and "
        "subtitles, copyrighted by their owners), and it reaches it by corpus 'films' → mine:best: where you know "
        'them, write into lake/licences.toml [corpora.films] licence = "…", terms = […], source = "…"'
    )


# -- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "user", "role"),
    [
        ("weights w2v", "extractors.speech_encoder", "checkpoint"),
        ("packed speech", "student", "shards:speech"),
        ("teacher", "student", "init"),
    ],
)
def test_the_terms_of_what_is_missing_are_unknown(lent: Lent, name: str, user: str, role: str) -> None:
    above = {one.what for one in licences(lent.lake, lent.student.key)}
    digest, own = lent.lose(name), lent.named[user]
    (missing,) = (one for one in licences(lent.lake, lent.student.key) if one.is_a == "missing input")
    assert (missing.what, missing.terms) == (digest[:12], ("unknown",)) and digest[:12] not in above
    assert missing.licence == f"its '{role}': {GONE}"
    assert missing.path[1] == f"{own.request.kind} {own.key[:12]} ({own.request.step})"
    with pytest.raises(TermsUnknown, match=f"not all terms of missing input '{digest[:12]}' are known"):
        refuse(lent.lake.root, "mine:best", [missing], "commercial")
    (lent.lake.root / "licences.toml").write_text(
        f'[missing.{digest[:12]}]\nlicence = "ours"\nterms = []\nsource = "a backup"\n'
    )
    assert {one.terms for one in licences(lent.lake, lent.student.key) if one.is_a == "missing input"} == {()}


def test_what_a_purge_took_is_missing_only_where_nothing_stands_in_its_place(lent: Lent) -> None:
    lost, heir = lent.named["weights w2v"].digest, lent.placed("again").digest
    lent.lose("weights w2v")
    lent.lake.set_ref("purged/one", {"digests": {lost: heir}})
    assert "missing input" not in {one.is_a for one in licences(lent.lake, lent.student.key)}
    lent.lake.set_ref("purged/one", {"digests": {lost: ""}})
    assert lost[:12] in {one.what for one in licences(lent.lake, lent.student.key)}


@pytest.mark.parametrize(("name", "lost"), [("iemocap", "utterances iemocap"), ("w2v", "weights w2v")])
def test_a_name_whose_artifact_is_missing_is_told_by_its_digest(lent: Lent, name: str, lost: str) -> None:
    digest = lent.lose(lost)
    with pytest.raises(ArtifactNotFound, match=digest):
        licences(lent.lake, name)


def test_a_report_that_is_missing_is_not_taken_for_a_recipe(lent: Lent) -> None:
    lent.lake.set_ref("reports/cmd", {"artifact": lent.named["report"].key})
    lent.lose("report")
    with pytest.raises(ArtifactNotFound):
        licences(lent.lake, "cmd")
