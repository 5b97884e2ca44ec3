"""The commands about what extraction left in the lake: features, and what could not be treated."""

from __future__ import annotations

from flows.app import Json, Lake, command, print_rows, warehouse_of
from flows.feature_list import COLUMNS, failure_list, feature_list


@command("emolake features")
def features(lake: Lake = None, as_json: Json = False) -> None:
    """List what the lake holds of each extractor: rows, failures, hours of sound, bytes."""
    rows = feature_list(warehouse_of(lake))
    print_rows(rows, [*COLUMNS, "key"] if as_json else list(COLUMNS), as_json, none="no feature was extracted yet")


@command("emolake failures")
def failures(lake: Lake = None, as_json: Json = False) -> None:
    """List why utterances could not be treated: step, reason, how many, and the first of them."""
    rows = failure_list(warehouse_of(lake))
    print_rows(rows, ["step", "reason", "utterances", "first"], as_json, none="every utterance could be treated")
