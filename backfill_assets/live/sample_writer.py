"""Writes a round to the store: its samples, the provisional bars built from them, and the round's record."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from backfill_assets.live.quote_reader import QuoteReading
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.columns import Columns
from backfill_assets.market.live.provisional_bars import build_provisional_bars
from backfill_assets.market.live.samples import SampleKind, classify_samples, merge_samples
from backfill_assets.market.live.sampling_schedule import FIRST_ROUND_AFTER_OPEN
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL, WriteCounts, write_bars
from backfill_assets.store.bars.interval_spellings import find_interval_spelling
from backfill_assets.store.bars.source_host import bind_source_host
from backfill_assets.store.live.rounds import ReadingCounts, RoundRecord, finish_round
from backfill_assets.store.live.samples import delete_old_live_data, read_samples, record_samples
from backfill_assets.store.live.slots import record_slots
from backfill_assets.store.postgres.connection import Connection

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SampleWriteResult:
    """What became of a round's quotes; the attributes are those of ``live.result.LiveRound``."""

    readings: ReadingCounts
    delay_seconds: float | None
    longest_delay_seconds: float | None
    written: WriteCounts
    no_trade_slots: int


@dataclass(frozen=True, slots=True)
class SampleWriter:
    """Writes one round.

    Attributes:
        session: the sampled session.
        external_symbol_ids: by interval of bars, the symbols whose bars another collector writes.
        vendor_host: the source of the bars.
        now: the time of the round.
        due_at: when the round was due; it identifies the round.
    """

    session: Session
    external_symbol_ids: Mapping[Interval, Set[int]]
    vendor_host: str
    now: datetime
    due_at: datetime

    def write(
        self, connection: Connection, symbols: Sequence[Symbol], samples: "pd.DataFrame", requested_at: datetime
    ) -> SampleWriteResult:
        """Write a sample table within the caller's transaction; ``requested_at`` is the database's time before reading.

        Slots are built from all samples of the session. Only the slots that fresh samples change are written.
        """
        stored_samples = read_samples(connection, [s.symbol_id for s in symbols], self.session)
        kinds = classify_samples(samples, stored_samples, self.session, self.now)
        fresh = samples.loc[kinds == SampleKind.FRESH].astype({"stamp": np.int64})
        record_samples(connection, fresh, self.now)
        written, no_trade_slots = WriteCounts(), 0
        for interval, external_ids in self.external_symbol_ids.items():
            grid = build_slot_grid([self.session], interval)
            previous, slots = (
                build_provisional_bars(stored_samples, grid),
                build_provisional_bars(merge_samples(stored_samples, fresh), grid),
            )
            changed = _select_changed(slots, previous)
            written += self._write_slots(
                connection, changed.loc[~changed["symbol_id"].isin(external_ids)], interval, requested_at
            )
            no_trade_slots += int((slots["volume"] == 0).sum())
        delays = self.now.timestamp() - fresh["stamp"].to_numpy(float)
        return SampleWriteResult(
            readings=_count_readings(kinds, len(symbols)),
            delay_seconds=float(np.median(delays)) if len(delays) else None,
            longest_delay_seconds=float(delays.max()) if len(delays) else None,
            written=written,
            no_trade_slots=no_trade_slots,
        )

    def close_round(self, connection: Connection, reading: QuoteReading, result: SampleWriteResult, calls: int) -> None:
        """Write the round's record; the first round of a session also deletes old live data."""
        record = RoundRecord(
            method=reading.method,
            calls=calls,
            readings=result.readings,
            delay_seconds=result.delay_seconds,
            exchange_failed=reading.exchange_failed,
            error=str(reading.error) if reading.error else None,
        )
        finish_round(connection, self.session.exchange, self.due_at, record)
        if self.due_at <= self.session.open + FIRST_ROUND_AFTER_OPEN:
            delete_old_live_data(connection, self.now)

    def _write_slots(
        self, connection: Connection, slots: "pd.DataFrame", interval: Interval, requested_at: datetime
    ) -> WriteCounts:
        bind_source_host(connection, self.vendor_host)
        # The column source_rows of a bar counts what the bar was built from; for provisional bars, that is samples.
        bars = slots.loc[slots["volume"] > 0].rename(columns={"samples": "source_rows"})
        bars = bars.assign(is_final=False, may_insert=True)
        written = write_bars(
            connection,
            Columns(bars),
            interval=interval,
            spelling=find_interval_spelling(connection, interval),
            source=self.vendor_host,
            source_interval=LIVE_SOURCE_INTERVAL,
            requested_at=requested_at,
        )
        record_slots(connection, slots, interval)
        return sum(written.counts.values(), WriteCounts())


def _select_changed(slots: "pd.DataFrame", previous: "pd.DataFrame") -> "pd.DataFrame":
    compared = slots.merge(previous.astype(slots.dtypes), how="left", indicator=True)
    return slots.loc[(compared["_merge"] == "left_only").to_numpy()]


def _count_readings(kinds: "np.ndarray[tuple[int], np.dtype[np.int8]]", ticker_count: int) -> ReadingCounts:
    counts = np.bincount(kinds, minlength=len(SampleKind)).tolist()
    return ReadingCounts(
        fresh=counts[SampleKind.FRESH],
        repeated=counts[SampleKind.REPEAT],
        other_session=counts[SampleKind.OTHER_SESSION],
        absent=counts[SampleKind.ABSENT],
        broken=counts[SampleKind.BROKEN],
        unanswered=ticker_count - len(kinds),
    )
