"""Where the token goes, which hosts are trusted, and that sandbox bars never count as bars of the vendor."""

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
from backfill_assets_tests.acceptance.fixed_answer_server import IMPATIENT, Vendor, answering
from backfill_assets_tests.conftest import bars_in

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]


def test_secrets_are_read_from_files(
    user_of: UserOf, sandboxed: Sandboxed, database: Database, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "database").write_text(f"{database_url}\n")
    files = {"EODHD_API_TOKEN_FILE": str(tmp_path / "token"), "DATABASE_URL_FILE": str(tmp_path / "database")}
    sandbox = sandboxed(tokens=frozenset({TOKEN}))
    user = user_of(sandbox, DATABASE_URL="", EODHD_API_TOKEN="", **files)
    user.types("symbols add AAPL")
    assert user.types("run").code == 0
    assert len(bars_in(database, "AAPL")) == 26


def test_status_shows_that_a_token_is_set_but_not_the_token(user_of: UserOf, database_url: str) -> None:
    secret = psycopg.conninfo.make_conninfo(database_url, password="hush-hush")  # noqa: S106 - made up
    user = user_of(DATABASE_URL=secret)
    for form in ("table", "json"):
        said = user.types(f"status --format {form}")
        assert said.code == 0
        assert "***" in said.out
        assert TOKEN not in said.out
        assert "hush" not in said.out + said.err
    assert user.types("status --format json").json["token"] == "***"  # noqa: S105 - that is the point
    assert user.types("status --format json", EODHD_API_TOKEN="").json["token"] is None
    assert "not set" in user.types("status", EODHD_API_TOKEN="").out


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed_and_never_get_the_token(user_of: UserOf, status: int) -> None:
    elsewhere = Vendor()
    with answering(elsewhere) as there:
        away = Vendor(status, b"", {"location": there.replace("127.0.0.1", "localhost") + "/intraday/AAPL.US"})
        with answering(away) as url:
            user = user_of(EODHD_BASE_URL=url, **IMPATIENT)
            user.types("symbols add AAPL")
            said = user.types("run --debug")
    assert said.code == 4
    assert f"redirect ({status}) to localhost; not followed" in said.out
    assert elsewhere.targets == []
    assert TOKEN in "".join(away.targets)  # the vendor itself got the token
    assert TOKEN not in said.out + said.err


def held_host(database: Database) -> list[tuple[str]]:
    with database.transaction() as connection:
        return connection.execute("SELECT host FROM backfill.source_host").fetchall()


def test_bars_of_the_sandbox_and_the_vendor_do_not_mix_in_one_database(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types("symbols add AAPL")
    assert user.types("run").code == 0
    assert held_host(database) == [("127.0.0.1",)]
    before = sandbox.stats()["requests"]
    for command in ("run", "run --force", "symbols sync"):
        said = user.types(command, EODHD_BASE_URL="https://eodhd.com/api")
        assert said.code == 2
        assert "holds bars of 127.0.0.1, and the vendor is now eodhd.com: one database holds the bars" in said.err
        assert "use another database (DATABASE_URL" in said.err
    assert user.types("report", EODHD_BASE_URL="https://eodhd.com/api").code == 0
    assert sandbox.stats()["requests"] == before
    another_port = sandboxed()
    assert user.types("run --force", EODHD_BASE_URL=another_port.base_url.replace("127.0.0.1", "localhost")).code == 0


def test_sandbox_bars_are_not_stored_among_bars_of_the_vendor(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed()
    # a proxy of the vendor: its bars are bars of the vendor
    user = user_of(sandbox, EODHD_SOURCE_HOST="eodhd.com")
    user.types("symbols add AAPL")
    assert user.types("run").code == 0
    assert held_host(database) == [("eodhd.com",)]
    with database.transaction() as connection:
        assert connection.execute("SELECT DISTINCT source FROM market_data").fetchall() == [("eodhd.com",)]
    requests = sandbox.stats()["requests"]
    said = user.types("run --force", EODHD_SOURCE_HOST="")
    assert (said.code, "holds bars of eodhd.com, and the vendor is now 127.0.0.1" in said.err) == (2, True)
    assert sandbox.stats()["requests"] == requests
    assert user.types("run --force").code == 0


def test_mistyped_address_does_not_bind_the_database_to_a_host(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    user = user_of(EODHD_BASE_URL="http://localhost.invalid/api", **IMPATIENT)
    user.types("symbols add AAPL")
    assert user.types("run").code == 6
    assert held_host(database) == []
    assert user.types("run", EODHD_BASE_URL=sandboxed().base_url).code == 0


def test_host_names_of_the_vendor_count_as_one(user_of: UserOf) -> None:
    for url in ("https://eodhd.com/api", "https://www.EODHD.com./api", "https://eodhd.com:443/api"):
        assert user_of(EODHD_BASE_URL=url).types("status --format json").json["vendor"] == "eodhd.com", url
    for url in ("https://eodhd.com.evil.example/api", "https://noteodhd.com/api", "https://evil/eodhd.com"):
        assert user_of(EODHD_BASE_URL=url).types("status --format json").json["vendor"] == urlsplit(url).hostname


@pytest.fixture
def self_signed(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the certificate")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)  # noqa: S607
    return tmp_path


def test_vendor_with_an_untrusted_certificate_gets_no_request(user_of: UserOf, self_signed: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed / "cert.pem", self_signed / "key.pem")
    vendor = Vendor()
    with answering(vendor, tls) as url:
        user = user_of(EODHD_BASE_URL=url, **IMPATIENT)
        user.types("symbols add AAPL")
        refused = user.types("run")
        assert (refused.code, "CERTIFICATE_VERIFY_FAILED" in refused.out) == (6, True)
        assert vendor.targets == []
        # the same machine, vouched for: it is the certificate that was refused
        user.types("run", SSL_CERT_FILE=str(self_signed / "cert.pem"))
        assert TOKEN in "".join(vendor.targets)


def test_the_sandbox_listens_on_this_machine_only(sandboxed: Sandboxed) -> None:
    port = urlsplit(sandboxed().base_url).port
    listening = {c.laddr.ip for c in psutil.Process().net_connections("inet") if c.laddr.port == port}
    assert listening == {"127.0.0.1"}
