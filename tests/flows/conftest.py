"""One small lake, built once, to its end through the command line and Prefect, that the tests of this room read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.server import _server_begun
from tests.flows.saying import Say, saying
from tests.flows.small import Small, beginning, emolake, small_recipe
from warehouse import Warehouse

if TYPE_CHECKING:
    from tests.flows.audit.little import Little
    from tests.flows.spoken import Spoken


@pytest.fixture(scope="session")
def small(small_sandbox: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Small:
    """What the last student needs is made in this process, all of it but for one corpus and one extractor; the run goes
    on from there: it starts a server, a worker and two jobs, and each of them takes seconds to import what it does."""
    from flows.line import Line
    from flows.recipe import read_recipe
    from tests.flows.wholly import Wholly

    folder, roots = tmp_path_factory.mktemp("small"), small_sandbox
    recipe, begun = folder / "small.toml", folder / "begun.toml"
    recipe.write_text(small_recipe(), encoding="utf-8")
    begun.write_text(beginning(small_recipe()), encoding="utf-8")
    warehouse, own = Warehouse(folder / "lake", create=True), {name: roots[name] for name in ("meld", "films")}
    line = Line(read_recipe(begun), warehouse, own, Wholly(warehouse))
    line.pack()
    line.model("pretrained")
    begun.unlink()
    given = [part for name, root in roots.items() for part in ("--root", f"{name}={root}")]
    printed = emolake("run", str(recipe), *given, "--json", "--workers", "1", cwd=folder)  # each costs a start
    assert printed.returncode == 0, printed.stderr
    return Small(folder, recipe, roots, printed, json.loads(printed.stdout))


@pytest.fixture(scope="session")
def whole(once: Callable[[str, Callable[[Path], object]], Path]) -> Little:
    """The little lake, which is never touched: whoever changes a lake has a `little_copy`."""
    from tests.flows.audit.little import little_in, write_little  # here: the training loop takes seconds to import

    return little_in(once("little", write_little))


@pytest.fixture
def little(whole: Little, tmp_path: Path) -> Little:
    """A copy of the little lake."""
    from tests.flows.audit.little import little_copy

    return little_copy(whole, tmp_path / "lake")


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """Fitted and reported models of four kinds: read it, add to it, remove nothing."""
    from tests.flows.spoken import write_spoken  # here: the training loop takes seconds to import

    return write_spoken(tmp_path_factory.mktemp("spoken"))


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Prefect server for the runs of tests that are about something else: each start takes seconds
    of processor time."""
    home = tmp_path_factory.mktemp("api")
    with _server_begun(home) as (url, wait_until_ready):
        wait_until_ready()
        yield url


@pytest.fixture
def say(small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`emolake …` in the folder of the small lake, in this process."""
    monkeypatch.chdir(small.folder)
    return saying(monkeypatch, capsys)
