"""A pretrained network from a folder, read the same way by every extractor that runs one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from warehouse.errors import InvalidField, MalformedSource

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
"""Either holds, or names, all weights of a checkpoint."""

_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


def require_safetensors(checkpoint: Path) -> None:
    """Refuses a folder whose weights are not there as safetensors. Nothing is ever unpickled.

    Raises:
        MalformedSource: with what to do about a folder that has a pickle only.
    """
    if any((checkpoint / name).is_file() for name in WEIGHTS):
        return
    pickles = sorted(path.name for pattern in _PICKLES for path in checkpoint.glob(pattern))
    if not pickles:
        raise MalformedSource(checkpoint, f"holds neither {' nor '.join(WEIGHTS)}: put the checkpoint's weights there")
    raise MalformedSource(
        checkpoint,
        f"holds {pickles[0]} but no {WEIGHTS[0]}: a pickle can run any program when it is opened, so it is not read; "
        "take the publisher's safetensors, or write them once, where you trust that file, with "
        "AutoModel.from_pretrained(FOLDER).save_pretrained(OTHER_FOLDER)",
    )


def read_config(checkpoint: Path) -> Any:
    """The configuration of `transformers` for this checkpoint; reads config.json only.

    Raises:
        MalformedSource: there is none, or it names no architecture that is known.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    except (OSError, ValueError) as error:
        problem = f"has no config.json of a network that is known here ({_first_line(error)})"
        raise MalformedSource(checkpoint, problem) from error


def read_tokenizer(checkpoint: Path) -> Any:
    """The checkpoint's own tokenizer.

    Raises:
        MalformedSource: it cannot be read, or its files are not there, and `transformers` made one that knows no word.
    """
    files = "its tokenizer's files, best a tokenizer.json"
    try:
        tokenizer = read_preprocessor("AutoTokenizer", checkpoint, files)
    except MalformedSource as error:
        pieces = sorted(path.name for path in checkpoint.glob("*.model"))
        if not pieces:
            raise
        raise MalformedSource(checkpoint, f"needs {files}: of {pieces[0]} alone none can be made") from error
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise MalformedSource(checkpoint, f"needs {files} (without, no word is known)")
    return tokenizer


def read_preprocessor(kind: str, checkpoint: Path, files: str) -> Any:
    """The checkpoint's own preprocessor.

    Args:
        kind: the class of `transformers` that finds it: 'AutoTokenizer', 'AutoFeatureExtractor'.
        files: which files it is made from, for the sentence about one that cannot be.

    Raises:
        MalformedSource: it cannot be read.
    """
    import transformers

    try:
        with quiet():
            return getattr(transformers, kind).from_pretrained(checkpoint, local_files_only=True)
    except OSError as error:  # its own words say how to fetch them
        raise MalformedSource(checkpoint, f"needs {files} (which is not there, or cannot be read)") from error
    except (ValueError, ImportError, TypeError) as error:  # TypeError: of a vocabulary that is not there
        raise MalformedSource(checkpoint, f"needs {files} ({_first_line(error)})") from error


def load_network(checkpoint: Path, kind: str, unneeded: str) -> Any:
    """The network, float32, on the CPU, from safetensors only.

    Args:
        kind: the class of `transformers` that finds it: 'AutoModel', 'AutoModelForSequenceClassification'.
        unneeded: pattern of weights that may be absent, because nothing here reads them.

    Raises:
        MalformedSource: weights of the network that config.json describes are absent, which would be drawn by lot.
    """
    import torch
    import transformers

    require_safetensors(checkpoint)
    with quiet(), torch.random.fork_rng([]):  # some networks draw weights before theirs are read
        network, loading = getattr(transformers, kind).from_pretrained(
            checkpoint, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted(name for name in loading["missing_keys"] if not re.match(unneeded, name))
    if lacking:
        raise MalformedSource(checkpoint, f"lacks {len(lacking)} weights of its network (first: {lacking[0]})")
    return network.eval()


def check_layers(where: str, layers: Sequence[int], n_layers: int) -> None:
    """Refuses layers that a network of `n_layers` blocks has not; 0 is what goes into the first block.

    Raises:
        InvalidField: names the first.
    """
    absent = [layer for layer in layers if not 0 <= layer <= n_layers]
    if absent:
        problem = f"asks for layer {absent[0]}, but the checkpoint has layers 0 to {n_layers}"
        raise InvalidField(where, "layers", problem)


def as_stored(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in the dtype it is kept in. What float16 cannot hold becomes infinite, which the extraction loop
    refuses, so it is a failures row with a reason and never a wrong number.

    Example:
        >>> as_stored(np.array([1.0, 70_000.0]), "float16")
        array([ 1., inf], dtype=float16)
    """
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def device_of(device: str) -> str:
    """The device meant: 'auto' is the fastest there is."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def one_thread() -> Iterator[None]:
    """How many cores a machine has must not show in the last bits of a row; works run side by side instead."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` reports on weights that a checkpoint has too many, and draws a bar: not our words."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
