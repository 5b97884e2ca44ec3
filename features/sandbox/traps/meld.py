"""What can be wrong with MELD, planted in a copy of its sandbox tree."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from features.releases.meld_release import CUT_AGAIN
from features.sandbox.media import CONTAINER_RATE_HZ, write_film
from features.sandbox.meld import CLIPS, plan
from features.sandbox.traps import misnamed_file

Row = dict[str, str]

_TABLE = "train_sent_emo.csv"


def expected(seed: int = 0, scale: float = 1.0) -> Mapping[str, int]:
    """The counts of the sandbox tree, as its check names them."""
    counts: Counter[str] = Counter()
    clips = plan(seed, scale)
    for split in CLIPS:
        own = [clip for clip in clips if clip.split == split]
        counts.update(f"{clip.emotion}, {split}" for clip in own)
        counts[f"rows, {split}"] = counts[f"clips, {split}"] = len(own)
        counts[f"dialogues, {split}"] = len({clip.dialogue for clip in own})
        counts[f"speakers, {split}"] = len({clip.speaker for clip in own})
    counts["rows"] = counts["clips"] = len(clips)
    counts["speakers"] = len({clip.speaker for clip in clips})
    return counts


def _missing_part(root: Path) -> None:
    shutil.rmtree(root / CLIPS["dev"])


def _malformed_table(root: Path) -> None:
    path = root / "dev_sent_emo.csv"
    path.write_bytes(path.read_bytes().replace(b"Utterance_ID", b"Utterance", 1))


def _duplicate_row(root: Path) -> None:
    rows = _rows(root)
    _write(root, [*rows, rows[0]])


def _missing_clip(root: Path) -> None:
    _clip(root, _rows(root)[0]).unlink()


def _unreadable_clip(root: Path) -> None:
    """Cuts the end off, where an mp4 has its index."""
    clip = _clip(root, _rows(root)[0])
    clip.write_bytes(clip.read_bytes()[:500])


def _no_sound(root: Path) -> None:
    import av

    with av.open(str(_clip(root, _rows(root)[0])), "w") as container:
        picture = container.add_stream("mpeg4", rate=5, width=64, height=36, pix_fmt="yuv420p")
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((36, 64, 3), np.uint8), format="rgb24")))
        container.mux(picture.encode(None))


def _clip_without_line(root: Path) -> None:
    clip = _clip(root, _rows(root)[0])
    shutil.copy(clip, clip.with_name("dia900_utt0.mp4"))


def _long_clip(root: Path) -> None:
    """Sound and line alike, as where the CSV's own times are wrong."""
    _changed(StartTime="00:01:00,000", EndTime="00:01:31,000")(root)
    write_film(_clip(root, _rows(root)[0]), np.zeros((31 * CONTAINER_RATE_HZ, 2), np.float32))


def _renamed(dialogue: int, utterance: int) -> Callable[[Path], None]:
    """Plants a line and clip that users reported, by their name."""

    def plant(root: Path) -> None:
        clip = _clip(root, _rows(root)[0])
        _changed(Dialogue_ID=str(dialogue), Utterance_ID=str(utterance))(root)
        clip.rename(clip.with_name(f"dia{dialogue}_utt{utterance}.mp4"))

    return plant


def _changed(**cells: str) -> Callable[[Path], None]:
    """Plants other cells in the first row of train; '{}' in them is what was there."""

    def plant(root: Path) -> None:
        first, *rest = _rows(root)
        _write(root, [first | {name: cell.replace("{}", first[name]) for name, cell in cells.items()}, *rest])

    return plant


def _short_clip(root: Path) -> None:
    """Sound and line alike: somebody says 'Oh.'"""
    _changed(StartTime="00:01:00,000", EndTime="00:01:00,200")(root)
    write_film(_clip(root, _rows(root)[0]), np.zeros((CONTAINER_RATE_HZ // 5, 2), np.float32))


def _cut_again(root: Path) -> None:
    """The plain twin of another clip of test."""
    plain = sorted(path for path in (root / CLIPS["test"]).iterdir() if path.name.startswith("dia"))[-1]
    shutil.copy(plain, plain.with_name(f"{CUT_AGAIN}{plain.name}"))


def _apple_double(root: Path) -> None:
    clip = _clip(root, _rows(root)[0])
    clip.with_name(f"._{clip.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")


def _older_encoding(root: Path) -> None:
    path = root / _TABLE
    text = path.read_bytes().decode().replace("’", "\x92").replace("\r\n", "\n")
    path.write_bytes(text.encode())


TRAPS: Mapping[str, Callable[[Path], None]] = {
    "misnamed_file": misnamed_file,
    "missing_part": _missing_part,
    "malformed_table": _malformed_table,
    "malformed_row": _changed(EndTime="10:16.059"),
    "duplicate_row": _duplicate_row,
    "unknown_emotion": _changed(Emotion="joyful"),
    "unknown_sentiment": _changed(Sentiment="good"),
    "broken_text": _changed(Utterance="{}\x81"),
    "empty_interval": _changed(StartTime="00:01:00,000", EndTime="00:01:00,000"),
    "missing_clip": _missing_clip,
    "unreadable_clip": _unreadable_clip,
    "no_sound": _no_sound,
    "clip_without_line": _clip_without_line,
    "duration_mismatch": _changed(StartTime="00:01:00,000", EndTime="00:01:20,000"),
    "long_clip": _long_clip,
    "bad_sound": _renamed(793, 0),
    "out_of_step": _renamed(241, 5),
    "short_clip": _short_clip,
    "cut_again": _cut_again,
    "apple_double": _apple_double,
    "older_encoding": _older_encoding,
}
"""Anomaly -> what plants it, and nothing else, in a copy of the sandbox tree."""


def _other_white_space(root: Path) -> None:
    """LF, doubled and no-break spaces, empty lines at the end."""
    raw = (root / _TABLE).read_bytes().replace(b"\r\n", b"\n")
    (root / _TABLE).write_bytes(raw.replace(b" the ", b"  the\xc2\xa0").replace(b"Sr  ", b"Sr ") + b"\n\n")


def _index_and_mark(root: Path) -> None:
    """What pandas and editors leave."""
    header, *lines = (root / _TABLE).read_text(encoding="utf-8").splitlines()
    numbered = [f",{header}", *(f"{number},{line}" for number, line in enumerate(lines))]
    (root / _TABLE).write_text("\n".join(numbered), encoding="utf-8-sig")


def _folders_of_splits(root: Path) -> None:
    for split, folder in CLIPS.items():
        (root / split).mkdir()
        (root / folder).rename(root / split / folder)


def _relatives(root: Path) -> None:
    """The dyadic variant and EmoryNLP's labels, which the same repository holds."""
    for name in ("MELD_Dyadic/train_sent_emo_dya.csv", "emorynlp/emorynlp_train_final.csv"):
        (root / name).parent.mkdir()
        shutil.copy(root / _TABLE, root / name)
    shutil.copytree(root / CLIPS["train"], root / "MELD_Dyadic" / "clips")


HARMLESS: Mapping[str, Callable[[Path], None]] = {
    "other_white_space": _other_white_space,
    "index_and_mark": _index_and_mark,
    "folders_of_splits": _folders_of_splits,
    "relatives": _relatives,
}
"""What public copies have and neither the check nor the reader must mind."""


def _rows(root: Path) -> list[Row]:
    text = (root / _TABLE).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _write(root: Path, rows: list[Row]) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    (root / _TABLE).write_bytes(stream.getvalue().encode())


def _clip(root: Path, row: Row) -> Path:
    return root / CLIPS["train"] / f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4"
