"""A fit in a folder for others: the network in the form that is asked for, and its card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from flows.audit.licence import Purpose, refuse, sources_of
from flows.card import card_of, markdown
from flows.trained import Trained
from warehouse import Warehouse
from warehouse.errors import InvalidField

Form = Literal["onnx", "transformers"]
CARD = "README.md"
"""Where model hubs look for a card."""


def export(
    warehouse: Warehouse, fit: Trained, form: Form, target: Path, purpose: Purpose | None = None
) -> list[str]:  # fmt: skip
    """Writes a fit into a folder that is new or empty; `models.onnx_graph` and `models.export` say how it is loaded.
    The terms of all that it was made from go along in its card, and so do the inputs of a graph.

    Args:
        purpose: what it is given for; without one, nothing is refused.

    Returns:
        The files, by relative path.

    Raises:
        InvalidField: the folder holds something, or the fit cannot be had in this form.
        UseForbidden, TermsUnknown: a term of what it was made from forbids the purpose, or may.
    """
    from models.export import to_transformers  # here: torch takes a second or two
    from models.onnx_graph import to_onnx

    if target.is_dir() and any(target.iterdir()):
        raise InvalidField("export", "folder", f"is {target}, which is not empty: name another")
    if purpose:
        refuse(warehouse.root, fit.name, sources_of(warehouse, [fit.checkpoint]), purpose)
    with warehouse.scratch("export") as folder:
        whole = folder / "export"
        whole.mkdir()
        card = card_of(warehouse, fit) | ({"purpose": purpose} if purpose else {})
        if form == "onnx":
            card["graph"] = [one._asdict() for one in to_onnx(fit.checkpoint.whole(), whole)]
        else:
            to_transformers(fit.checkpoint.whole(), whole)
        (whole / CARD).write_text(markdown(card), encoding="utf-8")
        shutil.copytree(whole, target, dirs_exist_ok=True)
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
