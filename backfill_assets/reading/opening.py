"""The store that a read works with: one that is open already, or the one that the settings name.

Opening it brings its schema to this version, as every command does; a role that may only read opens a store whose
schema is of this version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.store.postgres.database import open_database

EngineOrSettings: TypeAlias = Engine | Settings | None


@contextmanager
def open_source(settings: EngineOrSettings) -> Iterator[Engine]:
    """An open engine as it is; else one over the settings' database, those of the environment for None, closed again.

    Raises:
        UsageError: a setting is invalid, or ``settings`` is something else.
        DatabaseUnavailable: the database cannot be reached or used, or a role that may only read finds an older schema.
    """
    if isinstance(settings, Engine):
        yield settings
        return
    used = load_settings() if settings is None else settings
    if not isinstance(used, Settings):
        raise UsageError(f"settings: give an open Engine, Settings or None, not {type(used).__name__}")
    database = open_database(used)
    try:
        yield Engine(database, used)
    finally:
        database.close()
