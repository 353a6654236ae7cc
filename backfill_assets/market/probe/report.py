"""What the answers to a probe say about the fields of an exchange's profile. Pure.

Which requests are sent is in ``questions``. Sessions of shares are judged in ``session_report``, with the counts that
learning uses, too; pairs and currencies here. Nothing is set by itself: a person decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from backfill_assets.market.exchanges.profile import (
    DailyEvidence,
    MarketProfile,
    NullVolume,
    VolumeKind,
)
from backfill_assets.market.learning.proposed_settings import (
    MIN_MOVING_SHARE,
    SeenAttribute,
    format_hours,
    format_settings,
)
from backfill_assets.market.probe.answers import ProbeAnswers
from backfill_assets.market.probe.questions import find_christmas
from backfill_assets.market.probe.series_figures import SeriesFigures, count_series
from backfill_assets.market.probe.session_report import list_session_attributes, list_session_facts
from backfill_assets.market.vendor import DailyRows

HALF_HOUR = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The result of a probe.

    Attributes:
        market: the profile that was compared.
        facts: what was found beside the fields, one sentence each.
        attributes: fields of the profile: what is assumed, what was seen, what follows.
    """

    market: MarketProfile
    facts: tuple[str, ...]
    attributes: tuple[SeenAttribute, ...]

    @property
    def settings(self) -> str:
        """The proposed passage of BACKFILL_MARKETS_FILE; empty without any."""
        return format_settings(self.market, self.attributes)


def judge_answers(answers: ProbeAnswers) -> ProbeReport:
    """Compare the answers with the profile."""
    market, series = answers.market, [count_series(answer) for answer in answers.rows]
    if market.is_around_the_clock:
        attributes = [_see_tails(market, series), _see_source(market, series), *_see_volumes(market, series)]
        facts = [_describe_series(figures, has_weekends=False) for figures in series]
    elif market.volume_kind is VolumeKind.NONE:
        attributes = [_see_source(market, series), _see_currency_volume(series)]
        facts = [*_describe_christmas(answers), *(_describe_series(figures, has_weekends=True) for figures in series)]
    else:
        attributes, facts = list_session_attributes(answers), list_session_facts(answers)
    attributes += _see_daily(market, answers.daily)
    return ProbeReport(market, (*_describe_plan(answers), *facts), tuple(attributes))


def _describe_plan(answers: ProbeAnswers) -> Iterable[str]:
    code = answers.market.exchange
    if answers.exchanges is not None:
        holds = "is" if code in answers.exchanges else "is not"
        yield f"{code} {holds} among the {len(answers.exchanges)} exchanges that the vendor lists for this token"
    for subject, refusal in dict.fromkeys(answers.refusals):
        yield f"refused: {subject}: {refusal}"
    if answers.hours_calls is not None:
        yield f"/v2/exchange-details cost {answers.hours_calls} calls by the account's count, at most"


