"""The sentences of operating a lake are the same after they went through another process."""

from __future__ import annotations

import pickle

from warehouse.errors import EmolakeError
from warehouse.operating_errors import FileLost, OtherBytes, StoreFails

URL = "s3://bucket/lake"


def test_a_sentence_says_what_was_asked_what_is_there_and_what_to_do_and_travels() -> None:
    said: dict[EmolakeError, tuple[str, ...]] = {
        OtherBytes(URL, "one.txt", "0123"): (URL, "'one.txt'", "0123", "`emolake verify --deep`"),
        FileLost(URL, "one.txt", "0123"): (f"is not on the store {URL}", "'one.txt'", "0123", "`emolake verify`"),
        StoreFails(URL, "take 'refs/one.json'", 7, "TimeoutError: lost"): (URL, "7 attempts", "lost", "again"),
    }
    for error, words in said.items():
        copied = pickle.loads(pickle.dumps(error))
        assert type(copied) is type(error) and str(copied) == str(error)
        assert [word for word in words if word not in str(error)] == []
