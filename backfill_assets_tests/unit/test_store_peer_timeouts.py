"""Timeouts are added to an address, and what it names itself stays."""

import pytest
from psycopg import conninfo

from backfill_assets.store.postgres.peer_timeouts import (
    CLIENT_PARAMETERS,
    SERVER_SETTINGS,
    add_client_parameters,
    add_server_settings,
)

URL = "postgresql://me:a%40b@db.example:6543/bars?sslmode=require"


def read_options(url: str) -> str:
    return str(conninfo.conninfo_to_dict(add_server_settings(url))["options"])


def test_an_address_without_timeouts_gets_all() -> None:
    parts = conninfo.conninfo_to_dict(add_server_settings(add_client_parameters(URL)))
    options = " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items())
    assert parts == {**conninfo.conninfo_to_dict(URL), **CLIENT_PARAMETERS, "options": options}


def test_parameters_of_the_address_stay() -> None:
    parts = conninfo.conninfo_to_dict(add_client_parameters(f"{URL}&keepalives_idle=77&tcp_user_timeout=0"))
    assert (parts["keepalives_idle"], parts["tcp_user_timeout"], parts["keepalives_count"]) == ("77", "0", "3")


@pytest.mark.parametrize(
    "given",
    [
        "-c tcp_user_timeout=7s",
        "-ctcp_user_timeout=7s",
        "--tcp-user-timeout=7s",
        "-c TCP_USER_TIMEOUT=0",
        "-c search_path=a\\ b --tcp_user_timeout = 7s",
    ],
)
def test_options_of_the_address_stay(given: str) -> None:
    url = conninfo.make_conninfo(URL, options=given)
    options = read_options(url)
    assert options.startswith(f"{given} -c ")
    assert options.lower().replace("-", "_").count("tcp_user_timeout") == 1


def test_options_of_the_environment_stay_unless_the_address_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=64MB")
    assert read_options(URL).startswith("-c work_mem=64MB -c ")
    assert "work_mem" not in read_options(conninfo.make_conninfo(URL, options=""))


def test_nothing_is_added_to_an_address_out_of_a_service_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the address has itself would hide what the file has."""
    for add in (add_client_parameters, add_server_settings):
        assert add("service=bars") == "service=bars"
    monkeypatch.setenv("PGSERVICE", "bars")
    assert add_server_settings(URL) == URL
