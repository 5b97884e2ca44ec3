"""The rules of the house that a test can hold: what may lie where, what may be imported, caught, said and left out."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]
ROOMS = ("warehouse", "features", "models", "flows", "infra")
TOP = {*ROOMS, "tests", "benchmarks"}

MOST_LINES = 400
FORBIDDEN_MODULES = {"util", "utils", "common", "base", "manager", "managers", "helper", "helpers", "misc", "core"}
FORBIDDEN_WORDS = {"item", "items", "info", "infos", "handler", "data", "sample", "samples", "utils"}
BROAD_DOORS = {"flows/cli.py", "features/guard.py"}
"""The command line, and the guard around one utterance."""

UNMIRRORED: dict[str, str] = {
    "models/plugin.py": "declares protocols only: nothing runs",
    "features/sandbox": "its trees are tested as wholes, in test_sandbox.py",
}
"""Module or folder -> why it has no test file of its own."""


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (HOUSE / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(read(path), str(path))


def text_files() -> list[Path]:
    """Every file that is, or could be, in git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=HOUSE, capture_output=True
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := HOUSE / name).is_file()]


def each_module(rule: Callable[[Path], None]) -> Callable[[], None]:
    """A test that holds a rule against every module and names all that break it: thousands of tests of a thousandth of
    a second each take longer to collect than to run."""

    def test() -> None:
        broken = {}
        for path in modules():
            try:
                rule(path)
            except AssertionError as error:
                broken[name_of(path)] = str(error)
        assert broken == {}

    return test


# -- what lies where -------------------------------------------------------------------------------------------


def test_the_top_level_has_the_rooms_and_nothing_else() -> None:
    folders = {path.relative_to(HOUSE).parts[0] for path in text_files() if len(path.relative_to(HOUSE).parts) > 1}
    assert {folder for folder in folders if not folder.startswith(".")} == TOP


def test_no_module_is_named_after_nothing() -> None:
    parts = {part for path in text_files() if path.suffix == ".py" for part in re.split(r"[/_.]", name_of(path))}
    assert parts & FORBIDDEN_MODULES == set()


@each_module
def test_a_module_is_short(path: Path) -> None:
    n_lines = len(read(path).splitlines())
    assert n_lines <= MOST_LINES, f"{n_lines} lines: what is the second thing it says?"


@each_module
def test_a_module_has_its_mirror(path: Path) -> None:
    if path.name.startswith("__") or {name_of(path), name_of(path.parent)} & UNMIRRORED.keys():
        return
    room = path.relative_to(HOUSE).parts[0]
    assert list((HOUSE / "tests" / room).rglob(f"test_{path.stem}.py")), f"no tests/{room}/…/test_{path.stem}.py"


def test_the_list_of_exceptions_holds_only_modules_that_exist() -> None:
    assert all((HOUSE / name).exists() for name in UNMIRRORED)


def test_test_files_have_names_of_their_own_and_are_no_packages() -> None:
    tests = list((HOUSE / "tests").rglob("*.py"))
    assert not [name_of(path) for path in tests if path.name == "__init__.py"]
    count = Counter(path.stem for path in tests if path.stem.startswith("test_"))
    assert [name for name, n in count.items() if n > 1] == []


# -- what is said ----------------------------------------------------------------------------------------------


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node


def is_mistake(node: ast.AST) -> bool:
    """An error class composes a sentence, which says what a docstring would."""
    return isinstance(node, ast.ClassDef) and any(
        getattr(base, "id", "").endswith(("Error", "Exception", "Mistake")) for base in node.bases
    )


@each_module
def test_what_is_public_is_described(path: Path) -> None:
    silent = [] if ast.get_docstring(tree_of(path)) else ["the module"]
    silent += [node.name for node in public(tree_of(path).body) if not is_mistake(node) and not ast.get_docstring(node)]
    assert silent == []


@each_module
def test_no_docstring_has_an_empty_section(path: Path) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree_of(path)):
        lines = (ast.get_docstring(node) or "").splitlines() if isinstance(node, documented) else []
        for line, following in pairwise([*lines, ""]):
            if line in ("Args:", "Returns:", "Raises:", "Example:", "Source:"):
                assert following.startswith("    "), f"'{line}' of {getattr(node, 'name', 'the module')} is empty"


@each_module
def test_words_we_do_not_use_name_nothing(path: Path) -> None:
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    assert found & FORBIDDEN_WORDS == set()


def test_no_file_names_what_is_outside_the_house() -> None:
    outside = ["../" + "shared", "/" + "work" + "/"]
    for path in text_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert [word for word in outside if word in text] == [], name_of(path)


# -- what may be done ------------------------------------------------------------------------------------------


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The first names of everything a module imports, inside functions too."""
    nodes = tree_of(path).body if top_level_only else list(ast.walk(tree_of(path)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@each_module
def test_only_flows_knows_prefect(path: Path) -> None:
    assert path.relative_to(HOUSE).parts[0] == "flows" or "prefect" not in imported(path)


@each_module
def test_heavy_libraries_wait_until_they_are_needed(path: Path) -> None:
    room = path.relative_to(HOUSE).parts[0]
    heavy = {"torch", "transformers", "opensmile", "pocketsphinx", "av", "espeakng_loader"}
    if room == "warehouse":
        assert imported(path) & heavy == set()
    elif room in ("features", "infra"):
        assert imported(path, top_level_only=True) & heavy == set()


@each_module
def test_assert_is_for_tests(path: Path) -> None:
    assert [node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Assert)] == []


@each_module
def test_broad_excepts_stand_at_two_doors(path: Path) -> None:
    def broad(kind: ast.expr | None) -> bool:
        kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
        return any(one is None or getattr(one, "id", "") in ("Exception", "BaseException") for one in kinds)

    found = [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.ExceptHandler) and broad(n.type)]
    assert found == [] or name_of(path) in BROAD_DOORS


@each_module
def test_nothing_is_unpickled_and_nothing_is_evaluated(path: Path) -> None:
    assert imported(path) & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} == set()
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"line {node.lineno}"
        options = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        assert options.get("allow_pickle", False) is False, f"line {node.lineno}"
        assert options.get("weights_only", True) is True, f"line {node.lineno}"
        assert options.get("shell", False) is False, f"line {node.lineno}"
        if ast.unparse(node.func) == "torch.load":
            assert options.get("weights_only") is True, f"line {node.lineno}"


# -- mistakes --------------------------------------------------------------------------------------------------

SENTENCES = ("warehouse/errors.py", "warehouse/audit/errors.py", "warehouse/operating_errors.py")
MISTAKES = [node.name for path in SENTENCES for node in public(tree_of(HOUSE / path).body) if is_mistake(node)]


def test_every_mistake_is_made_somewhere_and_tried_in_a_test() -> None:
    rooms = {
        word for path in modules() if name_of(path) not in SENTENCES for word in re.findall(r"\b(\w+)\(", read(path))
    }
    paths = [path for path in (HOUSE / "tests").rglob("test_*.py") if path.name != "test_house.py"]
    tests = {word for path in paths for word in re.findall(r"\w+", read(path))}
    assert [name for name in MISTAKES if name not in rooms | {"EmolakeError"}] == [], "nothing raises them"
    assert [name for name in MISTAKES if name not in tests | {"EmolakeError"}] == [], "no test raises them"
