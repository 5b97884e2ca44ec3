"""What can be wrong with IEMOCAP, planted in a copy of its sandbox tree, and what must not be taken for wrong."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from features.releases.iemocap_counts import tally
from features.sandbox.iemocap import plan
from features.sandbox.traps import misnamed_file

_DIALOGUE = "Ses01F_impro01"
_TWIN = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def expected(seed: int = 0, scale: float = 1.0) -> Mapping[str, int]:
    """The counts of the sandbox tree, as its check names them."""
    dialogues = plan(seed, scale)
    spoken = [turn for dialogue in dialogues for turn in dialogue.turns]
    names = [turn.name for turn in spoken]
    judged = [(turn.name, turn.label, f"{turn.text} {turn.tag}") for turn in spoken]
    return tally(judged, names, [dialogue.name for dialogue in dialogues], names)


def _missing_session(root: Path) -> None:
    shutil.rmtree(root / "Session4")


def _missing_folder(root: Path) -> None:
    shutil.rmtree(root / "Session1" / "sentences" / "ForcedAlignment")


def _missing_dialogue(root: Path) -> None:
    for path in [*(root / "Session1").rglob(f"*{_DIALOGUE}*")]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def _incomplete_dialogue(root: Path) -> None:
    _said(root).unlink()


def _stray_file(root: Path) -> None:
    """A single rater's file one folder too high: it has the utterances' names and another form."""
    folder = _judged(root).parent
    shutil.copy(folder / "Categorical" / f"{_DIALOGUE}_e2_cat.txt", folder)


def _apple_double(root: Path) -> None:
    path = _said(root)
    path.with_name(f"._{path.name}").write_bytes(_TWIN)


def _dangling_link(root: Path) -> None:
    _wav(root).with_name("more.wav").symlink_to("../gone.wav")


def _unknown_id(root: Path) -> None:
    _append(_judged(root), "[900.0000 - 901.0000]\tSes09F_impro99_M003\tang\t[2.5000, 3.5000, 3.0000]\n")


def _foreign_id(root: Path) -> None:
    """Moves the first block, with what belongs to it, to the file of another dialogue."""
    path = _judged(root)
    header, block, rest = path.read_text().split("\n\n", 2)
    path.write_text(f"{header}\n\n{rest}")
    other = next(one for one in sorted(path.parent.glob("Ses*.txt")) if one != path)
    _append(other, f"{block}\n\n")


def _second_summary(root: Path) -> None:
    path = _judged(root)
    _append(path, path.read_text().split("\n\n")[1] + "\n\n")


def _second_transcription(root: Path) -> None:
    _append(_said(root), f"{_first(root)} [001.0000-002.0000]: Something else.\n")


def _summary(pattern: str, replacement: str) -> Callable[[Path], None]:
    """Plants another first summary line: in it, what `pattern` finds is replaced."""

    def plant(root: Path) -> None:
        header, block, rest = _judged(root).read_text().split("\n\n", 2)
        summary, *raters = block.split("\n")
        changed = "\n".join([re.sub(pattern, replacement, summary, count=1), *raters])
        _judged(root).write_text(f"{header}\n\n{changed}\n\n{rest}")

    return plant


def _rating(pattern: str, replacement: str) -> Callable[[Path], None]:
    """Plants another line of a rater of the first turn, who changes no majority."""

    def plant(root: Path) -> None:
        path = _judged(root)
        path.write_text(re.sub(pattern, replacement, path.read_text(), count=1))

    return plant


def _longer_span(root: Path) -> None:
    path = _judged(root)
    end = re.search(r" - (\d+\.\d+)\]", path.read_text())
    path.write_text(path.read_text().replace(end[1], f"{float(end[1]) + 0.3:.4f}", 1))  # type: ignore[index]


def _missing_dimension(root: Path) -> None:
    path = _judged(root)
    path.write_text(re.sub(r"dom  \d;", "dom  ;", path.read_text(), count=1))


def _majority_differs(root: Path) -> None:
    """Three external raters agree on what the summary does not say."""
    path = _judged(root)
    header, block, rest = path.read_text().split("\n\n", 2)
    block = re.sub(r"(C-E\d:\t)[^\t]*", r"\1Disgust;", block)
    path.write_text(f"{header}\n\n{block}\n\n{rest}")


def _summary_without_wav(root: Path) -> None:
    _wav(root).unlink()


def _summary_without_transcription(root: Path) -> None:
    path = _said(root)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(_first(root))))


def _wav_without_summary(root: Path) -> None:
    path = _judged(root)
    header, _, rest = path.read_text().split("\n\n", 2)
    path.write_text(f"{header}\n\n{rest}")


def _transcription_without_summary(root: Path) -> None:
    _append(_said(root), f"{_DIALOGUE}_M900 [001.0000-002.0000]: Nobody recorded this.\n")
    for path in [*_table(root, "wdseg").parent.glob(f"{_first(root)}.*")]:  # aligned, so that this is all it lacks
        shutil.copy(path, path.with_name(f"{_DIALOGUE}_M900{path.suffix}"))


def _unreadable_wav(root: Path) -> None:
    _wav(root).write_bytes(b"RIFX" + _wav(root).read_bytes()[4:])


def _truncated_wav(root: Path) -> None:
    _wav(root).write_bytes(_wav(root).read_bytes()[:-1000])


def _wav_format(root: Path) -> None:
    """Half the rate, and half the frames: it lasts as long."""
    raw = _wav(root).read_bytes()
    frames = b"".join(raw[at : at + 2] for at in range(44, len(raw) - 1, 4))
    head = raw[:24] + struct.pack("<II", 8000, 16_000) + raw[32:40] + struct.pack("<I", len(frames))
    _wav(root).write_bytes(head + frames)


def _unreadable_recording(root: Path) -> None:
    _recording(root).write_bytes(b"")


def _short_recording(root: Path) -> None:
    """Cut off after a second, as where a download broke."""
    _recording(root).write_bytes(_recording(root).read_bytes()[: 44 + 16_000 * 4])


def _missing_alignment(root: Path) -> None:
    _table(root, "phseg").unlink()


def _stray_alignment(root: Path) -> None:
    path = _table(root, "wdseg")
    shutil.copy(path, path.with_name(f"{_DIALOGUE}_M900.wdseg"))


def _unparsable_alignment(root: Path) -> None:
    path = _table(root, "phseg")
    path.write_text(path.read_text().replace(" SIL", " "))


def _alignment_disorder(root: Path) -> None:
    """A hole: the second row is gone."""
    path = _table(root, "wdseg")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))


def _alignment_misfit(root: Path) -> None:
    """The last row, before the total, is gone."""
    path = _table(root, "wdseg")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3] + lines[-1:]))


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "misnamed_file": misnamed_file,
    "missing_session": _missing_session,
    "missing_folder": _missing_folder,
    "missing_dialogue": _missing_dialogue,
    "incomplete_dialogue": _incomplete_dialogue,
    "stray_file": _stray_file,
    "apple_double": _apple_double,
    "dangling_link": _dangling_link,
    "unparsable_summary": _summary(r"\t\[.*", ""),
    "unparsable_rating": _rating(r"C-E2:\t", "C-E2: "),
    "unknown_emotion": _summary(r"\t[a-z]{3}\t", "\tjoy\t"),
    "unknown_id": _unknown_id,
    "foreign_id": _foreign_id,
    "second_summary": _second_summary,
    "second_transcription": _second_transcription,
    "empty_span": _summary(r"\[([\d.]+) - [\d.]+\]", r"[\1 - \1]"),
    "dimension_outside": _summary(r"\[[\d.]+,", "[5.5000,"),
    "missing_dimension": _missing_dimension,
    "unknown_category": _rating(r"(C-F1:\t)[^\t]*", r"\1Bliss;"),
    "majority_differs": _majority_differs,
    "summary_without_wav": _summary_without_wav,
    "summary_without_transcription": _summary_without_transcription,
    "wav_without_summary": _wav_without_summary,
    "transcription_without_summary": _transcription_without_summary,
    "unreadable_wav": _unreadable_wav,
    "truncated_wav": _truncated_wav,
    "wav_format": _wav_format,
    "duration_mismatch": _longer_span,
    "unreadable_recording": _unreadable_recording,
    "short_recording": _short_recording,
    "missing_alignment": _missing_alignment,
    "stray_alignment": _stray_alignment,
    "unparsable_alignment": _unparsable_alignment,
    "alignment_disorder": _alignment_disorder,
    "alignment_misfit": _alignment_misfit,
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree."""


