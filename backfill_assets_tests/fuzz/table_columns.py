"""Changes of the columns, keys and storage of a user's own two tables."""

from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.user_tables import BAR_COLUMNS, PRICES, SYMBOL_COLUMNS, Tables

_TYPES: dict[str, tuple[str, ...]] = {
    "symbols symbol_id": (
        *(
            "bigserial PRIMARY KEY",
            "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "smallserial PRIMARY KEY",
            "text PRIMARY KEY",
        ),
        *(
            "integer PRIMARY KEY",
            "serial UNIQUE",
            "serial",
            "numeric PRIMARY KEY",
            "key_number PRIMARY KEY",
            "uuid PRIMARY KEY",
        ),
    ),
    "symbols symbol": (
        *(
            "text",
            "varchar(4)",
            "char(10) NOT NULL",
            'text COLLATE "C"',
            "symbol_text NOT NULL",
            "text UNIQUE",
            "name",
            "text[]",
        ),
        *("text NOT NULL CHECK (symbol ~ '^[A-M]')", "bytea", "text DEFAULT 'X'"),
    ),
    "symbols exchange": (
        *(
            "text",
            "varchar(1)",
            "varchar(20) NOT NULL",
            "varchar(20) DEFAULT 'NASDAQ'",
            "venue",
            "char(5) DEFAULT 'US'",
            "integer",
        ),
        *("text GENERATED ALWAYS AS ('US') STORED", "text CHECK (exchange <> 'US')"),
    ),
    "symbols is_active": (
        *("boolean", "boolean NOT NULL", "boolean DEFAULT false", "integer DEFAULT 1", "text DEFAULT 'yes'", "bit(1)"),
        "boolean GENERATED ALWAYS AS (true) STORED",
    ),
    "symbols updated_at": (
        "timestamp",
        "timestamptz NOT NULL",
        "date",
        "text",
        "timestamptz GENERATED ALWAYS AS ('2026-01-01Z') STORED",
    ),
    "bars symbol_id": (
        *(
            "bigint NOT NULL",
            "integer",
            "smallint NOT NULL",
            "text NOT NULL",
            "numeric NOT NULL",
            "key_number NOT NULL",
        ),
        *(
            "integer NOT NULL REFERENCES market_symbols",
            "integer NOT NULL REFERENCES market_symbols DEFERRABLE INITIALLY DEFERRED",
        ),
    ),
    'bars "timestamp"': (
        *(
            "timestamptz",
            "timestamptz(0) NOT NULL",
            "timestamp NOT NULL",
            "date NOT NULL",
            "bigint NOT NULL",
            "moment NOT NULL",
        ),
        "timestamptz NOT NULL CHECK (\"timestamp\" < '2026-06-02T15:00Z')",
    ),
    "bars volume": (
        *(
            "bigint",
            "integer NOT NULL",
            "numeric",
            "numeric(20,2) NOT NULL",
            "numeric(5,0)",
            "real",
            "text",
            "money",
            "count_number",
        ),
        *(
            "bigint NOT NULL CHECK (volume > 500000)",
            "bigint CHECK (volume % 2 = 0)",
            "double precision",
            "numeric(4,-2)",
        ),
    ),
    "bars interval_type": (
        *(
            "text",
            "varchar(2) NOT NULL",
            "char(5) NOT NULL",
            "length_of_bars NOT NULL",
            "interval NOT NULL",
            "smallint",
            "text NOT NULL DEFAULT '1800'",
        ),
        "text NOT NULL CHECK (interval_type = '30min')",
    ),
    "bars data_id": (
        "bigint GENERATED ALWAYS AS IDENTITY",
        "uuid DEFAULT gen_random_uuid() PRIMARY KEY",
        "smallserial PRIMARY KEY",
        "bigint",
        "integer NOT NULL",
    ),
}
_PRICE_TYPES = (
    *(
        "numeric",
        "numeric(12,4) NOT NULL",
        "numeric(5,2)",
        "numeric(7,4) NOT NULL",
        "double precision",
        "real NOT NULL",
        "money",
        "price",
    ),
    *(
        "integer",
        "text",
        "numeric(10,-1)",
        "double precision CHECK (open_price < 158)",
        "numeric(12,6) CHECK (low_price > 1000)",
        "numeric(3,0)",
    ),
    *("numeric(1000,500)", "double precision NOT NULL DEFAULT 0", "numeric(12,6) CHECK (high_price > low_price + 0.5)"),
)
_EXTRA_COLUMNS = (
    *(
        "venue text NOT NULL",
        "venue text DEFAULT 'é'",
        "spread numeric GENERATED ALWAYS AS (high_price - low_price) STORED",
        "source text",
    ),
    *(
        "source varchar(3)",
        "source integer",
        "source text NOT NULL",
        "source text DEFAULT 'me'",
        "source text CHECK (source = 'me')",
    ),
    *(
        "source_interval char(1)",
        "source_interval text NOT NULL DEFAULT '5m'",
        "source_rows smallint CHECK (source_rows > 6)",
    ),
    *(
        "source_rows text",
        "source_rows numeric",
        "is_final boolean DEFAULT false",
        "is_final integer",
        "is_final boolean NOT NULL",
    ),
    *(
        "fetched_at timestamp",
        "fetched_at timestamptz DEFAULT now()",
        "fetched_at timestamptz NOT NULL",
        "fetched_at date",
    ),
    *(
        "x integer DEFAULT 1/0",
        "x integer NOT NULL DEFAULT nextval('numbers')",
        "x jsonb DEFAULT '{}'",
        "stamp timestamptz",
        "symbol text",
    ),
    *(
        '"Volume" bigint',
        '"select" text',
        '"a b" text',
        '"ü" text',
        "vwap numeric(12,6)",
        "x xid DEFAULT '1'",
        "ctid_ text",
        "outcome text",
        "spelling text",
    ),
)


