"""Miniature corpora in the published layouts, spoken by a synthesiser: anyone can run the demo and the tests.

<root>/IEMOCAP_full_release/   five sessions, ten speakers
<root>/MELD.Raw/               train, dev and test clips
<root>/films/<title>/          soundtracks in video containers, with subtitles
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from features.sandbox import films, iemocap, meld
from warehouse.errors import NotASandbox
from warehouse.in_progress import is_left, unfinished

VERSION = 1
"""Raised when the same seed gives other bytes."""

MARKER = "sandbox.json"


def write(
    root: Path, seed: int = 0, progress: Callable[[int, int], None] | None = None, scale: float = 1.0
) -> dict[str, Path]:
    """Writes the sandbox, or finds it written.

    All of it appears at once: it is written beside `root` and renamed, so a killed process leaves nothing there.
    The same seed and scale give the same bytes in every file.

    Args:
        progress: called with (utterances spoken, utterances in all).
        scale: 1 is the demo's; smaller has fewer utterances, but all sessions, speakers and emotions.

    Returns:
        Corpus name -> the root of its tree: 'iemocap', 'meld', 'films'.

    Raises:
        NotASandbox: `root` holds something else; it is left as it is.
    """
    trees = {"iemocap": root / iemocap.FOLDER, "meld": root / meld.FOLDER, "films": root / films.FOLDER}
    marker = {"version": VERSION, "seed": seed, "scale": scale}
    if _holds(root, marker):
        return trees
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise NotASandbox(root, f"seed {seed} and scale {scale:g}")
    scratch = _scratch(root)
    try:
        _write(scratch, seed, scale, progress)
        (scratch / MARKER).write_text(json.dumps(marker) + "\n")
        os.replace(scratch, root)
    except OSError:
        if not _holds(root, marker):  # else another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return trees


def _holds(root: Path, marker: dict[str, int | float]) -> bool:
    found = root / MARKER
    return found.is_file() and json.loads(found.read_bytes()) == marker


def _write(root: Path, seed: int, scale: float, progress: Callable[[int, int], None] | None) -> None:
    dialogues, clips, titles = iemocap.plan(seed, scale), meld.plan(seed, scale), films.plan(seed, scale)
    n_all = sum(len(one.turns) for one in dialogues) + len(clips) + sum(len(film.lines) for film in titles)
    n_done = 0

    def spoke() -> None:
        nonlocal n_done
        n_done += 1
        if progress:
            progress(n_done, n_all)

    iemocap.write(root / iemocap.FOLDER, dialogues, seed, spoke)
    meld.write(root / meld.FOLDER, clips, seed, spoke)
    films.write(root / films.FOLDER, titles, seed, spoke)


def _scratch(root: Path) -> Path:
    """An own empty folder beside `root`; those of processes that died go."""
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{root.name}.writing-"
    for left in root.parent.glob(f"{prefix}*"):
        if is_left(Path(left.name.removeprefix(prefix))):
            shutil.rmtree(left, ignore_errors=True)
    scratch = root.parent / f"{prefix}{unfinished()}"
    scratch.mkdir()
    return scratch