def _see_tails(market: MarketProfile, series: Sequence[SeriesFigures]) -> SeenAttribute:
    assumed = f"a slot is requested {format_hours(market.askable_after or timedelta())} after its end"
    used = [figures for figures in series if figures.interval == market.source_interval]
    ages = sorted(figures.age for figures in used if figures.age is not None)
    if not ages:
        return SeenAttribute("askable_after", assumed, "")
    silent = len(used) - len(ages)
    seen = (
        f"the newest row of {len(ages)} pairs at {market.source_interval} ended {format_hours(ages[0])} to"
        f" {format_hours(ages[-1])} before the request{f'; {silent} had no row' if silent else ''}"
    )
    hours, half = divmod(max(1, ages[0] // HALF_HOUR), 2)
    proposed = f'"{hours}h{"30m" if half else ""}"'
    is_known = "askable_after" not in market.assumed
    return SeenAttribute("askable_after", assumed, seen, None if is_known else proposed)


def _see_source(market: MarketProfile, series: Sequence[SeriesFigures]) -> SeenAttribute:
    """Whether the other interval goes on as long as the one that bars are built from; nothing is proposed."""
    parts = [f"{each.name}: {_describe_age(each)}" for each in series if each.is_recent]
    parts += [
        f"{each.name} from {each.days[0]} on: {each.near_zero_lows:,} lows near 0, {each.zero_prices:,} rows of 0"
        for each in series
        if each.near_zero_lows or each.zero_prices
    ]
    return SeenAttribute("source_interval", f"bars are built from rows of {market.source_interval}", "; ".join(parts))


def _describe_age(figures: SeriesFigures) -> str:
    if figures.age is None:
        return "no row"
    days = figures.age // timedelta(days=1)
    return f"newest {f'{days} days' if days > 1 else format_hours(figures.age)} old"


def _see_volumes(market: MarketProfile, series: Sequence[SeriesFigures]) -> list[SeenAttribute]:
    used = [figures for figures in series if figures.interval == market.source_interval]
    rows, moving, flat, with_volume, fractional, steps = (
        sum(getattr(figures, name) for figures in used)
        for name in ("rows", "null_moving", "null_flat", "with_volume", "fractional", "in_float_steps")
    )
    is_trade = market.null_volume is NullVolume.TRADE
    assumed = "the prices of a row without volume are trades" if is_trade else "a row without volume is a quote"
    kind = f"volumes count {market.volume_kind}"
    if not rows:
        return [SeenAttribute("null_volume", assumed, ""), SeenAttribute("volume_kind", kind, "")]
    null = f"{moving + flat:,} of {rows:,} rows have no volume, {moving:,} of them at moving prices"
    shown = NullVolume.TRADE if moving > MIN_MOVING_SHARE * rows else NullVolume.QUOTE
    proposed = None if shown is market.null_volume or not moving + flat else f'"{shown}"'
    volumes = (
        f"{with_volume:,} rows have a volume, {fractional:,} of them a fraction, {steps:,} are multiples of 1,024,"
        " as sums in a currency were in recorded rows"
    )
    return [SeenAttribute("null_volume", assumed, null, proposed), SeenAttribute("volume_kind", kind, volumes)]


def _see_currency_volume(series: Sequence[SeriesFigures]) -> SeenAttribute:
    parts = [
        f"{name}: {_sum(series, name, 'with_volume'):,} of {_sum(series, name, 'rows'):,} rows have a volume above 0,"
        f" {_sum(series, name, 'null_flat') + _sum(series, name, 'null_moving'):,} none"
        for name in dict.fromkeys(each.name for each in series if each.rows)
    ]
    return SeenAttribute("volume_kind", "volumes count nothing", "; ".join(parts))


def _sum(series: Sequence[SeriesFigures], name: str, figure: str) -> int:
    return sum(getattr(each, figure) for each in series if each.name == name)


def _describe_series(figures: SeriesFigures, *, has_weekends: bool) -> str:
    odd = {
        f"at a weekend, {figures.weekend_moving:,} of them moving": figures.weekend if has_weekends else 0,
        "off the grid": figures.off_grid,
        "at a time that another row has": figures.repeated,
        "without prices": figures.without_prices,
    }
    counted = "".join(f"; {count:,} {what}" for what, count in odd.items() if count)
    return f"{figures.name} from {figures.days[0]} to {figures.days[1]}: {figures.rows:,} rows{counted}"


def _describe_christmas(answers: ProbeAnswers) -> Iterable[str]:
    """Whether rows of the day on which the calendar has no session move."""
    day = find_christmas(answers.now)
    for answer in answers.rows:
        if not answer.first <= day <= answer.last:
            continue
        stamps = answer.rows.timestamp
        start = int(day.timestamp())
        is_there = (stamps >= start) & (stamps < start + 86_400)
        moving = is_there & (answer.rows.high > answer.rows.low)
        yield (
            f"{answer.symbol} {answer.interval} of 25 December {day.year}: {int(is_there.sum()):,} rows,"
            f" {int(moving.sum()):,} of them moving; the calendar has no session then"
        )


def _see_daily(market: MarketProfile, daily: Sequence[tuple[str, DailyRows]]) -> list[SeenAttribute]:
    if not daily:
        return []
    volumes = np.concatenate([rows.volume for _, rows in daily])
    zero, null = int((volumes == 0).sum()), int(np.isnan(volumes).sum())
    weekend = sum(int((~np.is_busday(rows.date)).sum()) for _, rows in daily)
    seen = f"{len(volumes)} daily rows: {zero} with volume 0, {null} with null"
    if weekend:
        seen += f", {weekend} of a Saturday or Sunday"
    evidence = market.daily_evidence
    says = {
        DailyEvidence.VOLUME: "a daily volume of 0, or no daily row, says that nothing traded",
        DailyEvidence.CARRIED_FORWARD: "a daily volume of 0 says that nothing traded; every day has a row",
        DailyEvidence.NOTHING: "daily data say nothing about absent bars",
    }
    is_empty = len(volumes) > 0 and zero + null == len(volumes)
    proposed = f'"{DailyEvidence.NOTHING}"' if is_empty and evidence is not DailyEvidence.NOTHING else None
    return [SeenAttribute("daily_evidence", says[evidence], seen if len(volumes) else "no daily row", proposed)]
