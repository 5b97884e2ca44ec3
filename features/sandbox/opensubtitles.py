"""A miniature OpenSubtitles in both layouts of OPUS: a Moses text with its translation and ids, and XML documents with
their alignment."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from features.sandbox.sentences import sentence

MOSES, DOCUMENTS = "moses", "documents"
TEXT, TRANSLATION, IDS = (f"OpenSubtitles.en-zh_cn.{side}" for side in ("en", "zh_cn", "ids"))
ALIGNMENT = "en-zh_cn.xml.gz"

ODD = {
    "adverts": ("Subtitles by a friend", "- Sync and corrections: a friend", "Visit www.example.org today"),
    "nothing said": ("[door slams]", "♪ La la la ♪", "( laughs )", "JOHN:"),
    "of two speakers": ("- Is it you? - No.", "- Who? - Me, of course."),
    "duplicates": ("- Yes.", "Yes.", "<i>Yes.</i>"),
}
"""Fate of a line, as the check calls it -> lines."""

FILMS = ("1968/62622/5157083", "1968/62622/5157099", "1968/63001/77", "1994/110912/3")
"""Documents; two of them are of one film."""

N_LINES = 60
"""Of a document."""


def plan(seed: int) -> list[tuple[str, str, str]]:
    """(document, fate, line) of each line. The first 'Yes.' of all is kept."""
    choose = random.Random(f"{seed} opensubtitles")
    lines = [("kept", FILMS[0], "Yes.")]
    for document in FILMS:
        for _ in range(N_LINES):
            number = len(lines)
            if choose.random() < 0.75:
                mood = choose.choice(("neutral", "sad", "angry", "happy"))
                words = sentence(mood, True, choose)
                line = f"{words[:-1]}, and this was line {number}{words[-1]}"
                lines.append(("kept", document, f"- {line}" if choose.random() < 0.3 else line))
            else:
                fate = choose.choice(sorted(ODD))
                lines.append((fate, document, choose.choice(ODD[fate])))
    return [(document, fate, line) for fate, document, line in lines]


def expected(layout: str, seed: int = 0) -> Mapping[str, int]:
    """The counts of a tree, as its check names them."""
    what = "lines" if layout == MOSES else "sentences"
    lines = plan(seed)
    fates = Counter(f"{what}, {fate}" for _, fate, _ in lines)
    none = dict.fromkeys((f"{what}, {fate}" for fate in ("not UTF-8", "evaluation lines", "not aligned")), 0)
    counts = {what: len(lines), **fates, **none}
    return counts | {"documents": len(FILMS)} | ({"films": 3} if layout == DOCUMENTS else {})


def write(root: Path, seed: int = 0) -> None:
    """Writes both layouts, each in a folder of its own; the same bytes for the same seed."""
    _write_moses(root / MOSES, seed)
    _write_documents(root / DOCUMENTS, seed)


def _write_moses(root: Path, seed: int) -> None:
    root.mkdir(parents=True)
    lines = plan(seed)
    ids, numbers = [], Counter[str]()
    for document, _, _ in lines:
        numbers[document] += 1
        number = numbers[document]
        ids.append(f"en/{document}.xml.gz\tzh_cn/{document}9.xml.gz\t{number}\t{number} {number + 1}")
    _write_text(root / TEXT, [line for _, _, line in lines])
    _write_text(root / TRANSLATION, [f"第 {number} 行" for number in range(len(lines))])
    _write_text(root / IDS, ids)


def _write_documents(root: Path, seed: int) -> None:
    links = []
    for position, document in enumerate(FILMS):
        own = [line for name, _, line in plan(seed) if name == document]
        path = root / "xml" / "en" / f"{document}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = _document(document, own, is_tokenised=position % 2 == 1).encode()
        if position == 2:
            path.write_bytes(raw)
        else:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        pairs = [f'<link id="SL{n}" xtargets="{n};{n}" />' for n in range(1, len(own) + 1) if n % 5]
        pairs.append('<link id="SL0" xtargets=";1" />')
        links.append(
            f'<linkGrp targType="s" fromDoc="en/{document}.xml.gz" toDoc="zh_cn/{document}9.xml.gz">'
            + "".join(f"\n  {pair}" for pair in pairs)
            + "\n</linkGrp>"
        )
    text = '<?xml version="1.0" encoding="utf-8"?>\n<cesAlign version="1.0">\n' + "\n".join(links) + "\n</cesAlign>\n"
    (root / ALIGNMENT).write_bytes(gzip.compress(text.encode(), mtime=0))


def _document(name: str, lines: list[str], is_tokenised: bool) -> str:
    """Every third sentence without times; where times begin and end in different sentences, as they may."""
    told = []
    for number, line in enumerate(lines, start=1):
        start, end = (f'<time id="T{number}{side}" value="00:{number // 60:02d}:{number % 60:02d},{ms}" />'
                      for side, ms in (("S", "100"), ("E", "900")))  # fmt: skip
        words = escape(line)
        if is_tokenised:
            words = "".join(f'<w id="{number}.{n}">{escape(w)}</w>' for n, w in enumerate(_tokens(line), start=1))
        told.append(f'  <s id="{number}">{start if number % 3 else ""}{words}{end if number % 4 else ""}</s>')
    body = "\n".join(told)
    meta = "<meta><source><year>1968</year></source></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<document id="{name}">\n  {meta}\n{body}\n</document>\n'


def _tokens(line: str) -> list[str]:
    """Words and their last mark apart."""
    tokens = []
    for word in line.split():
        plain = word.rstrip(".,!?") if word[0].isalpha() else word
        tokens += [plain, word[len(plain) :]] if plain != word else [word]
    return tokens


def _write_text(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
