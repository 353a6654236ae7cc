"""The heartbeat: a request to an address of the user after each healthy look, so that silence alarms elsewhere.

Services such as healthchecks.io and Uptime Kuma, or a Prometheus push gateway, alarm when it stops. What a healthy look
is decides the alert sensor. The address is a secret: who has it can keep the alarm silent.
"""

from backfill_assets.config.settings import Settings

TIMEOUT_SECONDS = 5.0
FIRST_FAILURE_STATUS = 300  # a redirect is not followed: its target is none that the user chose


def send_heartbeat(settings: Settings) -> str | None:
    """Call the heartbeat's address, if there is one; returns what went wrong, without the address, or None.

    The text of the answer is not read, however long it is.
    """
    if settings.heartbeat_url is None:
        return None
    import httpx  # slow to load, and few have this address

    from backfill_assets.eodhd.redaction import TokenRedactor

    try:
        with TokenRedactor(settings.heartbeat_url):  # httpx logs addresses
            address = settings.heartbeat_url.get_secret_value()
            with httpx.stream("GET", address, timeout=TIMEOUT_SECONDS) as response:
                status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"BACKFILL_HEARTBEAT_URL cannot be reached ({type(error).__name__})"
    if status >= FIRST_FAILURE_STATUS:
        return f"BACKFILL_HEARTBEAT_URL answers with status {status}"
    return None
