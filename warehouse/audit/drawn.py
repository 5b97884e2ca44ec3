"""A lineage graph as a picture: Mermaid for pages that render it, SVG for all others.

What was made in the same way from things as far from raw files is drawn as one box, so that a report that rests on
thousands of artifacts fits a page.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from warehouse.artifact import Artifact
from warehouse.audit.lineage import Graph

MOST = 2
"""Artifacts alike that still get a box each."""


@dataclass(frozen=True)
class Box:
    """Artifacts alike; `layer` counts from the raw files: the longest way there."""

    kind: str
    step: str
    keys: tuple[str, ...]
    layer: int

    @property
    def lines(self) -> tuple[str, str]:
        """What stands in the box.

        Example:
            >>> Box("features", "extractors.opensmile", ("3f2a81", "90bc17"), 2).lines
            ('features ×2', 'of extractors.opensmile')
        """
        n = len(self.keys)
        return (f"{self.kind} ×{n}", f"of {self.step}") if n > 1 else (f"{self.kind} {self.keys[0][:12]}", self.step)


@dataclass(frozen=True)
class Drawing:
    """Boxes, and (from, to, role, of how many edges) between them, by their numbers."""

    boxes: Sequence[Box]
    arrows: Sequence[tuple[int, int, str, int]]


def layers(graph: Graph) -> dict[str, int]:
    """Key -> the length of the longest way to what was made from nothing here."""
    waiting: Counter[str] = Counter()
    users: dict[str, list[str]] = {}
    for user, _, source in graph.edges:
        waiting[user] += 1
        users.setdefault(source, []).append(user)
    found = {a.key: 0 for a in graph.artifacts}
    ready = [key for key in found if not waiting[key]]
    while ready:
        key = ready.pop()
        for user in users.get(key, ()):
            found[user] = max(found[user], found[key] + 1)
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return found


def drawing_of(graph: Graph, most: int = MOST) -> Drawing:
    """Boxes and arrows. Artifacts of one kind and step in one layer are one box where there are more than `most`; as no
    edge stays within a layer, what is drawn has no circle either."""
    layer = layers(graph)
    groups: dict[tuple[int, str, str], list[Artifact]] = {}
    for a in graph.artifacts:
        groups.setdefault((layer[a.key], a.request.kind, a.request.step), []).append(a)
    boxes: list[Box] = []
    for (depth, kind, step), own in sorted(groups.items(), key=lambda group: group[0]):
        keys = [a.key for a in own]
        boxes += [Box(kind, step, tuple(some), depth) for some in ([keys] if len(keys) > most else [[k] for k in keys])]
    number = {key: n for n, box in enumerate(boxes) for key in box.keys}
    count = Counter((number[source], number[user], role) for user, role, source in graph.edges)
    return Drawing(boxes, [(*ends, n) for ends, n in sorted(count.items())])


# -- Mermaid -----------------------------------------------------------------------------------------------------------


def mermaid(drawing: Drawing) -> str:
    """A flowchart, from raw files on the left to what was asked for on the right.

    Source: https://mermaid.js.org/syntax/flowchart.html; characters with a meaning are written as its entity codes.
    """
    lines = ["flowchart LR"]
    for n, box in enumerate(drawing.boxes):
        lines.append(f'  n{n}["{"<br/>".join(map(_entities, box.lines))}"]:::{_word(box.kind)}')
    for source, user, role, n in drawing.arrows:
        lines.append(f'  n{source} -->|"{_entities(_arrow(role, n))}"| n{user}')
    for kind in sorted({box.kind for box in drawing.boxes}):
        fill, line = _colours(kind)
        lines.append(f"  classDef {_word(kind)} fill:{fill},stroke:{line},color:#111")
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Everything but letters, digits and plain punctuation by its number.

    Example:
        >>> _entities('a "b"')
        'a #34;b#34;'
    """
    return "".join(c if c.isalnum() or c in " ._:-/×" else f"#{ord(c)};" for c in text)


def _word(kind: str) -> str:
    return "k_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in kind)


def _arrow(role: str, n: int) -> str:
    return f"{role} ×{n}" if n > 1 else role


# -- SVG ---------------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 236, 40, 84, 18, 24


def svg(drawing: Drawing) -> str:
    """One picture that needs nothing else: a column per layer, an arrow from what was read to what was made of it.

    In a column, boxes stand in the order of the mean height of what they were made from, so that few arrows cross.
    """
    places = _places(drawing)
    width = max((x for x, _ in places), default=0) + _WIDTH + _MARGIN
    height = max((y for _, y in places), default=0) + _HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="#777777"/></marker></defs>',
    ]
    for source, user, role, n in drawing.arrows:
        (x0, y0), (x1, y1) = places[source], places[user]
        start, end, middle = (x0 + _WIDTH, y0 + _HEIGHT / 2), (x1, y1 + _HEIGHT / 2), (x0 + _WIDTH + x1) / 2
        curve = f"M{start[0]},{start[1]} C{middle},{start[1]} {middle},{end[1]} {end[0]},{end[1]}"
        parts.append(
            f'<path d="{curve}" fill="none" stroke="#777777" marker-end="url(#end)">'
            f"<title>{_xml(_arrow(role, n))}</title></path>"
        )
    for box, (x, y) in zip(drawing.boxes, places, strict=True):
        fill, line = _colours(box.kind)
        first, second = (_xml(_shortened(text)) for text in box.lines)
        parts.append(
            f'<g><title>{_xml(" ".join(box.keys[:20]))}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="5" fill="{fill}" stroke="{line}"/><text x="{x + 10}" y="{y + 17}" '
            f'font-weight="bold">{first}</text><text x="{x + 10}" y="{y + 32}">{second}</text></g>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(drawing: Drawing) -> list[tuple[int, int]]:
    """Where each box stands: x by layer, y in the order of what is to its left."""
    sources: dict[int, list[int]] = {}
    for source, user, _, _ in drawing.arrows:
        sources.setdefault(user, []).append(source)
    columns: dict[int, list[int]] = {}
    for n, box in enumerate(drawing.boxes):
        columns.setdefault(box.layer, []).append(n)
    row: dict[int, float] = {}
    for depth in sorted(columns):
        means = {n: sum(row[one] for one in own) / len(own) for n in columns[depth] if (own := sources.get(n, []))}
        ordered = sorted(columns[depth], key=lambda n: (means.get(n, 0.0), n))
        row |= {n: float(position) for position, n in enumerate(ordered)}
    tallest = max(map(len, columns.values()), default=0)
    down = {depth: (tallest - len(own)) / 2 for depth, own in columns.items()}
    return [
        (_MARGIN + box.layer * (_WIDTH + _ACROSS), _MARGIN + int((row[n] + down[box.layer]) * (_HEIGHT + _DOWN)))
        for n, box in enumerate(drawing.boxes)
    ]


def _xml(text: str) -> str:
    """Text as XML may hold it: no control characters, which no reference could write either."""
    return escape("".join(c for c in text if c.isprintable()))


def _shortened(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


_HUES: Mapping[str, int] = {
    "raw": 35, "utterances": 55, "labels": 80, "intervals": 110, "features": 150, "shards": 185, "split": 205,
    "checkpoint": 225, "predictions": 265, "truth": 80, "metrics": 300, "report": 335,
}  # fmt: skip


def _colours(kind: str) -> tuple[str, str]:
    """Fill and line of a kind: the known ones go round the circle in the order of the line."""
    hue = _HUES.get(kind, zlib.crc32(kind.encode()) % 360)
    return f"hsl({hue},70%,92%)", f"hsl({hue},45%,45%)"
