"""Written text again from text that was cut into words and marks."""

from __future__ import annotations

import re

_BEFORE_MARK = re.compile(r"\s+(?=[,.;:!?…%)\]]+(?:\s|$|[\"'”’]))")
_AFTER_MARK = re.compile(r"(?<=[(\[¿¡])\s+")
_COLLOQUIAL = re.compile(r"\b(?:(?:wan|gon) na|got ta)\b", re.IGNORECASE)
_CONTRACTION = re.compile(r"\s+(?=(?:n['’]t|['’](?:s|m|d|re|ve|ll))\b)", re.IGNORECASE)


def untokenised(text: str) -> str:
    """Marks stand at the word they belong to, and contractions are one word.

    Quotation marks stay where they are, because nothing says whether one opens or closes; so do dashes.

    Example:
        >>> untokenised("I do n't wan na know ( yet ) , Mr. [PERSON] ...")
        "I don't wanna know (yet), Mr. [PERSON]..."
    """
    joined = _CONTRACTION.sub("", _AFTER_MARK.sub("", _BEFORE_MARK.sub("", text)))
    return _COLLOQUIAL.sub(lambda match: match[0].replace(" ", ""), joined)
