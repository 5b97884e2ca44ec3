from __future__ import annotations

import os
from pathlib import Path

import pytest

from warehouse import Request, Warehouse
from warehouse.audit.errors import SecretToldOn
from warehouse.secrets import refuse_in_url, refuse_secrets

KEY = "wJalrXUtnFEMI/K7MDENG"
NAMES = ("AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY", "HF_TOKEN", "database_password", "X_CREDENTIALS")


def write(folder: Path) -> None:
    (folder / "a").write_text("a")


@pytest.mark.parametrize("name", NAMES)
def test_the_value_of_a_secret_is_told_by_the_name_of_its_variable(name: str) -> None:
    with pytest.raises(
        SecretToldOn, match=f"the ref would hold the value of the environment variable {name}, "
    ) as told:
        refuse_secrets(f'{{"root": "https://host/?key={KEY}"}}', "the ref", {name: KEY})
    assert KEY not in str(told.value)


@pytest.mark.parametrize("address", ["s3://me:s3cret@host/x", "https://:pw@host", "postgresql+asyncpg://u:p@h:5432/d"])
def test_an_address_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(SecretToldOn, match="the ref would hold an address with a password in it, for"):
        refuse_secrets(f'{{"root": "{address}"}}', "the ref", {})


@pytest.mark.parametrize(
    "text",
    ["https://host:8080/a@b", "s3://bucket/key", "mail me@host", "12:30 // me@host", "a://b", "see http://x: y@z"],
)
def test_other_addresses_pass(text: str) -> None:
    refuse_secrets(text, "the ref", {})


def test_the_url_of_a_lake_may_have_no_password_with_slashes_either() -> None:
    for url in ("s3://bucket/lake", "file:///a@b/lake", "https://host:8080/lake"):
        refuse_in_url(url)
    for url in ("s3://AKIA:ab/cd+ef@bucket/lake", "s3://AKIA%3Aab/cd@bucket"):
        with pytest.raises(SecretToldOn, match="the URL of a lake would hold an address with a password") as told:
            refuse_in_url(url)
        assert "AKIA" not in str(told.value)


def test_words_and_other_variables_pass() -> None:
    environ = {"API_KEY": "short1", "SECRET_SCANNING": "not-required", "PATH": KEY, "EMPTY_TOKEN": ""}
    refuse_secrets(f"short1 not-required {KEY}", "the ref", environ)


def test_no_secret_reaches_the_lake(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, KEY)
    artifact = lake.materialize(Request("raw", "features.raw", 1, {"a": 1}), write)
    lake.set_ref("corpora/x", {"root": "/corpora/x"})
    told = b"".join(path.read_bytes() for path in lake.root.rglob("*") if path.is_file())
    assert not [value for name, value in os.environ.items() if name in NAMES and value.encode() in told]
    with pytest.raises(SecretToldOn, match=r"the manifest of 'features\.raw' would hold the value of .*AWS_SECRET"):
        lake.materialize(Request("raw", "features.raw", 1, {"a": KEY}), write)
    with pytest.raises(SecretToldOn, match=r"the manifest of 'features\.raw' would hold"):
        lake.materialize(Request("raw", "features.raw", 1, {"a": 2}), write, beside={"cost": {"account": KEY}})
    with pytest.raises(SecretToldOn, match="the name 'corpora/x' would hold"):
        lake.set_ref("corpora/x", {"root": f"/corpora/{KEY}"})
    assert lake.artifacts() == [artifact] and lake.ref("corpora/x") == {"root": "/corpora/x"}
