"""Recorded responses are served unchanged."""

import json
import os
import signal
import socket
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.conftest import read_recorded_rows
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS

TLS = ssl.create_default_context()  # made once: httpx makes one per call otherwise
LATER = datetime(2026, 7, 10, tzinfo=UTC)


def build_row(stamp: int, price: float | None) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    volume = None if price is None else 7
    return {"timestamp": stamp, "gmtoffset": 0, "datetime": "2026-06-01 13:30:00", **prices, "volume": volume}


def get(sandbox: Sandbox, path: str, **params: Any) -> httpx.Response:
    return httpx.get(sandbox.base_url + path, params={"api_token": "x", "fmt": "json", **params}, verify=TLS)


def test_recorded_rows_are_served_unchanged(replay_folder: Path) -> None:
    rows_5m, rows_1m = read_recorded_rows("AAPL_5m_2026-06-01"), read_recorded_rows("AAPL_1m_2025-01-15")
    with Sandbox(SandboxConfig(replay=replay_folder, now=LATER)) as sandbox:
        response = get(sandbox, "/intraday/AAPL.US", interval="5m", **{"from": 1780272000})
        assert response.json() == rows_5m
        assert "306.309997" in response.text
        assert '"volume":null' in response.text
        rows = get(sandbox, "/intraday/AAPL.US", interval="1m", **{"from": 1736899200, "to": 1736985599})
        assert [repr(r) for r in rows.json()] == [repr(r) for r in rows_1m]  # 238 stays an int
        part = get(sandbox, "/intraday/AAPL.US", interval="5m", **{"from": 1780343700, "to": 1780344000})
        assert part.json() == rows_5m[-2:]
        assert get(sandbox, "/intraday/MSFT.US", interval="5m").status_code == 404
        assert get(sandbox, "/eod/AAPL.US").status_code == 200
        assert sandbox.world.symbols == ("AAPL",)


def test_files_of_one_ticker_are_combined_up_to_the_clock(tmp_path: Path) -> None:
    (tmp_path / "intraday_BRK-B.US_5m_2026-06-01.json").write_text(
        json.dumps([build_row(1780320600, 500), build_row(1, None)])
    )
    (tmp_path / "intraday_BRK-B.US_5m_2026-06-02.json").write_text(json.dumps([build_row(1780407000, 501.5)]))
    (tmp_path / "README.md").write_text("not a recording")
    with Sandbox(SandboxConfig(replay=tmp_path, now=LATER, clock_rate=0.0)) as sandbox:
        window = {"from": 1780272000, "to": 1780444800}
        rows = get(sandbox, "/intraday/BRK-B.US", interval="5m", **window).json()
        assert [(r["timestamp"], repr(r["open"])) for r in rows] == [(1780320600, "500"), (1780407000, "501.5")]
        sandbox.move_clock(datetime(2026, 6, 2, tzinfo=UTC))
        assert len(get(sandbox, "/intraday/BRK-B.US", interval="5m", **window).json()) == 1
        assert get(sandbox, "/intraday/BRK-B.US", interval="1m", **window).json() == []


def test_invalid_recording_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "intraday_AAPL.US_5m_x.json").write_text("<html>")
    with pytest.raises(UsageError, match=r"AAPL\.US_5m_x\.json"):
        Sandbox(SandboxConfig(replay=tmp_path))
    with pytest.raises(UsageError, match="does not exist"):
        SandboxConfig(replay=tmp_path / "nowhere")


def test_taken_port_is_named_in_the_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)), Sandbox(SandboxConfig(port=port)):
            pass


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_serve_announces_its_url_and_stops_on_a_signal(signal_number: signal.Signals) -> None:
    code = (
        "from backfill_assets.sandbox.config import DataQuirks, SandboxConfig\n"
        "from backfill_assets.sandbox.server.serve import serve\n"
        "config = SandboxConfig(symbols=5, quirks=DataQuirks.build_realistic())\n"
        "serve(config, announce=lambda url: print(url, flush=True))\n"
        "print('stopped')\n"
    )
    command = ["-W", "ignore", "-c", code]
    with start_process(command, os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/user", params={"api_token": "x"}, verify=TLS).status_code == 200
        os.kill(process.pid, signal_number)
        output, errors = process.communicate(timeout=LONGEST_SECONDS)
    assert (process.returncode, output, errors) == (0, "stopped\n", "")
