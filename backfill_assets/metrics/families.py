"""Names the figures for Prometheus: families of samples with base units and few labels; docs/monitoring.md lists them.

Labels are ``exchange``, ``interval``, ``state``, ``purpose`` and ``outcome``, never a ticker, so the number of series
does not grow with the universe. What may fall, such as calls of the day (refunded, and 0 at midnight), is a gauge; only
what never falls is a counter. A figure that is not known has no sample, rather than one that looks like a value.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backfill_assets.metrics.figures import ExchangeFigures, Figures
from backfill_assets.store.service_counts import OPEN

Labels: TypeAlias = Mapping[str, str]
_DOUBT_STATES = (OPEN, "mended", "confirmed", "stands", "decided")
_OUTCOMES = ("finished", "stopped", "failed", "interrupted", "killed")


def build_families(figures: Figures, pass_seconds: float) -> Iterator[Metric]:
    """Every family with its samples; ``pass_seconds`` is how long reading the figures took."""
    yield _build_gauge("backfill_up", "Whether the database answered this pass.", 1)
    yield _build_gauge("backfill_pass_duration_seconds", "How long this pass over the database took.", pass_seconds)
    yield from _build_slot_families(figures.exchanges)
    yield from _build_evidence_families(figures)
    yield from _build_budget_families(figures)
    yield from _build_run_families(figures)
    yield from _build_alert_families(figures)
    yield from _build_look_families(figures)


def build_down_families() -> Iterator[Metric]:
    """What is said when the figures cannot be read."""
    yield _build_gauge("backfill_up", "Whether the database answered this pass.", 0)


def _build_slot_families(exchanges: Iterable[ExchangeFigures]) -> Iterator[Metric]:
    of = [(one, {"exchange": one.exchange, "interval": one.interval}) for one in exchanges]
    yield _build_labelled(
        "backfill_slots",
        "Expected slots of the default window (48 h, at least two sessions), by state.",
        (({**labels, "state": state.name.lower()}, count) for one, labels in of for state, count in one.slots.items()),
    )
    yield _build_labelled(
        "backfill_missing_bars",
        "Bars missing in the default window, as status counts them.",
        ((labels, one.missing) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_symbols_with_missing_bars",
        "Symbols with a bar missing in the default window.",
        ((labels, one.symbols_with_missing) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_oldest_missing_slot_timestamp_seconds",
        "Open of the oldest missing slot of the default window; absent while none is missing.",
        ((labels, _to_epoch(one.oldest_missing_at)) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_history_complete_ratio",
        "Part of the expected bars of months that are over that is there or explained; 1 only if all of them are.",
        ((labels, one.history_share) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_history_missing_bars",
        "Bars that months lack that are over, since the first day of the history.",
        ((labels, one.history_missing) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_newest_bar_timestamp_seconds",
        "Open of the newest slot with a bar.",
        ((labels, _to_epoch(one.newest_bar_at)) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_newest_bar_age_market_seconds",
        "Market time since the end of the newest slot with a bar: only while the exchange is open.",
        ((labels, one.newest_bar_age) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_newest_bar_overdue_market_seconds",
        "Market time by which the newest bar is behind the newest overdue slot; 0 while it is fresh.",
        ((labels, one.overdue_lag) for one, labels in of),
    )
    yield _build_labelled(
        "backfill_symbols",
        "Symbols of the universe, by state.",
        (({"exchange": one.exchange, "state": state}, count) for one, _ in of for state, count in one.symbols.items()),
    )
    yield _build_labelled(
        "backfill_sessions_known",
        "Whether the sessions of the exchange can be told; if not, it has no slots.",
        (({"exchange": one.exchange}, int(one.are_sessions_known)) for one, _ in of),
    )


def _build_evidence_families(figures: Figures) -> Iterator[Metric]:
    codes = [one.exchange for one in figures.exchanges]
    yield _build_labelled(
        "backfill_doubts",
        "Doubts about stored bars of any time: open ones, and ended ones by how they ended.",
        (
            ({"exchange": code, "state": state}, figures.doubts.get((code, state), 0))
            for code in codes
            for state in _DOUBT_STATES
        ),
    )
    yield _build_labelled(
        "backfill_revisions_past_day",
        "Final bars that the vendor changed in the past 24 hours.",
        (({"exchange": code}, figures.revisions.get(code, 0)) for code in codes),
    )
    waiting, optional = figures.decisions
    yield _build_labelled(
        "backfill_decisions",
        "Decisions for a person that are open: those that wait, and optional ones.",
        (({"state": "waiting"}, waiting), ({"state": "optional"}, optional)),
    )


def _build_budget_families(figures: Figures) -> Iterator[Metric]:
    attempts, refused = figures.requests
    yield _build_gauge("backfill_requests_past_day", "Requests to the vendor in the past 24 hours.", attempts)
    yield _build_gauge(
        "backfill_rate_limited_requests_past_day",
        "Requests of the past 24 hours that the vendor refused with 429 (too many requests).",
        refused,
    )
    yield _build_gauge("backfill_spending_paused", "Whether a person has paused all spending.", figures.is_paused)
    if figures.calls is not None:
        yield _build_labelled(
            "backfill_calls_spent_today",
            "Vendor calls of this UTC day, by what they were spent for; refunds are taken off.",
            (({"purpose": purpose}, calls) for purpose, calls in figures.calls.today.items()),
        )
    if (budget := figures.budget) is None:
        return
    yield _build_gauge(
        "backfill_calls_left_today", "Vendor calls that gaps may still spend this UTC day.", budget["calls_left_today"]
    )
    yield _build_gauge(
        "backfill_calls_reset_timestamp_seconds",
        "When the vendor's day ends and calls are there again.",
        datetime.fromisoformat(budget["resets_at"]).timestamp(),
    )
    yield _build_gauge(
        "backfill_calls_used_up",
        "Whether the vendor has said that the calls of this day are used up.",
        budget["used_up"] is not None,
    )
    yield _build_gauge(
        "backfill_requests_left_this_minute",
        "Requests that may still be sent in this rate window.",
        budget["requests_left_this_minute"],
    )


def _build_run_families(figures: Figures) -> Iterator[Metric]:
    ended = {one.outcome: one for one in figures.ended_runs}
    yield _build_gauge("backfill_runs_active", "Runs that are under way on any host.", figures.active_runs)
    runs = CounterMetricFamily("backfill_runs", "Runs that have ended, by outcome.", labels=["outcome"])
    for outcome in dict.fromkeys((*_OUTCOMES, *ended)):
        runs.add_metric([outcome], ended[outcome].count if outcome in ended else 0)
    yield runs
    yield _build_labelled(
        "backfill_last_run_end_timestamp_seconds",
        "When the last run with this outcome ended.",
        (({"outcome": outcome}, one.last_at.timestamp()) for outcome, one in ended.items()),
    )
    if figures.longest_silence is not None:
        yield _build_gauge(
            "backfill_run_silence_seconds",
            "Seconds since the last heartbeat of the unfinished run that has been silent longest.",
            figures.longest_silence,
        )
    processes, oldest_beat = figures.beats
    yield _build_gauge("backfill_run_processes", "Processes that carry out runs of Dagster on any host.", processes)
    if oldest_beat is not None:
        yield _build_gauge(
            "backfill_run_beat_age_seconds",
            "Seconds since the last beat of the process of a Dagster run that has been silent longest.",
            oldest_beat,
        )


def _build_alert_families(figures: Figures) -> Iterator[Metric]:
    yield _build_labelled(
        "backfill_failing_checks",
        "Checks and runs whose alert state is failing, by severity.",
        (({"state": severity}, count) for severity, count in figures.failing.items()),
    )
    if figures.addresses is None:
        return
    yield _build_gauge(
        "backfill_alert_messages_waiting",
        "Alert messages that an address of BACKFILL_ALERT_URLS has not received; the longest of their queues.",
        max((address.pending_messages for address in figures.addresses), default=0),
    )
    yield _build_gauge(
        "backfill_alert_addresses_failing",
        "Addresses of BACKFILL_ALERT_URLS that did not accept the last message.",
        sum(address.failures > 0 for address in figures.addresses),
    )


def _build_look_families(figures: Figures) -> Iterator[Metric]:
    of = [(look, {"exchange": look.exchange, "interval": look.interval}) for look in figures.looks]
    yield _build_labelled(
        "backfill_sensor_last_look_timestamp_seconds",
        "When the gap sensor last looked at the store with success; absent before its first look.",
        ((labels, look.looked_at.timestamp()) for look, labels in of),
    )
    yield _build_labelled(
        "backfill_sensor_missing_bars",
        "Bars that the gap sensor saw missing in all sessions that it watches.",
        ((labels, look.missing) for look, labels in of),
    )
    yield _build_labelled(
        "backfill_sensor_oldest_missing_slot_timestamp_seconds",
        "Open of the oldest missing slot that the gap sensor saw; absent while none is missing.",
        ((labels, _to_epoch(look.oldest_missing_at)) for look, labels in of),
    )


def _build_gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _build_labelled(name: str, help_text: str, samples: Iterable[tuple[Labels, float | None]]) -> Metric:
    """A gauge with a sample for each value that is known."""
    family = Metric(name, help_text, "gauge")
    for labels, value in samples:
        if value is not None:
            family.add_sample(name, dict(labels), float(value))
    return family


def _to_epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
