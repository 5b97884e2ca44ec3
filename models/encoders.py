"""The pretrained networks inside a student: found, proved to be the recorded ones, loaded, described in checkpoints.

A placed checkpoint is recorded in the lake by its files' digests; the files lie where the host has them. The student's
own checkpoint holds their weights as it left them, and under `encoders/<slot>` what describes the network and its
tokenizer, so that it is read without the placed one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from warehouse import Request, Warehouse
from warehouse.errors import ArtifactNotFound, MalformedSource, MissingFolder, WeightsChanged
from warehouse.hashing import file_digest
from warehouse.schema import FILES
from warehouse.tables import read_table

WEIGHTS = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True)
class PlacedEncoder:
    """A placed checkpoint on this host: its folder, and the paths in it that are recorded."""

    folder: Path
    files: tuple[str, ...]


def placed_encoder(warehouse: Warehouse, digest: str, weights: Mapping[str, Path]) -> PlacedEncoder:
    """A placed checkpoint, each of whose recorded files is still the recorded one.

    Args:
        digest: of its record, an artifact of kind 'weights'.
        weights: digest -> where it lies on this host.

    Raises:
        ArtifactNotFound: the lake has no such record.
        MissingFolder: nobody said where it lies here.
        WeightsChanged: a file is not there, or is another one.
        MalformedSource: it is no network, but word vectors, or several networks.
    """
    found = warehouse.with_digest(digest)
    if not found:
        raise ArtifactNotFound(digest)
    folder = weights.get(digest)
    if folder is None or not folder.is_dir():
        todo = f"start the job with --weights {digest}=FOLDER"
        raise MissingFolder(f"the checkpoint {digest[:12]} of an encoder", folder or Path("(nowhere)"), todo)
    files = read_table(found[0].path("files.parquet"), FILES).to_pylist()
    for file in files:
        path = folder / file["path"]
        if not path.is_file() or path.stat().st_size != file["n_bytes"] or file_digest(path) != file["sha256"]:
            raise WeightsChanged(path)
    paths = tuple(file["path"] for file in files)
    if "config.json" not in paths:
        raise MalformedSource(folder, "is no encoder: it has no config.json beside its weights")
    return PlacedEncoder(folder, paths)


def initial_folder(warehouse: Warehouse, request: Request, weights: Mapping[str, Path]) -> Path | None:
    """The folder that a fit begins with: that of a checkpoint of the lake, or of a placed one; None without any.

    Raises:
        As `placed_encoder`.
    """
    for digest in request.inputs.get("init", ()):
        found = warehouse.with_digest(digest)
        is_placed = not found or found[0].request.kind == "weights"
        return placed_encoder(warehouse, digest, weights).folder if is_placed else found[0].whole()
    return None


def load_encoder(folder: Path, kind: str = "AutoModel", unneeded: tuple[str, ...] = ()) -> nn.Module:
    """The network of a folder, float32, on the CPU. Of a folder without weights, which is that of a student's own
    checkpoint, as its config.json describes it: the student's weights are read over it. (A placed checkpoint is never
    without: only safetensors are recorded.)

    Args:
        kind: the class of `transformers` that finds it.
        unneeded: beginnings of the names of weights that may be absent.

    Raises:
        MalformedSource: weights of the network that config.json describes are absent, which would be drawn by lot.
    """
    import torch
    import transformers

    with quiet():
        if not any(folder.glob("*.safetensors")):
            try:
                config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            except (OSError, ValueError) as error:
                raise MalformedSource(folder, "has no config.json that describes a network known here") from error
            # float32 is said again: a checkpoint's config.json may name the half precision that it was published in
            described: nn.Module = getattr(transformers, kind).from_config(config, dtype=torch.float32)
            return described
        network, loading = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted(name for name in loading["missing_keys"] if not name.startswith(unneeded or ("\0",)))
    if lacking:
        raise MalformedSource(folder, f"lacks {len(lacking)} weights of its network (first: {lacking[0]})")
    loaded: nn.Module = network
    return loaded


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        MalformedSource: it has none that can be read, or one was made of nothing that knows no word.
    """
    tokenizer = load_preprocessor("AutoTokenizer", folder, "its tokenizer's files, best a tokenizer.json")
    if tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens):
        raise MalformedSource(folder, "needs its tokenizer's files, best a tokenizer.json (without, no word is known)")
    return tokenizer


def load_preprocessor(kind: str, folder: Path, files: str) -> Any:
    """The tokenizer, or the preprocessor of sound, of a folder.

    Args:
        kind: the class of `transformers` that finds it.
        files: what it is made from, for the error.

    Raises:
        MalformedSource: it cannot be read.
    """
    import transformers

    try:
        with quiet():
            return getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise MalformedSource(folder, f"needs {files}") from error


def describe(placed: PlacedEncoder, target: Path) -> None:
    """Copies what describes an encoder: its recorded files but for the weights."""
    for name in placed.files:
        if not name.endswith(WEIGHTS):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(placed.folder / name, target / name)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it `transformers` says errors alone, and shows no bars."""
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
