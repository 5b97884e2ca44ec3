"""All questions about one report, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.app import Json, Lake, Reference, command, console_for, print_json, warehouse_of
from flows.audit.pages import audit_of
from flows.sections import html_page


@command("emolake audit reports/demo --out audit.html")
def audit(
    reference: Reference,
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("audit.html"),
    deep: Annotated[bool, typer.Option("--deep", help="Hash every file of the lake again.")] = False,
    lake: Lake = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Write a report's audit as one HTML page: origin, reasons, soundness, purges, contamination, licences, changes."""
    warehouse, console = warehouse_of(lake), console_for(as_json)
    with show.counting(console, "hashing" if deep else "reading manifests") as progress:
        title, sections = audit_of(warehouse, reference, deep, progress)
    out.write_text(html_page(title, sections), encoding="utf-8")
    if as_json:
        told = [
            {"title": one.title, "text": one.text, "rows": [dict(zip(one.head, row, strict=True)) for row in one.rows]}
            for one in sections
        ]
        print_json({"page": str(out), "sections": told})
    else:
        console.print(f"{title}: {out}", soft_wrap=True)
