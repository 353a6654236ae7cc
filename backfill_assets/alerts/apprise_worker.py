"""Separate process that sends messages with Apprise; ``delivery`` starts it and kills it at the timeout.

Why a process: Apprise and the libraries behind it log addresses, which are secrets, and may hang without a timeout.
Their output is discarded. Only the lines printed here are read, and these contain no address.
"""

import json
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import IO, Any

_STATUS_PATTERN = re.compile(r"error=(\d{3})\b")
_OUTPUT_LOCK = Lock()
NOTIFY_TYPES = {"failing": "failure", "still failing": "failure", "given up": "warning", "recovered": "success"}


def main(source: IO[str], out: IO[str]) -> None:
    """Send the messages of ``source`` and write the outcome of each attempt to ``out``.

    ``source`` is JSON: ``[{"url": …, "messages": [{"kind": …, "title": …, "body": …}, …]}, …]``. ``out`` gets one JSON
    line per attempt: ``{"address": index, "message": index, "error": text or null}``. Addresses are handled in
    parallel; the messages of one address in order, until one fails.
    """
    work = json.load(source)
    with ThreadPoolExecutor(max_workers=max(1, len(work))) as pool:
        futures = [pool.submit(_send_in_order, number, task, out) for number, task in enumerate(work)]
    for future in futures:
        future.result()


def _send_in_order(address: int, task: Mapping[str, Any], out: IO[str]) -> None:
    from apprise import Apprise

    service = Apprise()
    is_supported = service.add(task["url"])
    _split_long_messages(service)
    for number, message in enumerate(task["messages"]):
        error = _send_message(service, message) if is_supported else "Apprise does not support this address"
        with _OUTPUT_LOCK:
            out.write(json.dumps({"address": address, "message": number, "error": error}) + "\n")
            out.flush()
        if error is not None:
            return


def _split_long_messages(service: Any) -> None:
    """Split messages that are longer than the service accepts, unless the address sets another overflow mode."""
    from apprise import OverflowMode

    for server in service:
        if server.overflow_mode == OverflowMode.UPSTREAM:  # the default: send it whole; the service would reject it
            server.overflow_mode = OverflowMode.SPLIT


def _send_message(service: Any, message: Mapping[str, str]) -> str | None:
    """Send one message; returns None, or an error that contains nothing of the address."""
    from apprise import NotifyFormat

    result = service.notify(
        body=message["body"],
        title=message["title"],
        notify_type=NOTIFY_TYPES.get(message["kind"], "info"),
        body_format=NotifyFormat.TEXT,
    )
    if result:
        return None
    log_lines = [str(entry) for service_result in result for entry in service_result.logs()]
    status = next((found[1] for line in log_lines if (found := _STATUS_PATTERN.search(line))), None)
    return f"HTTP status {status}" if status else "unreachable, or rejected the message"


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
