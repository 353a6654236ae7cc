"""The recording of a probe: requests without the token, answers and moments, as a JSON file that is read again.

How requests are sent is in ``market_probe``. What answers mean is decided when a recording is judged, so that an old
one can be judged again by a later version.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from backfill_assets.eodhd.eod import parse_eod
from backfill_assets.eodhd.parsing import parse_intraday
from backfill_assets.eodhd.reference import parse_exchange_codes, parse_exchange_hours, parse_symbols
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, LATEST_DATE
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.probe.answers import AnsweredRows, ProbeAnswers
from backfill_assets.market.probe.questions import QuestionKind
from backfill_assets.market.vendor_errors import VendorError

FORMAT = "backfill_assets markets probe"
VERSION = 1


class RecordedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request and what came of it.

    Attributes:
        kind: which endpoint.
        path: below the API's address.
        subject: the ticker or code in it.
        params: the query without token.
        asked_at: when (UTC).
        answer: the vendor's JSON; None: it refused.
        refusal: why, in words; None: it answered.
        calls: what it cost by the account's count before and after; None: not measured.
    """

    kind: QuestionKind
    path: str
    subject: str
    params: dict[str, str | int]
    asked_at: datetime
    answer: Any = None
    refusal: str | None = None
    calls: int | None = None


class ProbeRecording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A probe of one exchange, in the order of the requests."""

    exchange: str
    started_at: datetime
    answers: list[RecordedAnswer]
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True)
class _Parsed:
    """The parsed answers, and those that cannot be parsed, in words."""

    values: list[tuple[RecordedAnswer, Any]]
    refusals: list[tuple[str, str]]


@contextmanager
def create_recording(path: Path) -> Iterator[BinaryIO]:
    """Open a new file before anything is paid for; it is removed again if nothing was written into it.

    Raises:
        UsageError: the file exists, or cannot be created.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise UsageError(f"{path} exists and is never overwritten; name another file with --output") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    try:
        with file:
            yield file
    finally:
        if path.stat().st_size == 0:
            path.unlink()


def write_recording(recording: ProbeRecording, file: BinaryIO) -> None:
    """Write a recording as indented JSON."""
    file.write(msgspec.json.format(msgspec.json.encode(recording), indent=1) + b"\n")


def read_recording(path: Path) -> ProbeRecording:
    """Read a file that ``write_recording`` wrote.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    try:
        recording = msgspec.json.decode(path.read_bytes(), type=ProbeRecording)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--from {path} cannot be read as a recording of markets probe: {reason}") from None
    if recording.format != FORMAT or recording.version != VERSION:
        raise UsageError(f"--from {path} is not a recording of markets probe that this version reads")
    moments = [recording.started_at, *(answer.asked_at for answer in recording.answers)]
    if any(moment.tzinfo is None for moment in moments):
        raise UsageError(f"--from {path} has a moment without a time zone; it was written by something else")
    for answer in recording.answers:
        if answer.kind is QuestionKind.ROWS:
            moments += _read_span(answer, path)
    if not all(EARLIEST_DATE < moment.date() < LATEST_DATE for moment in moments):
        raise UsageError(f"--from {path} has moments outside {EARLIEST_DATE} to {LATEST_DATE}")
    return recording


def _read_span(recorded: RecordedAnswer, path: Path) -> tuple[datetime, datetime]:
    """The first and the last moment that rows were requested of (UTC)."""
    try:
        INTERVALS[str(recorded.params["interval"])]
        first, last = (datetime.fromtimestamp(int(recorded.params[name]), UTC) for name in ("from", "to"))
    except (KeyError, ValueError, OverflowError, OSError):
        raise UsageError(
            f"--from {path}: the request {recorded.path} has no interval, from and to as markets probe writes them"
        ) from None
    return first, last


def parse_recording(recording: ProbeRecording, market: MarketProfile) -> ProbeAnswers:
    """The answers of a recording for ``market``, whose exchange it is of; what cannot be parsed is a refusal."""
    parsed = _parse_all(recording)
    hours = next((item for item in parsed.values if item[0].kind is QuestionKind.HOURS), None)
    codes = (value for recorded, value in parsed.values if recorded.kind is QuestionKind.EXCHANGES)
    return ProbeAnswers(
        market=market,
        now=recording.started_at,
        exchanges=next(codes, None),
        hours=hours[1] if hours else None,
        hours_calls=hours[0].calls if hours else None,
        rows=[_build_rows(recorded, value) for recorded, value in parsed.values if recorded.kind is QuestionKind.ROWS],
        daily=[
            (_drop_exchange(recorded.subject), value)
            for recorded, value in parsed.values
            if recorded.kind is QuestionKind.DAILY
        ],
        refusals=parsed.refusals,
    )


PARSERS: dict[QuestionKind, Callable[[bytes], Any]] = {
    QuestionKind.EXCHANGES: parse_exchange_codes,
    QuestionKind.HOURS: parse_exchange_hours,
    QuestionKind.SYMBOLS: parse_symbols,
    QuestionKind.ROWS: parse_intraday,
    QuestionKind.DAILY: parse_eod,
}


def parse_answer(recorded: RecordedAnswer) -> Any:
    """The parsed answer.

    Raises:
        VendorError: it has another shape.
    """
    return PARSERS[recorded.kind](msgspec.json.encode(recorded.answer))


def _parse_all(recording: ProbeRecording) -> _Parsed:
    parsed = _Parsed([], [])
    for recorded in recording.answers:
        try:
            if recorded.refusal is None:
                parsed.values.append((recorded, parse_answer(recorded)))
            else:
                parsed.refusals.append((_describe(recorded), recorded.refusal))
        except VendorError as error:
            parsed.refusals.append((_describe(recorded), error.message))
    return parsed


def _describe(recorded: RecordedAnswer) -> str:
    interval = recorded.params.get("interval")
    return f"{recorded.path}{f' at {interval}' if interval else ''}"


def _build_rows(recorded: RecordedAnswer, rows: Any) -> AnsweredRows:
    first, last = (datetime.fromtimestamp(int(recorded.params[name]), UTC) for name in ("from", "to"))
    interval = str(recorded.params["interval"])
    return AnsweredRows(_drop_exchange(recorded.subject), interval, first, last, recorded.asked_at, rows)


def _drop_exchange(ticker: str) -> str:
    return ticker.rpartition(".")[0] or ticker
