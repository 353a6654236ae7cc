"""A user's own two tables, their rows and the database around them, as statements that ``tables`` runs."""

from dataclasses import dataclass, field

SYMBOL_COLUMNS = {
    "symbol_id": "serial PRIMARY KEY",
    "symbol": "varchar(10) NOT NULL",
    "company_name": "varchar(255)",
    "exchange": "varchar(20) DEFAULT 'US'",
    "is_active": "boolean DEFAULT true",
    "updated_at": "timestamptz DEFAULT now()",
}
BAR_COLUMNS = {
    "data_id": "bigserial",
    "symbol_id": "integer NOT NULL",
    '"timestamp"': "timestamptz NOT NULL",
    **dict.fromkeys(("open_price", "high_price", "low_price", "close_price"), "numeric(12,6) NOT NULL"),
    "volume": "bigint NOT NULL",
    "interval_type": "varchar(20) NOT NULL DEFAULT '30min'",
    "created_at": "timestamptz DEFAULT now()",
}
PRICES = ("open_price", "high_price", "low_price", "close_price")


@dataclass(frozen=True)
class Tables:
    """Two tables and what surrounds them.

    Attributes:
        symbols, bars: column → its definition.
        constraints: of the table of bars.
        storage: what follows the parenthesis of the table of bars, such as its partitioning.
        before: statements that run first.
        after: statements that run when the rows are there; those that PostgreSQL refuses are left out.
        values: column of ``market_data`` or ``market_symbols`` (``symbol``, ``exchange``, ``is_active``) → the SQL of
            its value in rows whose number ``n`` fits the condition.
        database: options of CREATE DATABASE.
        settings: of the database, NAME = VALUE.
        role: of the commands; "": the superuser.
    """

    symbols: dict[str, str] = field(default_factory=lambda: dict(SYMBOL_COLUMNS))
    bars: dict[str, str] = field(default_factory=lambda: dict(BAR_COLUMNS))
    constraints: tuple[str, ...] = ('UNIQUE (symbol_id, "timestamp", interval_type)',)
    storage: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    values: tuple[tuple[str, str, str], ...] = ()
    database: str = ""
    settings: tuple[str, ...] = ()
    role: str = ""
