"""Pictures of lineage: layers, boxes, Mermaid, SVG."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from warehouse import Artifact, Request
from warehouse.audit.drawn import Box, Drawing, drawing_of, layers, mermaid, svg
from warehouse.audit.lineage import Graph, graph_among


def made_up(name: str, *inputs: str, kind: str = "raw", step: str = "s") -> Artifact:
    """An artifact of no lake, whose digest is its name."""
    request = Request(kind, step, 1, {"name": name}, {"from": inputs})
    return Artifact(request, {}, name, {}, "2026-01-01T00:00:00.000+00:00", Path("/no/artifacts/raw/key"))


def graph_of(*artifacts: Artifact) -> Graph:
    return graph_among(artifacts, {a.key for a in artifacts})


def test_a_layer_is_the_longest_way_to_what_was_made_from_nothing() -> None:
    a, b, c, d = made_up("a"), made_up("b", "a"), made_up("c", "a", "b"), made_up("d", "c", "a")
    found = layers(graph_of(d, c, b, a))
    assert [found[one.key] for one in (a, b, c, d)] == [0, 1, 2, 3]
    line = [made_up("0"), *(made_up(str(n), str(n - 1)) for n in range(1, 10_000))]
    assert max(layers(graph_of(*line)).values()) == 9_999


def test_what_is_alike_is_one_box_and_no_arrow_goes_back() -> None:
    raws = [made_up(f"r{n}") for n in range(4)]
    features = [made_up(f"f{n}", f"r{n}", kind="features", step="extractors.voice") for n in range(4)]
    deeper = made_up("g", "f0", kind="features", step="extractors.voice")
    drawing = drawing_of(graph_of(*raws, *features, deeper))
    assert [box.lines for box in drawing.boxes] == [
        ("raw ×4", "of s"), ("features ×4", "of extractors.voice"), (f"features {deeper.key[:12]}", "extractors.voice"),
    ]  # fmt: skip
    assert drawing.arrows == [(0, 1, "from", 4), (1, 2, "from", 1)]
    assert len(drawing_of(graph_of(*raws), most=4).boxes) == 4
    assert all(drawing.boxes[a].layer < drawing.boxes[b].layer for a, b, _, _ in drawing.arrows)


HOSTILE = 'a"]; <script>alert(1)</script> --> %% é\x00&'


def test_mermaid_holds_no_character_with_a_meaning() -> None:
    drawing = Drawing([Box("ra<w", HOSTILE, ("k" * 32,), 0), Box("report", "s", ("l", "m"), 1)], [(0, 1, HOSTILE, 2)])
    head, *lines = mermaid(drawing).splitlines()
    assert head == "flowchart LR" and len(lines) == 5
    node = re.compile(r'  n\d+\["[\w ._:\-/×#;]+<br/>[\w ._:\-/×#;]+"\]:::k_\w+')
    assert all(node.fullmatch(line) for line in lines[:2]), lines[:2]
    assert re.fullmatch(r'  n0 -->\|"[\w ._:\-/×#;]+ ×2"\| n1', lines[2])
    assert all(re.fullmatch(r"  classDef k_\w+ fill:.+,stroke:.+,color:#111", line) for line in lines[3:])


@pytest.mark.parametrize("text", [HOSTILE, "long " * 100])
def test_svg_is_xml_with_one_rectangle_per_box_and_escapes_what_it_is_told(text: str) -> None:
    boxes = [Box("raw", text, ("k" * 32,), 0), Box("raw", "b", ("l",), 0), Box("report", "c", ("m", "n"), 1)]
    picture = ElementTree.fromstring(svg(Drawing(boxes, [(0, 2, text, 2), (1, 2, "r", 1)])))
    space = "{http://www.w3.org/2000/svg}"
    groups = picture.findall(f"{space}g")
    places = [(rect.get("x"), rect.get("y")) for group in groups for rect in group.findall(f"{space}rect")]
    assert len(places) == len(set(places)) == 3, "no box on another"
    assert [rect[0] for rect in places] == ["24", "24", "344"]
    assert picture.find(f".//{space}script") is None
    written = [node.text or "" for node in groups[0].findall(f"{space}text")]
    assert written[0] == "raw kkkkkkkkkkkk" and len(written[1]) <= 32
    arrows = [path for path in picture.findall(f"{space}path") if path.get("marker-end")]
    assert len(arrows) == 2 and (arrows[0].findtext(f"{space}title") or "").endswith("×2")


def test_nothing_is_drawn_as_nothing() -> None:
    empty = drawing_of(graph_of())
    assert mermaid(empty) == "flowchart LR\n" and ElementTree.fromstring(svg(empty)).tag.endswith("svg")
