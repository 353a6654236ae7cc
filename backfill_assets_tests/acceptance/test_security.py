"""Secrets, trusted hosts, and the separation of sandbox bars from vendor bars."""

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import TOKEN, User
from backfill_assets_tests.acceptance.stub_vendor import FAST_RETRIES, StubVendor, serve_stub
from backfill_assets_tests.conftest import read_stored_bars

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]


def test_secrets_are_read_from_files(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "database").write_text(f"{database_url}\n")
    files = {"EODHD_API_TOKEN_FILE": str(tmp_path / "token"), "DATABASE_URL_FILE": str(tmp_path / "database")}
    sandbox = start_sandbox(tokens=frozenset({TOKEN}))
    user = make_user(sandbox, DATABASE_URL="", EODHD_API_TOKEN="", **files)
    user.run_cli("symbols add AAPL")
    assert user.run_cli("run").code == 0
    assert len(read_stored_bars(database, "AAPL")) == 26


def test_status_shows_that_a_token_is_set_but_not_the_token(make_user: MakeUser, database_url: str) -> None:
    secret = psycopg.conninfo.make_conninfo(database_url, password="hush-hush")  # noqa: S106 - made up
    user = make_user(DATABASE_URL=secret)
    for output_format in ("table", "json"):
        result = user.run_cli(f"status --format {output_format}")
        assert result.code == 0
        assert "***" in result.out
        assert TOKEN not in result.out
        assert "hush" not in result.out + result.err
    assert user.run_cli("status --format json").json["token"] == "***"  # noqa: S105 - masked
    assert user.run_cli("status --format json", EODHD_API_TOKEN="").json["token"] is None
    assert "not set" in user.run_cli("status", EODHD_API_TOKEN="").out


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed_and_do_not_receive_the_token(make_user: MakeUser, status: int) -> None:
    redirect_target = StubVendor()
    with serve_stub(redirect_target) as target_url:
        redirecting_vendor = StubVendor(
            status, b"", {"location": target_url.replace("127.0.0.1", "localhost") + "/intraday/AAPL.US"}
        )
        with serve_stub(redirecting_vendor) as url:
            user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
            user.run_cli("symbols add AAPL")
            result = user.run_cli("run --debug")
    assert result.code == 2, "everything is redirected: the address is wrong"
    assert f"redirect ({status}) to localhost; not followed" in result.out
    assert redirect_target.request_paths == []
    assert TOKEN in "".join(redirecting_vendor.request_paths)  # the configured vendor receives the token
    assert TOKEN not in result.out + result.err


def fetch_source_host(database: Database) -> list[tuple[str]]:
    with database.transaction() as connection:
        return connection.execute("SELECT host FROM backfill.source_host").fetchall()


def test_vendor_bars_are_not_stored_among_sandbox_bars(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL")
    assert user.run_cli("run").code == 0
    assert fetch_source_host(database) == [("127.0.0.1",)]
    requests_before = sandbox.stats()["requests"]
    for command in ("run", "run --force", "symbols sync"):
        result = user.run_cli(command, EODHD_BASE_URL="https://eodhd.com/api")
        assert result.code == 2
        assert "holds bars of 127.0.0.1, and the vendor is now eodhd.com: one database holds the bars" in result.err
        assert "use another database (DATABASE_URL" in result.err
    assert user.run_cli("report", EODHD_BASE_URL="https://eodhd.com/api").code == 0
    assert sandbox.stats()["requests"] == requests_before
    another_port = start_sandbox()
    assert user.run_cli("run --force", EODHD_BASE_URL=another_port.base_url.replace("127.0.0.1", "localhost")).code == 0


def test_sandbox_bars_are_not_stored_among_vendor_bars(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    # EODHD_SOURCE_HOST declares the address a proxy of the vendor
    user = make_user(sandbox, EODHD_SOURCE_HOST="eodhd.com")
    user.run_cli("symbols add AAPL")
    assert user.run_cli("run").code == 0
    assert fetch_source_host(database) == [("eodhd.com",)]
    with database.transaction() as connection:
        assert connection.execute("SELECT DISTINCT source FROM market_data").fetchall() == [("eodhd.com",)]
    requests = sandbox.stats()["requests"]
    result = user.run_cli("run --force", EODHD_SOURCE_HOST="")
    assert (result.code, "holds bars of eodhd.com, and the vendor is now 127.0.0.1" in result.err) == (2, True)
    assert sandbox.stats()["requests"] == requests
    assert user.run_cli("run --force").code == 0


def test_unreachable_address_does_not_set_the_source_host(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    user = make_user(EODHD_BASE_URL="http://localhost.invalid/api", **FAST_RETRIES)
    user.run_cli("symbols add AAPL")
    assert user.run_cli("run").code == 6
    assert fetch_source_host(database) == []
    assert user.run_cli("run", EODHD_BASE_URL=start_sandbox().base_url).code == 0


def test_vendor_host_names_are_normalized(make_user: MakeUser) -> None:
    for url in ("https://eodhd.com/api", "https://www.EODHD.com./api", "https://eodhd.com:443/api"):
        assert make_user(EODHD_BASE_URL=url).run_cli("status --format json").json["vendor"] == "eodhd.com", url
    for url in ("https://eodhd.com.evil.example/api", "https://noteodhd.com/api", "https://evil/eodhd.com"):
        assert make_user(EODHD_BASE_URL=url).run_cli("status --format json").json["vendor"] == urlsplit(url).hostname


@pytest.fixture
def certificate_folder(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the certificate")
    arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(["openssl", *arguments.split(), *files], check=True, capture_output=True)  # noqa: S607
    return tmp_path


def test_vendor_with_an_untrusted_certificate_receives_no_request(
    make_user: MakeUser, certificate_folder: Path
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate_folder / "cert.pem", certificate_folder / "key.pem")
    vendor = StubVendor()
    with serve_stub(vendor, tls) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL")
        refused = user.run_cli("run")
        assert (refused.code, "CERTIFICATE_VERIFY_FAILED" in refused.out) == (6, True)
        assert vendor.request_paths == []
        # with a trusted certificate the same server receives the request
        user.run_cli("run", SSL_CERT_FILE=str(certificate_folder / "cert.pem"))
        assert TOKEN in "".join(vendor.request_paths)


def test_sandbox_listens_only_on_localhost(start_sandbox: StartSandbox) -> None:
    port = urlsplit(start_sandbox().base_url).port
    addresses = {c.laddr.ip for c in psutil.Process().net_connections("inet") if c.laddr.port == port}
    assert addresses == {"127.0.0.1"}
