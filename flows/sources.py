"""What a model's input may be read from, as a recipe writes it.

'text'                       the normalised transcript
'lld', 'teacher.hidden'      a feature's only output, or one of several
'lld@word'                   its means over the words, phones or syllables of the corpus's one aligner
'lld@provided.word'          the same where several aligners align the corpus
'@word', '@provided.word'    the begin and the end of these segments, in seconds
'heard:text', 'heard:lld'    any of these of a corpus that is told again from the model's, here 'heard'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.recipe import AlignEntry

TEXT = "text"
"""The one source that is neither a feature nor an alignment: the normalised transcript."""

TIERS = ("word", "phone", "syllable")


@dataclass(frozen=True)
class Source:
    """A source in its parts; what it does not name is ''."""

    feature: str = ""
    output: str = ""
    aligner: str = ""
    tier: str = ""


def told_source(text: str) -> tuple[str, str]:
    """The corpus told again that a source is read of, '' for the model's own corpus, and the rest of the source.

    Example:
        >>> told_source("heard:bert.hidden@word"), told_source("text")
        (('heard', 'bert.hidden@word'), ('', 'text'))
    """
    told, _, rest = text.rpartition(":")
    return told, rest


def read_source(text: str) -> Source:
    """The parts of a source other than 'text', without the corpus that it is read of.

    Example:
        >>> read_source("hubert.hidden@provided.phone")
        Source(feature='hubert', output='hidden', aligner='provided', tier='phone')
        >>> read_source("@word")
        Source(feature='', output='', aligner='', tier='word')
    """
    left, at, right = text.partition("@")
    feature, _, output = left.partition(".")
    aligner, _, tier = right.rpartition(".")
    return Source(feature, output, aligner, tier or at)  # 'lld@' names a tier, if a strange one


def aligner_of(source: Source, corpus: str, aligners: Mapping[str, AlignEntry]) -> str:
    """The aligner whose segments of a corpus a source means: the one it names, or the only one of that corpus.

    Returns:
        '' where there is none.
    """
    found = [name for name, entry in aligners.items() if corpus in entry.corpora and source.aligner in ("", name)]
    return found[0] if len(found) == 1 else ""
