"""From what was read to rows in the store: samples, the provisional bars they make, and the round's record."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from backfill_assets.live.quote_reader import LiveAnswer
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import slot_grid
from backfill_assets.market.live.provisional_bars import provisional_bars
from backfill_assets.market.live.samples import Kind, recognise, united
from backfill_assets.market.live.sampling_schedule import FIRST_AFTER_OPEN
from backfill_assets.store.bars.bar_writer import LIVE, WriteCounts, spelling_in_use, write_bars
from backfill_assets.store.bars.source_host import bind_host
from backfill_assets.store.live.rounds import Readings, finish_round
from backfill_assets.store.live.samples import forget_old_samples, read_samples, record_samples
from backfill_assets.store.live.slots import record_slots
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Symbol


@dataclass(frozen=True, slots=True)
class LiveKept:
    """What became of a round's readings; see ``live_outcome.LiveRound``."""

    readings: Readings
    delay_seconds: float | None
    longest_delay_seconds: float | None
    written: WriteCounts
    quiet: int


@dataclass(frozen=True, slots=True)
class LiveShelf:
    """Where and how a round is kept; ``theirs`` are, per interval of bars, those that another collector writes."""

    session: Session
    theirs: Mapping[Interval, Set[int]]
    host: str
    now: datetime
    due_at: datetime

    def keep(
        self, connection: Connection, symbols: Sequence[Symbol], samples: pd.DataFrame, asked_at: datetime
    ) -> LiveKept:
        """Store a sample table within the caller's transaction; ``asked_at`` is the server's clock before asking.

        Slots are built from all of the session's samples; those that the fresh ones changed are written.
        """
        known = read_samples(connection, [s.symbol_id for s in symbols], self.session)
        kinds = recognise(samples, known, self.session, self.now)
        fresh = samples.loc[kinds == Kind.FRESH].astype({"stamp": np.int64})
        record_samples(connection, fresh, self.now)
        written, quiet = WriteCounts(), 0
        for interval, theirs in self.theirs.items():
            grid = slot_grid([self.session], interval)
            before, slots = provisional_bars(known, grid), provisional_bars(united(known, fresh), grid)
            changed = _changed(slots, before)
            written += self._written(connection, changed.loc[~changed["ticker"].isin(theirs)], interval, asked_at)
            quiet += int((slots["volume"] == 0).sum())
        delays = self.now.timestamp() - fresh["stamp"].to_numpy(float)
        return LiveKept(
            readings=_counted(kinds, len(symbols)),
            delay_seconds=float(np.median(delays)) if len(delays) else None,
            longest_delay_seconds=float(delays.max()) if len(delays) else None,
            written=written,
            quiet=quiet,
        )

    def close_round(self, connection: Connection, answer: LiveAnswer, kept: LiveKept, calls: int) -> None:
        """Write the round's record; a session's first round also drops what is old."""
        finish_round(
            connection,
            self.session.exchange,
            self.due_at,
            method=answer.method,
            calls=calls,
            readings=kept.readings,
            delay_seconds=kept.delay_seconds,
            exchange_failed=answer.exchange_failed,
            error=str(answer.error) if answer.error else None,
        )
        if self.due_at <= self.session.open + FIRST_AFTER_OPEN:
            forget_old_samples(connection, self.now)

    def _written(
        self, connection: Connection, slots: pd.DataFrame, interval: Interval, asked_at: datetime
    ) -> WriteCounts:
        bind_host(connection, self.host)
        bars = slots.loc[slots["volume"] > 0].rename(columns={"ticker": "symbol_id", "samples": "source_rows"})
        counts = write_bars(
            connection,
            bars.assign(is_final=False, may_insert=True),
            interval=interval,
            spelling=spelling_in_use(connection, interval),
            source=self.host,
            source_interval=LIVE,
            asked_at=asked_at,
        )
        record_slots(connection, slots, interval)
        return sum(counts.values(), WriteCounts())


def _changed(slots: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    compared = slots.merge(before.astype(slots.dtypes), how="left", indicator=True)
    return slots.loc[(compared["_merge"] == "left_only").to_numpy()]


def _counted(kinds: "np.ndarray[tuple[int], np.dtype[np.int8]]", tickers: int) -> Readings:
    of = np.bincount(kinds, minlength=len(Kind)).tolist()
    return Readings(
        fresh=of[Kind.FRESH],
        repeated=of[Kind.REPEAT],
        other_session=of[Kind.OTHER_SESSION],
        absent=of[Kind.ABSENT],
        broken=of[Kind.BROKEN],
        unanswered=tickers - len(kinds),
    )
