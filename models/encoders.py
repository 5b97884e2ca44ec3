"""The pretrained networks inside a student: found, proved to be the recorded ones, loaded, described in checkpoints.

A placed checkpoint is recorded in the lake by its files' digests; the files lie where the host has them. The student's
own checkpoint holds their weights as it left them, and under `encoders/<slot>` what describes the network and its
tokenizer, so that it is read without the placed one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from warehouse import Warehouse
from warehouse.errors import ArtifactNotFound, MalformedSource, MissingFolder, WeightsChanged
from warehouse.hashing import file_digest
from warehouse.schema import FILES
from warehouse.tables import read_table

WEIGHTS = ".safetensors"


def placed_folder(warehouse: Warehouse, digest: str, weights: Mapping[str, Path]) -> Path:
    """The folder of a placed checkpoint, each of whose files is the recorded one.

    Args:
        digest: of its record, an artifact of kind 'weights'.
        weights: digest -> where it lies on this host.

    Raises:
        ArtifactNotFound: the lake has no such record.
        MissingFolder: nobody said where it lies here.
        WeightsChanged: a file is not there, or is another one.
    """
    found = warehouse.with_digest(digest)
    if not found:
        raise ArtifactNotFound(digest)
    folder = weights.get(digest)
    if folder is None or not folder.is_dir():
        todo = f"start the job with --weights {digest}=FOLDER"
        raise MissingFolder(f"the checkpoint {digest[:12]} of an encoder", folder or Path("(nowhere)"), todo)
    for row in read_table(found[0].path("files.parquet"), FILES).to_pylist():
        path = folder / row["path"]
        if not path.is_file() or path.stat().st_size != row["n_bytes"] or file_digest(path) != row["sha256"]:
            raise WeightsChanged(path)
    return folder


def load_encoder(folder: Path, kind: str = "AutoModel", unneeded: tuple[str, ...] = ()) -> nn.Module:
    """The network of a folder, float32, on the CPU. Of a folder without weights, which is that of a student's own
    checkpoint, as its config.json describes it: the student's weights are read over it.

    Args:
        kind: the class of `transformers` that finds it.
        unneeded: beginnings of the names of weights that may be absent.

    Raises:
        MalformedSource: weights of the network that config.json describes are absent, which would be drawn by lot.
    """
    import torch
    import transformers

    with _quiet():
        if not any(folder.glob(f"*{WEIGHTS}")):
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            described: nn.Module = getattr(transformers, kind).from_config(config)
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
        MalformedSource: it has none that can be read.
    """
    import transformers

    try:
        with _quiet():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise MalformedSource(folder, "needs its tokenizer's files, best a tokenizer.json") from error


def describe(source: Path, target: Path) -> None:
    """Copies what describes an encoder, without its weights: small files of text and of tokenizers."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in {".json", ".txt", ".model"} and not path.name.endswith(".index.json"):
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.name)


@contextmanager
def _quiet() -> Iterator[None]:
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
