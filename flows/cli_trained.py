"""The commands about what was trained: label new clips with it, print its card, give it away."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.app import Device, Json, Lake, command, console_for, print_json, print_rows, warehouse_of
from flows.audit.licence import Purpose
from flows.card import card_of, markdown, page
from flows.clips import Clip, files_below, label_clips
from flows.exporting import Form
from flows.exporting import export as export_fit
from flows.origins import Host
from flows.trained import rule, the_only, trained
from infra.runtime import read_runtime
from warehouse.audit.tombstones import taint_of
from warehouse.errors import MissingFolder

Model = Annotated[
    str,
    typer.Argument(
        help="RECIPE:MODEL of a report of the lake, or a checkpoint's key or digest.", metavar="MODEL"
    ),
]  # fmt: skip
Fold = Annotated[str | None, typer.Option("--fold", help="Only the fits of this fold.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Only the fits of this seed.")]


@command("emolake predict demo:distilled clips/ --json")
def predict(
    model: Model,
    files: Annotated[list[Path], typer.Argument(help="Clips, or folders of clips.", metavar="FILES…")],
    text: Annotated[
        str | None, typer.Option("--text", help="The words of the clip (default: those of a .txt beside it).")
    ] = None,
    asr: Annotated[
        str | None, typer.Option("--asr", help="The feature that hears the words of clips without text.")
    ] = None,
    fold: Fold = None, seed: Seed = None, lake: Lake = None, device: Device = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Label new clips: the class and the probability of each, as the mean of the model's fits."""
    runtime, warehouse, console = read_runtime(), warehouse_of(lake), console_for(as_json)
    fits = trained(warehouse, model, fold, seed)
    found = files_below(files)
    if not found:
        raise MissingFolder("the sound", files[0], "name a clip, or a folder that holds some")
    if text is not None and len(found) > 1:
        raise typer.BadParameter(f"is for one clip, but there are {len(found)}", param_hint="--text")
    host = Host(runtime.weights, Path(), device or runtime.device)
    watch = partial(show.counting, console)
    clips, remarks = label_clips(warehouse, fits, found, host, text=text, recogniser=asr, watch=watch)
    told = [f"{fit.name}: {said}" for fit in fits if (said := taint_of(warehouse.root, fit.checkpoint.key))] + remarks
    if as_json:
        print_json({
            "model": model, "rule": rule(fits), "fits": [fit.as_json() for fit in fits], "remarks": told,
            "clips": [clip.as_json() for clip in clips], "card": card_of(warehouse, fits[0]),
        })  # fmt: skip
    else:
        console.print(rule(fits), soft_wrap=True)
        for sentence in told:
            console.print(sentence, soft_wrap=True)
        rows, columns = clip_rows(clips)
        print_rows(rows, columns, as_json)
    if not any(clip.probabilities for clip in clips):
        raise typer.Exit(1)


def clip_rows(clips: list[Clip]) -> tuple[list[dict[str, object]], list[str]]:
    """The rows and columns of a table of labelled clips; columns in which nothing stands are left out."""
    classes = list(dict.fromkeys(name for clip in clips for name in clip.probabilities))
    rows: list[dict[str, object]] = []
    for clip in clips:
        rounded = {name: f"{p:.3f}" for name, p in clip.probabilities.items()}
        heard = clip.text if clip.text_from == "heard" else ""
        rows.append({
            "file": clip.file, "class": clip.label, **{name: rounded.get(name, "") for name in classes},
            "heard": heard, "why not": clip.failure,
        })  # fmt: skip
    last = [name for name in ("heard", "why not") if any(row[name] for row in rows)]
    return rows, ["file", "class", *classes, *last]


@command("emolake card demo:distilled --fold 1 --out card.html")
def card(
    model: Model, fold: Fold = None, seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it to this file: HTML if it ends so, else Markdown.")
    ] = None,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print the card of a checkpoint: data, protocol, figures, licences, contamination, trace."""
    warehouse = warehouse_of(lake)
    found = card_of(warehouse, the_only(trained(warehouse, model, fold, seed), model))
    if out is not None:
        out.write_text(page(found) if out.suffix in (".html", ".htm") else markdown(found), encoding="utf-8")
    if as_json:
        print_json(found)
    elif out is None:
        print(markdown(found), end="")


@command("emolake export demo:distilled given/ --to onnx --fold 1")
def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="FOLDER")],
    to: Annotated[Form, typer.Option("--to", help="'onnx', or a folder that `transformers` loads.")],
    purpose: Annotated[
        Purpose | None, typer.Option("--for", help="Refuse what the terms of a corpus or a checkpoint forbid.")
    ] = None,
    fold: Fold = None, seed: Seed = None, lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Give a fitted network away: as an ONNX graph or as a folder for `transformers`, with its card.

    A graph that reads text is given with its tokenizer; one that hears sound takes one clip at a time. The card in the
    folder, README.md, lists its inputs.
    """
    warehouse = warehouse_of(lake)
    fit = the_only(trained(warehouse, model, fold, seed), model)
    files = export_fit(warehouse, fit, to, folder, purpose)
    print_rows([{"file": str(folder / name)} for name in files], ["file"], as_json)
