from __future__ import annotations

from pathlib import Path

import pytest

from features.inventory import forked, row_identity, row_key
from flows.origins import Host, Plugin, folder_of, moved, origins_of, plugin_of
from flows.trained import trained
from tests.flows.spoken import Spoken
from warehouse.errors import InvalidField, MissingFolder, VersionDiffers


def host(spoken: Spoken) -> Host:
    return Host(spoken.weights)


def test_inputs_are_made_as_the_shards_were(spoken: Spoken) -> None:
    lake, found = spoken.warehouse, {}
    for model in ("linear", "words", "read", "crossed"):
        [fit, *_] = trained(lake, f"spoken:{model}")
        found[model] = origins_of(lake, fit.checkpoint, host(spoken))
    vector, words = found["linear"]["vector"], found["words"]["audio_states"]
    assert vector.extractor and vector.extractor.step == "extractors.opensmile"
    assert row_key(vector.extractor.step, vector.extractor.plugin) == lake.refs("features")["functionals"]["plugin_key"]
    assert words.aligner and words.aligner.step == "aligners.pocketsphinx"
    assert (words.output, words.tier) == ("frames", "word")
    assert (vector.needs, words.needs, found["read"]["text"].needs) == ({"audio"}, {"audio", "text"}, {"text"})
    assert set(found["crossed"]) == {"wave", "text"}


def test_a_plugin_that_is_not_what_it_was_is_refused(spoken: Spoken) -> None:
    lake = spoken.warehouse
    [fit] = trained(lake, "spoken:linear")
    made = origins_of(lake, fit.checkpoint, host(spoken))["vector"].extractor
    assert made
    identity = row_identity(made.step, made.plugin)
    assert plugin_of(lake, identity, host(spoken)) == made
    fork = plugin_of(lake, identity | {"canary": "feed"}, host(spoken))
    assert row_key(fork.step, fork.plugin) != row_key(made.step, made.plugin)
    with pytest.raises(VersionDiffers, match=r"version 99 of 'extractors.opensmile' is asked for"):
        plugin_of(lake, identity | {"version": 99}, host(spoken))
    with pytest.raises(VersionDiffers, match=r"version 99 of 'features.audio' is asked for"):
        plugin_of(lake, identity | {"audio": 99}, host(spoken))
    reasons = {"provided": "takes the alignment that a corpus ships", "mfa": "told apart by the bytes of files"}
    for step, why in reasons.items():
        with pytest.raises(InvalidField, match=f"cannot be had again: it .*{why}"):
            plugin_of(lake, {"step": f"aligners.{step}", "version": 1, "fields": {}}, host(spoken))


def test_a_checkpoint_is_found_where_it_lies(spoken: Spoken, tmp_path: Path) -> None:
    lake = spoken.warehouse
    [fit] = trained(lake, "spoken:read")
    assert folder_of(lake, fit.checkpoint.digest, Host()) == fit.checkpoint.folder
    digest = lake.refs("weights")["hearer"]["digest"]
    assert folder_of(lake, digest, host(spoken)) == spoken.weights / "hearer"
    with pytest.raises(MissingFolder, match=r"the checkpoint .* is not at .*hearer: set EMOLAKE_WEIGHTS"):
        folder_of(lake, digest, Host(tmp_path, tmp_path))


def test_other_numbers_than_the_models_are_told(spoken: Spoken) -> None:
    lake = spoken.warehouse
    [fit] = trained(lake, "spoken:linear")
    made = origins_of(lake, fit.checkpoint, host(spoken))["vector"].extractor
    assert made and moved(lake, made, "cpu") == ""
    fork = Plugin(made.step, forked(made.plugin, "feed"))
    assert moved(lake, fork, "cpu").startswith("'extractors.opensmile' gives other numbers here than those that")
