"""One vector per text, pooled as the checkpoint of a sentence encoder says itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from warehouse.errors import MalformedSource

_LIMITS = "sentence_bert_config.json"
_MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}


@dataclass(frozen=True)
class Pooling:
    """What `modules.json` lists after the network.

    Args:
        mode: the first token, the mean of all, or the largest of each dimension; special tokens count.
        is_normalised: the vector is divided by its length.
        max_tokens: longer texts lose their end; None where the checkpoint does not say.
    """

    mode: str
    is_normalised: bool
    max_tokens: int | None

    def __call__(self, tokens: Any) -> Any:
        """The vector of a text from its tokens, a tensor [token, dim]."""
        pooled: dict[str, Callable[[], Any]] = {
            "cls": lambda: tokens[0], "mean": lambda: tokens.mean(0), "max": lambda: tokens.amax(0),
        }  # fmt: skip
        vector = pooled[self.mode]()
        return vector / vector.norm().clamp(min=1e-12) if self.is_normalised else vector


def read_pooling(checkpoint: Path) -> Pooling:
    """Reads `modules.json` and what it points at, as the package sentence-transformers writes them.

    Raises:
        MalformedSource: it is absent, or lists what is not done here: a further layer, or another way of pooling.
    """
    modules = _json(checkpoint, "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        problem = f"lists {', '.join(kinds)} in modules.json, but only Transformer, Pooling and then Normalize are done"
        raise MalformedSource(checkpoint, problem)
    where = modules[1]["path"]
    if not fnmatchcase(where, "*_Pooling") or "/" in where:
        raise MalformedSource(checkpoint, f"keeps its pooling in '{where}', but only one such as 1_Pooling is read")
    said = _json(checkpoint, f"{where}/config.json")
    asked = [name for name, value in said.items() if name.startswith("pooling_mode_") and value]
    asked = [_MODES.get(name, name) for name in asked] or [str(said.get("pooling_mode", "nothing"))]
    if len(asked) != 1 or asked[0] not in _MODES.values():
        problem = f"pools by {', '.join(asked)}, but only one of {', '.join(_MODES.values())} is done"
        raise MalformedSource(checkpoint, problem)
    limits = _json(checkpoint, _LIMITS) if (checkpoint / _LIMITS).is_file() else {}
    if limits.get("do_lower_case"):
        raise MalformedSource(checkpoint, f"lower-cases texts ({_LIMITS}), which is not done: let its tokenizer do it")
    return Pooling(asked[0], len(kinds) == 3, limits.get("max_seq_length"))


def _json(checkpoint: Path, name: str) -> Any:
    path = checkpoint / name
    if not path.is_file():
        raise MalformedSource(checkpoint, f"lacks {name}, which says how a sentence encoder pools")
    return json.loads(path.read_text(encoding="utf-8"))
