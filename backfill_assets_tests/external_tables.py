"""The two contract tables in the form of another program, which many users have (docs/decisions/0030)."""

import psycopg

TABLES = """
CREATE TABLE market_symbols (
    symbol_id serial PRIMARY KEY, symbol varchar(10) NOT NULL UNIQUE, company_name varchar(255),
    sector varchar(100), industry varchar(100), market_cap bigint, exchange varchar(20) DEFAULT 'US',
    is_active boolean DEFAULT true, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    house_rating text
);
CREATE TABLE market_data (
    data_id bigserial PRIMARY KEY,
    symbol_id integer NOT NULL REFERENCES market_symbols (symbol_id) ON DELETE CASCADE,
    "timestamp" timestamptz NOT NULL,
    open_price numeric(12,6) NOT NULL CHECK (open_price > 0), high_price numeric(12,6) NOT NULL CHECK (high_price > 0),
    low_price numeric(12,6) NOT NULL CHECK (low_price > 0), close_price numeric(12,6) NOT NULL CHECK (close_price > 0),
    volume bigint NOT NULL CHECK (volume >= 0), vwap numeric(12,6), true_range numeric(12,6),
    interval_type varchar(20) NOT NULL DEFAULT '30min', created_at timestamptz DEFAULT now(),
    CHECK (low_price <= open_price AND low_price <= close_price AND high_price >= open_price
           AND high_price >= close_price),
    CHECK (high_price - low_price >= abs(open_price - close_price)),
    UNIQUE (symbol_id, "timestamp", interval_type)
);
CREATE INDEX ON market_data (symbol_id, "timestamp" DESC);
CREATE TABLE house_signals (
    signal_id serial PRIMARY KEY, data_id bigint NOT NULL REFERENCES market_data (data_id), note text
);
"""


def create_external_tables(url: str) -> None:
    """Create the tables in an empty database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
