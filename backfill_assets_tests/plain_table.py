"""Our own table of bars as earlier versions made it: plain, not partitioned."""

import psycopg

MARKET_DATA = """
CREATE TABLE market_data (
    symbol_id       integer          NOT NULL,
    interval_type   varchar(20)      NOT NULL DEFAULT '30m',
    "timestamp"     timestamptz      NOT NULL,
    open_price      double precision NOT NULL CHECK (open_price > 0),
    high_price      double precision NOT NULL CHECK (high_price >= open_price AND high_price >= close_price),
    low_price       double precision NOT NULL
                    CHECK (low_price > 0 AND low_price <= open_price AND low_price <= close_price),
    close_price     double precision NOT NULL CHECK (close_price > 0),
    volume          bigint           NOT NULL CHECK (volume >= 0),
    source          text,
    source_interval text,
    source_rows     smallint,
    is_final        boolean,
    fetched_at      timestamptz,
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
)
"""


def create_plain_table(url: str) -> None:
    """Create ``market_data`` in an empty database; migrated, it is what a database of an earlier version has."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MARKET_DATA.encode())
