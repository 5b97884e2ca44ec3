"""Pages made of texts that somebody else chose: whatever a corpus, a recipe or a lake says stays text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any
from xml.parsers import expat

import pyarrow as pa
import pytest
from markupsafe import Markup

from flows.report import html_report
from flows.sections import Section, html_page
from tests.flows.reported import LOSO, content_of, prediction, uttered
from tests.sparing import first
from warehouse.audit.drawn import Box, Drawing, mermaid, svg
from warehouse.schema import UTTERANCES

HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror=alert(1)>'",
    "--><script>alert(1)</script><!--",
    "]]></style></svg><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}<script>alert(1)</script>",
    "javascript:alert(1)//<a href='javascript:alert(1)'>",
)


class Tags(HTMLParser):
    """Every tag, and every attribute that runs or fetches something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.active: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            fetches = name in ("src", "href", "xlink:href", "action", "formaction", "srcdoc", "data")
            if name.startswith("on") or (fetches and not (value or "").startswith("#")):
                self.active.append(f"{tag} {name}={value}")


def is_harmless(text: str) -> bool:
    """Nothing runs, nothing is fetched, no comment ends early."""
    found = Tags(text)
    return not found.active and not found.tags & {"script", "iframe", "object", "embed", "img", "a", "base", "form"}


def reported(text: str) -> dict[str, Any]:
    """A report in which everything that comes from data is this text."""
    classes = [text, "sad"]
    rows = [
        prediction(text, text, 0, number, label, text) | {"classes": classes, "probabilities": [0.6, 0.4]}
        for number, label in enumerate(classes * 3)
    ]
    utterances = [uttered(text, n, 1.0 + n, text) | {"utterance_id": f"{text}-{n}"} for n in range(4)]
    protocol = LOSO | {"id": text, "title": text, "classes": classes, "citation": text, "metrics": ["uar", "accuracy"]}
    step = {"key": text, "digest": text, "note": text}
    return content_of(
        title=text, recipe=text, predictions=pa.Table.from_pylist(rows), protocols={text: protocol},
        utterances=pa.Table.from_pylist(utterances, schema=UTTERANCES),
        labels=pa.table({"utterance_id": [f"{text}-{n}" for n in range(4)], "value": (classes * 2)}),
        failures=[{"input_id": "x", "utterance_id": text, "step": text, "reason": text}],
        trace=[{"what": "metric", **step}, {"what": text, **step}], caveats=[text],
        histories={text: {text: "epoch,train_loss,train_label,dev_loss,kept\n1,1.2,1.2,1.1,0\n2,0.9,0.9,1,1\n"}},
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # these names are longer than the figures
@pytest.mark.parametrize("text", first(2, HOSTILE))
def test_a_report_of_hostile_texts_is_harmless_and_says_them(text: str) -> None:
    told = html_report(reported(text))
    assert is_harmless(told)
    title = "".join(re.findall(r"<h1>(.*?)</h1>", told))
    assert html.unescape(title) == text, "it is said, and no template of its own is filled in"


@pytest.mark.parametrize("text", first(2, HOSTILE))
def test_explanations_of_hostile_tokens_are_harmless(text: str) -> None:
    attention = {"layer": text, "asks": "words", "asked": "words", "words": [text] * 2, "weights": [[0.5, 0.5]] * 2}
    told = {
        "utterance_id": text,
        "told": text,
        "tokens": [text] * 2,
        "importance": [1.0, 2.0],
        "attention": [attention],
    }
    stream = {"told": text, "stream": text, "share": 1.0, "mean_tokens": 2.0, "sd_tokens": 0.0, "n": 1}
    explained = {"model": text, "n_fits": 1, "dominance": [stream], "layers": {text: [1.0]}, "utterances": [told]}
    page = html_report(reported("plain") | {"explanations": [explained]})
    assert is_harmless(page) and "answers so" in page


@pytest.mark.parametrize("text", first(2, HOSTILE))
def test_sections_of_hostile_texts_are_harmless(text: str) -> None:
    """What cards and audits are made of."""
    page = html_page(text, [Section(text, [text], (text, "b"), [(text, 1)])])
    assert is_harmless(page) and page.count("alert(1)") >= 5


@pytest.mark.parametrize("text", first(2, HOSTILE))
def test_a_drawing_of_hostile_names_is_harmless(text: str) -> None:
    boxes = [Box(text, text, (text,), 0), Box(text, text, (text, "b"), 1)]
    drawing = Drawing(boxes, [(0, 1, text, 2)])
    expat.ParserCreate().Parse(svg(drawing), True)
    assert is_harmless(html_page("t", [Section("t", figure=Markup(svg(drawing)))]))
    assert "<script" not in mermaid(drawing)
