"""A process of its own that sends messages with Apprise; ``delivering`` starts it and kills it when it takes too long.

Why a process: Apprise and the hundred libraries behind it log addresses (which are secrets), and may hang where no
time-out reaches. What they say goes nowhere; only the lines printed here come back, and those hold no address.
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
    """Send what ``given`` says and tell how each attempt ended.

    ``given`` is JSON: ``[{"url": …, "messages": [{"kind": …, "title": …, "body": …}, …]}, …]``; what is told is a JSON
    line an attempt: ``{"address": index, "message": index, "error": text or null}``. The addresses are worked on side
    by side, the messages of one in order, until one fails.
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
        error = _send_message(service, message) if is_supported else "not an address that Apprise understands"
        with _OUTPUT_LOCK:
            out.write(json.dumps({"address": address, "message": number, "error": error}) + "\n")
            out.flush()
        if error is not None:
            return


def _split_long_messages(service: Any) -> None:
    """Let a message that is longer than the service takes go in pieces, unless the address says otherwise."""
    from apprise import OverflowMode

    for server in service:
        if server.overflow_mode == OverflowMode.UPSTREAM:  # the default: send it whole, to be refused
            server.overflow_mode = OverflowMode.SPLIT


def _send_message(service: Any, message: Mapping[str, str]) -> str | None:
    """Send one message; what went wrong, in words that hold nothing of the address."""
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
    return f"HTTP status {status}" if status else "it cannot be reached, or refuses"


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
