"""What `mfa validate` finds wrong with clips before any model hears them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from features.mfa import invocation
from features.mfa.staging import Stage

_LAB = re.compile(r"(\S*)\.lab")


def validate(command: Path, stage: Stage, limit_s: float) -> dict[str, str]:
    """Name of a clip -> what MFA's validator has to say against it; nothing where it breaks off or hangs.

    Its reports lie in its root folder. Where a clip is in several of them the first one counts.
    """
    arguments = ["validate", str(stage.corpus), str(stage.dictionary), "--ignore_acoustics", "--clean", "-q"]
    invocation.run(command, arguments, stage.root, stage.log, limit_s)
    return read_findings(stage.root)


def read_findings(folder: Path) -> dict[str, str]:
    """Name of a clip -> what a validator's reports in or below a folder say against it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "missing_features.csv").write_text("s/click,0.0,0.01\\n")
        ...     read_findings(Path(folder))
        {'click': 'MFA gets no features from it'}
    """
    found: dict[str, str] = {}
    for file, read in _REPORTS.items():
        for path in sorted(folder.rglob(file)):
            for line in path.read_text("utf-8", "replace").splitlines():
                for name, finding in read(line):
                    found.setdefault(name, finding)
    return found


def _of_features(line: str) -> Iterator[tuple[str, str]]:
    """A line such as 'spk1/click,0.0,0.01'."""
    name = line.rsplit(",", 2)[0]
    if name:
        yield _stem(name), "MFA gets no features from it"


def _of_transcripts(line: str) -> Iterator[tuple[str, str]]:
    """A line such as 'CORPUS/spk1/click.wav'."""
    if line.strip():
        yield _stem(line.strip().removesuffix(".wav")), "MFA finds no transcript of it"


def _of_decoding(line: str) -> Iterator[tuple[str, str]]:
    """A line of an error message that names a transcript."""
    for path in _LAB.findall(line):
        yield _stem(path), "MFA cannot decode its transcript"


def _of_words(line: str) -> Iterator[tuple[str, str]]:
    """A line such as 'spk1/click, spk1: 0.0-3.29: z, o, r,  , 1', which has words letter by letter."""
    name, _, rest = line.partition(", ")
    letters = rest.split(": ", 2)[-1]
    if name and ": " in rest:
        words = "".join(letters.split(", ")).split()
        yield _stem(name), f"out of MFA's vocabulary: {', '.join(map(repr, words))}"


def _stem(path: str) -> str:
    return path.rpartition("/")[2]


_REPORTS: dict[str, Callable[[str], Iterator[tuple[str, str]]]] = {
    "utf8_read_errors.csv": _of_decoding,
    "missing_transcriptions.csv": _of_transcripts,
    "missing_features.csv": _of_features,
    "utterance_oovs.txt": _of_words,
}
"""The reports as MFA 3.4.3 names them."""
