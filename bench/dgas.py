"""The two contract tables as other people have them: decimals, keys, checks and indexes of their own."""

TABLES = """
CREATE TABLE market_symbols (
    symbol_id serial PRIMARY KEY, symbol varchar(10) NOT NULL UNIQUE, exchange varchar(20) DEFAULT 'US',
    is_active boolean DEFAULT true, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now()
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
"""
