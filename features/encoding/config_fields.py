"""Some fields of a checkpoint's configuration, without the seconds that `transformers` and torch take to import."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from features.encoding.pretrained import read_config

PLAIN = frozenset({
    "albert", "bert", "camembert", "deberta", "deberta-v2", "electra", "mpnet", "roberta", "xlm-roberta",
    "data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm",
})  # fmt: skip
"""Architectures, by their `model_type`, whose configuration has these fields as they stand in config.json."""

_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")

_CHANGES_OTHERS = ("configuration_files", "num_labels", "per_layer_config")
"""What `transformers` reads another file for, or changes fields by."""


def _is_number(value: Any) -> bool:
    return type(value) is int


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(key.isdecimal() and isinstance(value[key], str) for key in value)


_IS_PLAIN: Mapping[str, Callable[[Any], bool]] = MappingProxyType({
    "hidden_size": _is_number, "num_hidden_layers": _is_number, "architectures": _are_names, "id2label": _are_labels,
    **dict.fromkeys(_CONVOLUTIONS, _are_numbers),
})  # fmt: skip


def read_fields(checkpoint: Path, asked: Sequence[str]) -> Any:
    """What has these fields, and `model_type`, as `read_config` gives them.

    Where config.json itself has all that is asked, of an architecture of PLAIN, it is read and nothing else, so a plan
    needs no `transformers`. Any doubt is left to `read_config`: an unknown architecture, a field that is not there or
    not as it should be. A mistake in a field that is not asked for is found when the network is loaded.

    Args:
        asked: 'hidden_size', 'num_hidden_layers', 'architectures', 'id2label', 'conv_kernel' or 'conv_stride'.

    Raises:
        MalformedSource: there is no config.json, or it names no architecture that is known.
    """
    try:
        said = json.loads((checkpoint / "config.json").read_bytes())
    except (OSError, ValueError):
        return read_config(checkpoint)
    if not isinstance(said, dict) or said.get("model_type") not in PLAIN or said.keys() & set(_CHANGES_OTHERS):
        return read_config(checkpoint)
    needed = {*asked, *(_CONVOLUTIONS if "conv_kernel" in asked or "conv_stride" in asked else ())}
    if not all(name in said and _IS_PLAIN[name](said[name]) for name in needed):
        return read_config(checkpoint)
    if len({len(said[name]) for name in needed & set(_CONVOLUTIONS)}) > 1:
        return read_config(checkpoint)
    found = {name: said[name] for name in asked}
    if "id2label" in found:
        found["id2label"] = {int(number): label for number, label in found["id2label"].items()}
    return SimpleNamespace(**found, model_type=said["model_type"])
