"""What must not be written down: passwords, keys and tokens of whoever works on a lake that others will read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from warehouse.audit.errors import SecretToldOn

_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 12  # characters: a shorter value could be any word
_IN_URL = re.compile("://.*(?::|%3a).*@", re.IGNORECASE | re.DOTALL)
_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@:\"]*:[^\s/@\"]+@", re.IGNORECASE)


def refuse_secrets(text: str, what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Lets a text pass that is about to be kept, unless it holds a secret: the value of an environment variable that
    is called like one, or an address with a password in it.

    The hard case is a short value, which is a word like any other: those of fewer than twelve characters, or without
    a digit, are not looked for.

    Args:
        what: as the error calls the text.

    Raises:
        SecretToldOn.

    Example:
        >>> refuse_secrets('{"root": "s3://bucket"}', "the ref", {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7"})
    """
    for name, value in environ.items():
        is_secret = _NAME.search(name) and len(value) >= _SHORTEST and any(char.isdigit() for char in value)
        if is_secret and value in text:
            raise SecretToldOn(what, f"the value of the environment variable {name}")
    if "://" in text and _IN_ADDRESS.search(text):  # which is slow over the digests of a long text
        raise SecretToldOn(what, "an address with a password in it")


def refuse_in_url(url: str) -> None:
    """Refuses the URL of a lake that may have a password in it. Keys have slashes, where a password would end in any
    other address: so whatever stands between a colon and an @ counts.

    Raises:
        SecretToldOn.
    """
    refuse_secrets(url, "the URL of a lake")
    if _IN_URL.search(url):
        raise SecretToldOn("the URL of a lake", "an address with a password in it")
