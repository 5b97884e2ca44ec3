from __future__ import annotations

from pathlib import Path

import pytest

from flows.trained import reported, rule, the_only, trained
from tests.flows.spoken import Spoken
from warehouse import Artifact, Request, Warehouse
from warehouse.errors import ArtifactNotFound, InvalidField, UnknownName, UnreadableRef


def test_a_reported_model_is_its_fits(spoken: Spoken) -> None:
    fits = trained(spoken.warehouse, "spoken:crossed")
    assert [(fit.fold, fit.seed, fit.model) for fit in fits] == [("all", 0, "crossed"), ("all", 1, "crossed")]
    assert [fit.checkpoint.request.params["seed"] for fit in fits] == [0, 1]
    [one] = trained(spoken.warehouse, "spoken:crossed", "all", 1)
    assert one == fits[1]
    assert rule(fits) == "spoken:crossed: mean of the probabilities of 2 fits (folds 'all'; seeds 0, 1)"
    assert rule([one]) == "spoken:crossed: fold 'all', seed 1"


def test_a_key_means_the_fit_that_a_report_has_of_it(spoken: Spoken) -> None:
    [fit] = trained(spoken.warehouse, "spoken:read")
    for reference in (fit.checkpoint.key, fit.checkpoint.key[:10], fit.checkpoint.digest):
        assert trained(spoken.warehouse, reference) == [fit]


def test_what_is_not_there_is_named(spoken: Spoken) -> None:
    lake = spoken.warehouse
    with pytest.raises(UnknownName, match=r"no report of a recipe 'spokn'; did you mean 'spoken'"):
        trained(lake, "spokn:read")
    with pytest.raises(UnknownName, match=r"no model with fits in the report of 'spoken' 'reed'; did you mean 'read'"):
        trained(lake, "spoken:reed")
    with pytest.raises(UnknownName, match=r"no fold of 'spoken:read' '5' \(there are: all\)"):
        trained(lake, "spoken:read", fold="5")
    with pytest.raises(UnknownName, match=r"no seed of 'spoken:crossed' '7' \(there are: 0, 1\)"):
        trained(lake, "spoken:crossed", seed=7)
    with pytest.raises(InvalidField, match="is 'report', but a checkpoint is wanted: RECIPE:MODEL"):
        trained(lake, "reports/spoken")
    with pytest.raises(InvalidField, match=r"'spoken': field 'model' must be given, for this is a recipe: .*spoken:r"):
        trained(lake, "spoken")
    with pytest.raises(ArtifactNotFound):
        trained(lake, "nothing")


def test_one_fit_where_one_is_wanted(spoken: Spoken) -> None:
    fits = trained(spoken.warehouse, "spoken:crossed")
    assert the_only(fits[:1], "it") == fits[0]
    with pytest.raises(InvalidField, match="'it': field 'fold' must be given, for it has 2 fits: --fold all --seed 0;"):
        the_only(fits, "it")


def test_a_report_whose_name_was_edited_is_told(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)
    lake.set_ref("reports/demo", {"metrics": "f" * 64})
    with pytest.raises(UnreadableRef, match=r"reports/demo\.json cannot be read \(its field 'artifact' is missing"):
        reported(lake)


def test_of_an_average_its_members_are_to_be_asked(tmp_path: Path) -> None:
    lake = Warehouse(tmp_path / "lake", create=True)

    def made(kind: str, named: str, step: str = "a.step", **inputs: tuple[str, ...]) -> Artifact:
        request = Request(kind, step, 1, {"seed": 0, "named": named}, inputs)
        return lake.materialize(request, lambda folder: (folder / "file").write_text(named) and None)

    fits = {name: made("checkpoint", f"fit {name}") for name in ("read", "heard", "unreported")}
    told = {name: made("predictions", f"said {name}", checkpoint=(fit.digest,)) for name, fit in fits.items()}
    told["both"] = made("predictions", "both", predictions=(told["read"].digest, told["heard"].digest))
    told["odd"] = made("predictions", "odd", predictions=(told["read"].digest, told["unreported"].digest))
    shown = ("read", "heard", "both", "odd")
    runs = [{"model": name, "fold": "all", "seed": 0} for name in shown]
    cited = {"predictions": tuple(told[name].digest for name in shown)}
    report = lake.materialize(Request("report", "flows.report", 1, {"runs": runs}, cited),
                              lambda folder: (folder / "report.json").write_text("{}") and None)  # fmt: skip
    lake.set_ref("reports/mine", {"artifact": report.key})
    assert [fit.checkpoint for fit in trained(lake, "mine:heard")] == [fits["heard"]]
    own = "field 'model' is an average of others, and no fit of its own: ask for one of"
    with pytest.raises(InvalidField, match=rf"'mine:both': {own} mine:read, mine:heard$"):
        trained(lake, "mine:both")
    with pytest.raises(InvalidField, match=rf"'mine:odd': {own} mine:read, {fits['unreported'].key[:12]}$"):
        trained(lake, "mine:odd")