def _crlf(root: Path) -> None:
    for path in (_judged(root), _said(root)):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def _lines_without_id(root: Path) -> None:
    _append(_said(root), f"M: Hm.\nF: [LAUGHTER]\n{_DIALOGUE}_FXX0 [001.0000-002.0000]: Oh: no.\n")
    _append(_said(root), f"{_DIALOGUE}_MXX1 [002.0000-003.0000]: Oh.\n")


def _ratings_below(root: Path) -> None:
    folder = _judged(root).parent
    for name in (f"Self-evaluation/{_DIALOGUE}_f1_cat.txt", f"Categorical/{_DIALOGUE}_e9_cat.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{_first(root)} :Frustration; :Anger; ()\n")
    (folder / "Self-evaluation" / f"{_DIALOGUE}_f1.anvil").write_bytes("<?xml?><é/>".encode("latin-1"))


def _old_code_page(root: Path) -> None:
    path = _judged(root)
    path.write_bytes(path.read_bytes().replace(b"\t()", "\t(fâchée)".encode("latin-1"), 1))


def _byte_order_mark(root: Path) -> None:
    for path in (_judged(root), _said(root)):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def _other_white_space(root: Path) -> None:
    _judged(root).write_text(_judged(root).read_text().replace("]\n", "] \n").replace("\n\n", "\n"))
    _said(root).write_text(_said(root).read_text().replace(" [0", "\t [0").replace("\n", "  \n"))


def _stray_semicolons(root: Path) -> None:
    path = _judged(root)
    path.write_text(re.sub(r"(C-E2:\t)", r"\1; ", path.read_text()))


HARMLESS: Mapping[str, Callable[[Path], None]] = {
    "crlf": _crlf,
    "lines_without_id": _lines_without_id,
    "ratings_below": _ratings_below,
    "old_code_page": _old_code_page,
    "stray_semicolons": _stray_semicolons,
    "byte_order_mark": _byte_order_mark,
    "other_white_space": _other_white_space,
}
"""What public copies have and a check must not mind. Dialogues with a suffix are in the sandbox tree already."""


def _judged(root: Path) -> Path:
    return root / "Session1" / "dialog" / "EmoEvaluation" / f"{_DIALOGUE}.txt"


def _said(root: Path) -> Path:
    return root / "Session1" / "dialog" / "transcriptions" / f"{_DIALOGUE}.txt"


def _first(root: Path) -> str:
    return _judged(root).read_text().split("\t")[1]


def _recording(root: Path) -> Path:
    return root / "Session1" / "dialog" / "wav" / f"{_DIALOGUE}.wav"


def _wav(root: Path) -> Path:
    return root / "Session1" / "sentences" / "wav" / _DIALOGUE / f"{_first(root)}.wav"


def _table(root: Path, kind: str) -> Path:
    return root / "Session1" / "sentences" / "ForcedAlignment" / _DIALOGUE / f"{_first(root)}.{kind}"


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)
