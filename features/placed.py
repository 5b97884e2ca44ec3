"""Checkpoints that a person placed: their files are hashed and recorded where they lie, never copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

from features.encoding.pretrained import WEIGHTS, require_safetensors
from features.plugin import RawFile
from features.raw import RawDigests, files_digest, write_files
from warehouse import Warehouse
from warehouse.artifact import Artifact, Request, Work
from warehouse.errors import MalformedSource, SourceChanged, WeightsChanged
from warehouse.schema import FILES
from warehouse.tables import read_table

VERSION = 1

PATTERNS = (
    "config.json", "generation_config.json", "model*.safetensors", WEIGHTS[1],
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "normalizer.json",
    "vocab.json", "target_vocab.json", "*.txt", "*.model", "*.spm", "bpe.codes",
    "preprocessor_config.json", "processor_config.json",
    "modules.json", "sentence_bert_config.json", "*_Pooling/config.json",
)  # fmt: skip
"""The files of a folder that may make its numbers: networks, tokenizers, preprocessors, pooling, and word vectors
(`*.txt`). Others (README.md, pytorch_model.bin, tf_model.h5, onnx, .git) are never read, so they are not hashed."""

SPEAKING = ("text_to_speech", "vocoder", "speaker_encoder")
"""The folders of a checkpoint that speaks, each of them a checkpoint by itself."""


@dataclass(frozen=True)
class Placed:
    """A checkpoint as recorded: the digest of its record identifies the weights, `folder` is where they lie here."""

    digest: str
    folder: Path


def placed_folder(said: str, weights: Path | None, beside: Path) -> Path:
    """Where a checkpoint that a recipe names lies: below the folder of weights, or else relative to the recipe. If it
    is at neither place, where it is looked for first.

    Args:
        said: its folder as the recipe has it.
        weights: the folder of weights of this machine (EMOLAKE_WEIGHTS), if there is one.
        beside: the recipe's folder.
    """
    places = [(root / said).absolute() for root in (weights, beside) if root is not None]
    return next((place for place in places if place.is_dir()), places[0])


def files_of(folder: Path) -> list[str]:
    """The files below a checkpoint's folder that may make its numbers, by relative path.

    A folder without config.json that has any of the folders of SPEAKING is what these hold, and nothing else.

    Raises:
        MalformedSource: no checkpoint that can be read: no config.json with safetensors beside it, and no word vectors;
            an index of weights that names what is not beside it; or some of the folders of SPEAKING, but not all.
    """
    if not (folder / "config.json").is_file() and any((folder / part).is_dir() for part in SPEAKING):
        require_speaking(folder)
        return sorted(f"{part}/{path}" for part in SPEAKING for path in files_of(folder / part))
    relative = (path.relative_to(folder).as_posix() for depth in ("*", "*/*") for path in folder.glob(depth))
    found = sorted(
        path for path in relative
        if any(path.count("/") == pattern.count("/") and fnmatchcase(path, pattern) for pattern in PATTERNS)
        and not path.startswith(".") and (folder / path).is_file()
    )  # fmt: skip
    if WEIGHTS[1] in found:
        found = sorted({*found, *_pieces(folder)})
    if "config.json" in found or not any(path.endswith(".txt") for path in found):
        require_safetensors(folder)
        if "config.json" not in found:
            raise MalformedSource(folder, "lacks config.json, which describes the network of its weights")
    return found


def require_speaking(folder: Path) -> None:
    """Refuses a folder that lacks any of the folders of SPEAKING.

    Raises:
        MalformedSource: says which.
    """
    absent = [part for part in SPEAKING if not (folder / part).is_dir()]
    if absent:
        problem = f"lacks {' and '.join(absent)}: a checkpoint that speaks has the folders {', '.join(SPEAKING)}"
        raise MalformedSource(folder, problem)


def _pieces(folder: Path) -> set[str]:
    """The files that an index of weights names, which may have any name."""
    try:
        pieces = set(json.loads((folder / WEIGHTS[1]).read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedSource(folder, f"has a {WEIGHTS[1]} that names no files") from error
    for piece in sorted(pieces, key=str):
        if not isinstance(piece, str) or PurePath(piece).name != piece or not (folder / piece).is_file():
            raise MalformedSource(folder, f"has a {WEIGHTS[1]} that names '{piece}', which is no file beside it")
    return pieces


def record_work(digests: RawDigests, folder: Path, progress: Callable[[int], None] = lambda n_bytes: None) -> Work:
    """The work that records the files of a checkpoint; hashes what is new or changed since the last time.

    The same files in another folder, or under another name, are the same checkpoint.
    """
    files = tuple(digests.raw_files(folder, files_of(folder), progress).values())
    request = Request("weights", "features.placed", VERSION, {"files": files_digest(files)})
    return Work(request, write_files, {"files": files}, n_rows=len(files))


def record(warehouse: Warehouse, folder: Path) -> Placed:
    """Records the files of a checkpoint now.

    Raises:
        MalformedSource: it is none that can be read.
    """
    digests = RawDigests(warehouse.root)
    try:
        work = record_work(digests, folder)
    finally:
        digests.close()
    return Placed(warehouse.perform(work).digest, folder)


@contextmanager
def unchanged(lake: Path, plugin: Any, folder: Path | None) -> Iterator[None]:
    """What a plug-in loads is what was recorded, before and after: rows of other weights must not stand under these.
    Looks at nothing for one that reads no checkpoint, or one of a fit, which lies in the lake and never changes.

    Raises:
        WeightsChanged: a file is missing, is not the recorded one, or is one more.
    """
    recorded = _recorded(lake, plugin.weights) if getattr(plugin, "reads_checkpoint", False) else None
    if recorded is None or folder is None:
        yield
        return
    _compare(lake, folder, recorded)
    yield
    _compare(lake, folder, recorded)


def _recorded(lake: Path, digest: str) -> list[RawFile] | None:
    for artifact in Warehouse(lake).artifacts("weights"):
        if artifact.digest == digest:
            return [RawFile(**row) for row in read_table(artifact.path("files.parquet"), FILES).to_pylist()]
    return None


def _compare(lake: Path, folder: Path, recorded: Sequence[RawFile]) -> None:
    paths = {file.path for file in recorded}
    digests = RawDigests(lake)
    try:
        more = sorted(set(files_of(folder)) - paths)
        now = digests.raw_files(folder, paths)
    except (SourceChanged, MalformedSource) as error:
        raise WeightsChanged(folder) from error
    finally:
        digests.close()
    changed = [*more, *(file.path for file in recorded if now[file.path] != file)]
    if changed:
        raise WeightsChanged(folder / changed[0])


def weights_ref(artifact: Artifact, folder: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What `refs/weights/<name>` holds: current knowledge of a checkpoint. Correcting it changes no feature row.

    Args:
        folder: as the recipe has it.
        said: its 'revision', 'licence' and 'trained_on'.
    """
    return {"digest": artifact.digest, "folder": folder} | {
        name: said[name] for name in ("revision", "licence", "trained_on")
    }
