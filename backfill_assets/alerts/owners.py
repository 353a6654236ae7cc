"""Owners of symbol lists: whose addresses are told of alerts about the symbols of a named universe, and of no others.

BACKFILL_ALERT_URLS is told of everything. An address that stands in both gets what BACKFILL_ALERT_URLS gets, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from backfill_assets.alerts.messages import StateChange
from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.universe_names import split_universe_name
from backfill_assets.quality.criteria import MAX_OFFENDERS
from backfill_assets.store.alert_outbox import EVERYTHING
from backfill_assets.store.alert_owners import forget_told, list_told, record_told
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.universes import list_universe_symbols, list_universes


@dataclass(frozen=True, slots=True)
class OwnedUniverse:
    """A universe that somebody owns: how messages are addressed to its owner, its exchange and its tickers now."""

    audience: str
    exchange: str
    tickers: frozenset[str]


def list_owner_addresses(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The addresses of owners, which are secrets, each with the audiences that it belongs to."""
    everything = {url.get_secret_value() for url in settings.alert_urls}
    audiences: dict[str, tuple[str, ...]] = {}
    for entry in settings.alert_owners:
        universe, _, url = entry.get_secret_value().partition("=")
        if url not in everything:
            audiences[url] = (*audiences.get(url, ()), _build_audience(universe))
    return audiences


def read_owned_universes(connection: Connection, settings: Settings) -> list[OwnedUniverse]:
    """The universes with an owner; one that does not exist, or is not collected, has no tickers."""
    owned = []
    for audience in dict.fromkeys(a for all_of in list_owner_addresses(settings).values() for a in all_of):
        exchange, _, name = audience.partition("/")
        universes = [one for one in list_universes(connection, exchange) if one.name == name]
        symbols = [s for one in universes for s in list_universe_symbols(connection, one)]
        owned.append(OwnedUniverse(audience, exchange, frozenset(str(symbol.ticker) for symbol in symbols)))
    return owned


def select_concerned(
    connection: Connection, changes: Sequence[StateChange], standing: Sequence[StateChange], owned: OwnedUniverse
) -> list[StateChange]:
    """What an owner is told of: changes about their symbols, failures that reach them now, and the end of both.

    Args:
        connection: where it is kept who was told of what.
        changes: what everybody is told of.
        standing: failures that go on, of which nobody else is told anything now.
        owned: the owner's symbols.
    """
    told = list_told(connection, owned.audience)
    concerned = [c for c in changes if _concerns(c, owned) or c.observation.name in told]
    concerned += [c for c in standing if _concerns(c, owned) and c.observation.name not in told]
    for change in concerned:
        if change.kind in ("recovered", "no longer judged"):
            forget_told(connection, change.observation.name, owned.audience)
        else:
            record_told(connection, change.observation.name, owned.audience)
    return concerned


def _concerns(change: StateChange, owned: OwnedUniverse) -> bool:
    """Whether a symbol of the universe is named, or may be among those that are not named because they are too many."""
    observation = change.observation
    if observation.passed and not change.new_gaps and not observation.lingering:
        return False
    named = {offender.split()[0].rstrip(":,") for offender in observation.offenders}
    named |= {gap.ticker for gap in change.new_gaps}
    is_of_exchange = observation.exchange in ("", owned.exchange)
    is_cut = len(observation.offenders) >= MAX_OFFENDERS and is_of_exchange and bool(owned.tickers)
    return bool(named & owned.tickers) or is_cut


def _build_audience(universe: str) -> str:
    exchange, name = split_universe_name(universe)
    return f"{exchange or DEFAULT_EXCHANGE}/{name}"


def list_audiences(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Every address, which is a secret, with whose messages it gets: all, or those of its universes."""
    everything = dict.fromkeys((url.get_secret_value() for url in settings.alert_urls), (EVERYTHING,))
    return {**everything, **list_owner_addresses(settings)}
