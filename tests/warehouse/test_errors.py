"""Every mistake has one sentence, and it survives the way from a worker process."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from warehouse import errors
from warehouse.errors import EmolakeError

PLAUSIBLE = {
    str: "zebra",
    int: 3,
    float: 0.25,
    Path: Path("/lake/artifacts"),
    Path | str: "Session1/wav/Ses01F.wav",
    Iterable[str]: ("happy", "sad"),
    object: (7, 2),
}
"""An argument of each type that errors take. A new type needs a line here."""

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)]


def plausible(cls: type) -> tuple[dict[str, Any], EmolakeError]:
    """The arguments, found by their annotations, and the error made of them."""
    if "__init__" not in vars(cls):
        return {"reason": "the clip is too short"}, cls("the clip is too short")
    hints = get_type_hints(vars(cls)["__init__"])
    arguments = {name: PLAUSIBLE[hints[name]] for name in list(inspect.signature(cls).parameters)}
    return arguments, cls(**arguments)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_ours_and_says_one_sentence_that_names_its_arguments(cls: type) -> None:
    arguments, error = plausible(cls)
    sentence = str(error)
    assert isinstance(error, EmolakeError)
    assert error.args == (sentence,)
    assert len(sentence) > 15 and sentence == sentence.strip()
    assert not sentence.endswith(".") and ". " not in sentence, "one sentence, no full stop"
    for name, value in arguments.items():
        for word in value if isinstance(value, tuple) else (value,):
            said = word.name if isinstance(word, Path) else str(word)
            assert said in sentence, f"{name} is not in: {sentence}"


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_every_error_is_the_same_after_pickling(cls: type, again: Any) -> None:
    _, error = plausible(cls)
    error.add_note("seen in unit Session1")
    back = again(error)
    assert type(back) is type(error)
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))


def test_an_error_reaches_the_parent_of_a_worker_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(errors.InvalidField, match=r"^recipe: field 'epochs' must be given$"),
    ):
        pool.submit(_fail).result()


def _fail() -> None:
    raise errors.InvalidField("recipe", "epochs", "must be given")


def test_a_near_miss_is_suggested() -> None:
    assert "did you mean 'layer'?" in str(errors.UnknownField("recipe", "lyaer", ["layer", "level"]))
    assert "(fields: layer, level)" in str(errors.UnknownField("recipe", "zzz", ["level", "layer"]))
    assert str(errors.UnknownName("corpus", "meld2", ["meld", "films"])) == (
        "no corpus 'meld2'; did you mean 'meld'? (there are: films, meld)"
    )


def test_long_lists_are_shortened() -> None:
    assert str(errors.AmbiguousReference("a", [f"a{i}" for i in range(9)])) == (
        "'a' begins several keys or digests ('a0', 'a1', 'a2', 'a3', 'a4' and 4 more): give more characters"
    )
