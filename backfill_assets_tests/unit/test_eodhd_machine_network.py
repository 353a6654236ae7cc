"""Proxies and certificates that the environment names: used, or refused without quoting a password."""

from pathlib import Path

import httpx
import pytest

from backfill_assets.eodhd.machine_network import create_tls_context, find_proxy
from backfill_assets.errors import UsageError

VENDOR = httpx.URL("https://eodhd.com/api")
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"all_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "eodhd.com"}, None),
        ({"https_proxy": "nonsense", "no_proxy": "*"}, None),
    ],
)
def test_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(VENDOR) == proxy


@pytest.mark.parametrize("proxy", ["é", "nonsense", "://", "ftp://proxy:21", "socks4://hush", "http://proxy:hush"])
def test_unusable_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UsageError, match="HTTPS_PROXY or ALL_PROXY") as caught:
        find_proxy(VENDOR)
    assert "hush" not in str(caught.value)
    assert "é" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for file in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        with pytest.raises(UsageError, match="SSL_CERT_FILE"):
            create_tls_context()