def draw_type(random: Random) -> Change:
    place = random.choice((*_TYPES, "bars prices", "bars prices"))
    table, _, column = place.partition(" ")
    definition = random.choice(_PRICE_TYPES if column == "prices" else _TYPES[place])
    columns = random.choice((PRICES, PRICES, (random.choice(PRICES),))) if column == "prices" else (column,)
    return Change(
        f"{table}.{','.join(columns)} {definition}",
        lambda t: _set_columns(t, table, dict.fromkeys(columns, definition)),
    )


def _set_columns(tables: Tables, table: str, columns: dict[str, str]) -> Tables:
    return replace(tables, **{table: {**getattr(tables, table), **columns}})


def draw_absent_column(random: Random) -> Change:
    table, columns = random.choice((("symbols", SYMBOL_COLUMNS), ("bars", BAR_COLUMNS), ("bars", BAR_COLUMNS)))
    column = random.choice(list(columns))
    return Change(
        f"{table} without {column}",
        lambda t: replace(t, **{table: {k: v for k, v in getattr(t, table).items() if k != column}}),
    )


def draw_extra_column(random: Random) -> Change:
    table = random.choice(("symbols", "bars", "bars", "bars"))
    name, definition = _split_definition(random.choice(_EXTRA_COLUMNS))
    return Change(f"{table} with {name} {definition}", lambda t: _set_columns(t, table, {name: definition}))


def draw_column_order(random: Random) -> Change:
    seed = random.getrandbits(32)

    def apply(tables: Tables) -> Tables:
        columns = list(tables.bars.items())
        Random(seed).shuffle(columns)
        return replace(tables, bars=dict(columns))

    return Change("columns of bars in another order", apply)


def _split_definition(definition: str) -> tuple[str, str]:
    """The name of a column, which may be quoted, and its type."""
    end = definition.index('"', 1) + 1 if definition.startswith('"') else definition.index(" ")
    return definition[:end], definition[end:].strip()
