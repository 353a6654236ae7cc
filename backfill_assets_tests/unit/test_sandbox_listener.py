"""Which address a sandbox listens on, and what it says when others can reach it."""

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.server.listener import build_base_url, describe_exposure, open_listener


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")])
def test_sandbox_listens_on_the_address_that_was_asked_for(host: str, shown: str) -> None:
    with open_listener(host, 0) as listener:
        address, port = listener.getsockname()[:2]
        assert (address, build_base_url(listener)) == (host, f"http://{shown}:{port}/api")


def test_taken_port_is_named_with_its_host() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"^the sandbox cannot listen on port {port}: Address already in use"):
            open_listener("127.0.0.1", port)
    with pytest.raises(UsageError, match=r"cannot listen on --host 203\.0\.113\.1: no address of this machine"):
        open_listener("203.0.113.1", 8008)


def test_sandbox_that_others_can_reach_says_what_they_can_do() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert describe_exposure(host, "http://127.0.0.1:8008/api") == []
    warning = (
        "warning: whoever can reach port 8008 can use this sandbox and change its faults and its clock; it checks no"
        " token and does not encrypt, so never send it a real token"
    )
    others = "  from other machines and containers: EODHD_BASE_URL=http://NAME-OF-THIS-MACHINE:8008/api"
    for host in ("0.0.0.0", "::"):  # noqa: S104 - nothing listens there
        assert describe_exposure(host, "http://127.0.0.1:8008/api") == [others, warning]
    assert describe_exposure("10.1.2.3", "http://10.1.2.3:8008/api") == [warning]
