"""Changes of the keys and constraints of a user's own table of bars, and of its partitions."""

from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.user_tables import Tables

_KEYS = (
    *(
        'PRIMARY KEY (interval_type, symbol_id, "timestamp")',
        'UNIQUE ("timestamp", symbol_id)',
        'UNIQUE (symbol_id, "timestamp", interval_type, volume)',
        "",
    ),
    *(
        'UNIQUE (symbol_id, "timestamp", interval_type) DEFERRABLE INITIALLY DEFERRED',
        'UNIQUE NULLS NOT DISTINCT (symbol_id, "timestamp", interval_type)',
    ),
    *(
        'UNIQUE (symbol_id, "timestamp", interval_type) INCLUDE (volume)',
        'EXCLUDE (symbol_id WITH =, "timestamp" WITH =, interval_type WITH =)',
    ),
    *(
        'UNIQUE (symbol_id, "timestamp", interval_type), UNIQUE (symbol_id, "timestamp")',
        'UNIQUE (symbol_id, "timestamp", interval_type), UNIQUE (volume)',
    ),
    *(
        'UNIQUE (symbol_id, "timestamp", interval_type), EXCLUDE (close_price WITH =)',
        'UNIQUE (symbol_id, "timestamp", interval_type), PRIMARY KEY (data_id)',
    ),
    *(
        'UNIQUE (symbol_id, "timestamp", interval_type), CHECK (high_price - low_price < 1)',
        'UNIQUE (symbol_id, "timestamp", interval_type), CHECK (1/0 = 1)',
    ),
    *('UNIQUE (symbol_id, "timestamp", interval_type), CHECK (volume IS NULL OR volume < 1000)',),
    *('UNIQUE (symbol_id, "timestamp", interval_type), CHECK (is_sound(open_price)) NO INHERIT',),
)


def draw_key(random: Random) -> Change:
    key = random.choice(_KEYS)
    return Change(f"key: {key or 'none'}", lambda t: replace(t, constraints=(key,) if key else ()))


_PARTITIONS = (
    (
        'PARTITION BY RANGE ("timestamp")',
        "CREATE TABLE p1 PARTITION OF market_data FOR VALUES FROM ('2026-06-01') TO ('2026-06-02')",
    ),
    (
        'PARTITION BY RANGE ("timestamp")',
        "CREATE TABLE p1 PARTITION OF market_data FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    ),
    ('PARTITION BY RANGE ("timestamp")', "CREATE TABLE p1 PARTITION OF market_data DEFAULT"),
    ('PARTITION BY RANGE ("timestamp")', "SELECT 1"),
    ("PARTITION BY LIST (interval_type)", "CREATE TABLE p1 PARTITION OF market_data FOR VALUES IN ('30min')"),
    ("PARTITION BY LIST (interval_type)", "CREATE TABLE p1 PARTITION OF market_data FOR VALUES IN ('1d')"),
    (
        "PARTITION BY HASH (symbol_id)",
        "CREATE TABLE p1 PARTITION OF market_data FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    ),
    ("INHERITS (all_bars)", "SELECT 1"),
    ("WITH (fillfactor = 10)", "CREATE TABLE child () INHERITS (market_data)"),
)


def draw_storage(random: Random) -> Change:
    storage, statement = random.choice(_PARTITIONS)

    def apply(tables: Tables) -> Tables:
        bars = {k: v for k, v in tables.bars.items() if k != "data_id"}
        first = ("CREATE TABLE all_bars (note text)",) if "all_bars" in storage else ()
        return replace(
            tables,
            bars=bars,
            storage=storage,
            before=(*tables.before, *first),
            after=(f"PART {statement}", *tables.after),
        )

    return Change(f"bars {storage}; {statement}", apply)


def draw_large_keys(random: Random) -> Change:
    """Keys beyond 32 bits, as systems with one sequence for everything have them."""
    key = random.choice((2**31 - 1, 2**31, 3_000_000_000, 2**62))

    def apply(tables: Tables) -> Tables:
        symbols = {**tables.symbols, "symbol_id": "bigserial PRIMARY KEY"}
        bars = {**tables.bars, "symbol_id": "bigint NOT NULL"}
        statements = [
            f"UPDATE {table} SET symbol_id = {key} WHERE symbol_id = 1" for table in ("market_data", "market_symbols")
        ]
        return replace(tables, symbols=symbols, bars=bars, after=(*tables.after, *statements))

    return Change(f"keys of 64 bits, AAPL is {key}", apply)
