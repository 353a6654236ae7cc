"""The store that a read works with: one that is open already, or the one that the settings name.

Opening it brings its schema to this version, as every command does; a role that may only read opens a store whose
schema is of this version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.calendar_cache import use_calendar_cache
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.store.postgres.database import open_database

EngineOrSettings: TypeAlias = Engine | Settings | None


def resolve_source(settings: EngineOrSettings) -> tuple[Engine | Settings, Settings]:
    """What ``open_source`` is to open, the environment's settings for None, and its settings.

    Opens nothing; calendars are read through the settings' cache from now on.

    Raises:
        UsageError: a setting is invalid, or ``settings`` is something else.
    """
    if isinstance(settings, Engine):
        return settings, settings.settings
    used = load_settings() if settings is None else settings
    if not isinstance(used, Settings):
        raise UsageError(f"settings: give an open Engine, Settings or None, not {type(used).__name__}")
    use_calendar_cache(used)  # before dates are checked against sessions: loading the library takes most of a second
    return used, used


@contextmanager
def open_source(settings: EngineOrSettings) -> Iterator[Engine]:
    """An open engine as it is; else one over the settings' database, those of the environment for None, closed again.

    Raises:
        UsageError: a setting is invalid, or ``settings`` is something else.
        DatabaseUnavailable: the database cannot be reached or used, or a role that may only read finds an older schema.
    """
    source, used = resolve_source(settings)
    if isinstance(source, Engine):
        yield source
        return
    database = open_database(used)
    try:
        yield Engine(database, used)
    finally:
        database.close()
