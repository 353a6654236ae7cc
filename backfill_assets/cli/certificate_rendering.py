"""Certificates in a terminal: one that was asked for, a list, and what differs from the stored bars."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backfill_assets.certification.comparison import BarChange, ChangeKind
from backfill_assets.certification.request import CertifiedSession
from backfill_assets.certification.verification import VerifiedCertificate
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.timestamps import format_timestamp, to_datetime
from backfill_assets.market.exchanges.labels import format_exchange_option
from backfill_assets.store.bars.former_values import PricesAndVolume
from backfill_assets.store.certificate_values import Certificate

MAX_NAMES = 5  # of incomplete symbols in a line
MAX_CHANGES = 20  # of a certificate
NO_CERTIFICATES = "no certificates; runs write them when sessions are complete: backfill-assets run"
_OTHER_HOURS = (
    "the calendar, or BACKFILL_MARKETS_FILE, has other hours than when it was certified: if those of now are right,"
    " certify the session again with --accept-changes, else correct the day (docs/markets.md)"
)
_SHOWN_DIGITS = 12  # of a hash
_COLUMNS = ("id", "session", "universe", "kind", "symbols", "bars", "revised", "sha256", "written (UTC)")
_NUMBERS = frozenset(("id", "symbols", "bars", "revised"))


def show_certified_session(console: Console, answer: CertifiedSession) -> None:
    """Print the certificate that stands, or why there is none."""
    if answer.is_certifiable and answer.certificate is not None:
        written = "written" if answer.is_new else "stands already"
        _print(console, f"certificate {answer.certificate.certificate_id} {written}: {describe(answer.certificate)}")
        return
    standing = answer.certificate
    also = f"; certificate {standing.certificate_id} of before stays" if standing else ""
    _print(console, f"not certifiable{also}:")
    for reason in answer.reasons:
        _print(console, f"  {reason}")


def describe(certificate: Certificate) -> str:
    """A certificate in one line."""
    kind = str(certificate.kind)
    if certificate.incomplete:
        more = len(certificate.incomplete) - MAX_NAMES
        names = ", ".join(certificate.incomplete[:MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")
        kind = f"{kind} {names}"
    symbols, bars = format_count(certificate.symbols, "symbol"), format_count(certificate.bars, "bar")
    return (
        f"{certificate.label} {certificate.session_day} {kind} · {symbols} · {bars} ·"
        f" sha256 {certificate.sha256[:_SHOWN_DIGITS]}"
    )


def show_certificates(console: Console, certificates: Sequence[Certificate]) -> None:
    """Print a table of certificates in their order."""
    if not certificates:
        _print(console, NO_CERTIFICATES)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left")
    for one in certificates:
        lacking = f" {len(one.incomplete)}" if one.incomplete else ""
        cells = (
            *(str(one.certificate_id), str(one.session_day), one.label, f"{one.kind}{lacking}"),
            *(f"{one.symbols:,}", f"{one.bars:,}", f"{one.revised_bars:,}" if one.previous_id else ""),
            *(one.sha256[:_SHOWN_DIGITS], f"{one.created_at:%Y-%m-%d %H:%M}"),
        )
        table.add_row(*map(Text, cells))
    console.print(table)


def show_verified(console: Console, verified: Sequence[VerifiedCertificate]) -> None:
    """Print which certificates the stored bars break, and the bars that differ."""
    if not verified:
        _print(console, NO_CERTIFICATES)
        return
    for one in verified:
        if not one.holds:
            show_broken(console, one)
    holding = sum(one.holds for one in verified)
    holds = format_count(holding, "certificate holds", "certificates hold")
    _print(console, f"{holds}, {format_count(len(verified) - holding, 'does not', 'do not')}")


def show_broken(console: Console, one: VerifiedCertificate) -> None:
    """Print a certificate that the stored bars break, with the bars that differ."""
    differing = format_count(len(one.changes), "bar differs", "bars differ")
    newer = f"; certificate {one.newer_id} stands instead" if one.newer_id else ""
    _print(console, f"certificate {one.certificate.certificate_id} does not hold: {describe(one.certificate)}")
    _print(console, f"  {differing}{newer}")
    for change in one.changes[:MAX_CHANGES]:
        _print(console, f"  {_describe_change(change)}")
    if len(one.changes) > MAX_CHANGES:
        _print(console, f"  … and {len(one.changes) - MAX_CHANGES:,} more (--format json shows all)")
    if any(change.is_outside_session for change in one.changes):
        _print(console, f"  {_OTHER_HOURS}")
    foreign = sorted({c.ticker for c in one.changes if not (c.is_revision or c.is_outside_session)})
    if foreign and one.newer_id is None:
        for line in _describe_remedies(one.certificate, foreign):
            _print(console, f"  {line}")


def _describe_remedies(certificate: Certificate, tickers: Sequence[str]) -> list[str]:
    """The commands by which the certificate holds again, or is replaced."""
    day = certificate.session_day
    interval = "" if certificate.interval == DEFAULT_INTERVAL else f" --interval {certificate.interval}"
    exchange = format_exchange_option(certificate.exchange)
    symbols = f" --symbols {','.join(tickers)}" if len(tickers) <= MAX_CHANGES else ""
    return [
        # --verify-existing asks about bars of others only; a change past the triggers leaves a bar this program's.
        f"for the vendor's values: backfill-assets run --force --verify-existing --start {day} --end {day}"
        f"{exchange}{interval}{symbols}",
        f"to certify what is stored: backfill-assets certify {day} --universe {certificate.universe}{exchange}"
        f"{interval} --accept-changes",
    ]


def _describe_change(change: BarChange) -> str:
    start = format_timestamp(to_datetime(change.start))
    if change.is_outside_session:
        return f"{change.ticker} {start} is no slot of the session any more"
    by = "" if change.is_revision else " by something else than this program"
    known = [format_values(values) for values in (change.old, change.new)]
    if change.kind is ChangeKind.GONE:
        known.pop()
    elif change.kind is ChangeKind.ADDED:
        known.pop(0)
    values = f": {' → '.join(known)}" if change.old or change.new else ""
    return f"{change.ticker} {start} {change.kind}{by}{values}"


def format_values(values: PricesAndVolume | None) -> str:
    """Prices and volume of a bar; ``?`` if they are not known any more."""
    if values is None:
        return "?"
    prices = "/".join(f"{price:.12g}" for price in (values.open, values.high, values.low, values.close))
    return f"{prices} × {'unknown volume' if math.isnan(values.volume) else f'{values.volume:,.0f}'}"


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False)
