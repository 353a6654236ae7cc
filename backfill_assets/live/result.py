"""The result of one round of live collection."""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from backfill_assets.config.counts import format_count
from backfill_assets.live.quote_reader import QuoteMethod
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.live.rounds import ReadingCounts

RoundKind: TypeAlias = Literal[
    "sampled", "off", "not offered", "closed", "no symbols", "not due", "out of calls", "paused", "failed"
]


@dataclass(frozen=True, slots=True)
class LiveRound:
    """What one call of the collector did; times are UTC.

    Attributes:
        kind: ``sampled``, or why not: live collection is ``off``, the vendor has ``not offered`` live quotes of the
            exchanges, the market is ``closed`` (outside sampling hours),
            there are ``no symbols`` to sample, the round is ``not due`` or another process collects it, the live budget
            is ``out of calls``, a person ``paused`` spending, or reading ``failed``.
        called_at: time of the call.
        session: the sampled session.
        next_at: when another call may do something; None if unknown.
        seconds_between: time between rounds: the setting, or more if the calls do not suffice.
        method: ``tickers`` or ``exchange``.
        tickers: number of sampled tickers.
        external_tickers: number of tickers left out, because another collector writes their bars.
        calls: price of the round in vendor calls.
        calls_left: calls left in the live budget before the round.
        readings: what was read.
        delay_seconds: from the vendor's timestamp to the round, median of the fresh samples; None without any.
        longest_delay_seconds: the longest of these delays.
        written: what became of the provisional bars built from the session's samples.
        no_trade_slots: slots without trades, as far as the samples show.
        exchanges: those whose quotes are not offered.
        error: the last error; some tickers may have been read nevertheless.
    """

    kind: RoundKind
    called_at: datetime
    session: date | None = None
    next_at: datetime | None = None
    seconds_between: int | None = None
    method: QuoteMethod | None = None
    tickers: int = 0
    external_tickers: int = 0
    calls: int = 0
    calls_left: int = 0
    readings: ReadingCounts = field(default_factory=ReadingCounts)
    delay_seconds: float | None = None
    longest_delay_seconds: float | None = None
    written: WriteCounts = field(default_factory=WriteCounts)
    no_trade_slots: int = 0
    exchanges: tuple[str, ...] = ()
    error: VendorError | None = None

    @property
    def exit_code(self) -> int:
        """Exit code of a process that does only this (docs/design.md, "Exit codes")."""
        return self.error.exit_code if self.kind in {"failed", "paused"} and self.error else 0

    def as_dict(self) -> dict[str, Any]:
        """The round as JSON and as metadata; absent values are left out."""
        written = {f"bars_{name}": count for name, count in asdict(self.written).items() if count}
        plain = {
            "kind": self.kind,
            "at": self.called_at.isoformat(),
            "session": self.session.isoformat() if self.session else None,
            "next_at": self.next_at.isoformat() if self.next_at else None,
            **{name: getattr(self, attribute) for name, attribute in _JSON_FIELDS.items()},
            **{f"samples_{name}": count for name, count in asdict(self.readings).items()},
            **written,
            "error": str(self.error) if self.error else None,
        }
        return {name: value for name, value in plain.items() if value is not None}

    def __str__(self) -> str:
        if self.kind == "sampled":
            bars = self.written.inserted + self.written.updated
            delay = f", {self.delay_seconds / 60:.0f} min old" if self.delay_seconds is not None else ""
            refused = f", {self.written.refused} refused by market_data" if self.written.refused else ""
            return (
                f"{format_count(self.readings.fresh, 'fresh sample')} of {format_count(self.tickers, 'ticker')}{delay}"
                f" · {format_count(bars, 'provisional bar')} written{refused}"
                f" · {format_count(self.calls, 'call')}{f' · {self.error}' if self.error else ''}"
            )
        reasons = {
            "off": "live collection is off (BACKFILL_LIVE)",
            "not offered": f"the vendor has no live quotes of {', '.join(self.exchanges)}; bars come from history",
            "closed": "outside sampling hours (15 min after the open to 30 min after the close)",
            "no symbols": "no symbols to sample: another collector writes "
            f"{format_count(self.external_tickers, 'ticker')}",
            "not due": "no round is due",
            "out of calls": f"a round costs more than the {self.calls_left} calls left of the live budget",
            "paused": str(self.error),
            "failed": f"failed: {self.error or 'the vendor sent no quotes'}",
        }
        return reasons[self.kind] + (f", next at {self.next_at:%H:%M} UTC" if self.next_at else "")


_JSON_FIELDS = {
    "seconds_between": "seconds_between",
    "method": "method",
    "tickers": "tickers",
    "elsewhere": "external_tickers",
    "calls": "calls",
    "calls_left": "calls_left",
    "delay_seconds": "delay_seconds",
    "longest_delay_seconds": "longest_delay_seconds",
    "quiet": "no_trade_slots",
}
