-- The two tables that other programs share with this one. They are created where they are missing. Existing tables
-- are taken over: they get nullable columns, and none of their rows, columns, keys or constraints changes.
--
-- The same text builds the temporary copies with which store/postgres/takeover_record.py compares existing tables.

CREATE TABLE IF NOT EXISTS market_symbols (
    symbol_id    serial PRIMARY KEY,
    symbol       varchar(10) NOT NULL,
    exchange     varchar(20) NOT NULL DEFAULT 'US',
    is_active    boolean NOT NULL DEFAULT true,
    company_name varchar(255),
    sector       varchar(100),
    industry     varchar(100),
    market_cap   numeric(20, 2),
    created_at   timestamptz DEFAULT now(),
    updated_at   timestamptz DEFAULT now(),
    UNIQUE (symbol, exchange)
);

-- A foreign key on symbol_id would cost two thirds of the insert rate. The check of valid bars finds orphans instead.
--
-- A new table is partitioned by years of UTC. Its two outer partitions are open to either side, so that every row has a
-- place: a DEFAULT partition would have one, too, but PostgreSQL then no longer knows that the partitions are in order
-- of time. backfill.make_bar_partitions cuts years off them.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE relname = 'market_data' AND relnamespace = current_schema()::regnamespace)
    THEN
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
            volume_known    boolean,  -- before fetched_at, whose alignment leaves room: it makes no row longer
            fetched_at      timestamptz,
            PRIMARY KEY (symbol_id, interval_type, "timestamp")
        ) PARTITION BY RANGE ("timestamp");
        CREATE TABLE market_data_before_2020 PARTITION OF market_data
            FOR VALUES FROM (MINVALUE) TO ('2020-01-01 00:00+00');
        CREATE TABLE market_data_from_2020 PARTITION OF market_data
            FOR VALUES FROM ('2020-01-01 00:00+00') TO (MAXVALUE);
    END IF;
END $$;

ALTER TABLE market_data ADD COLUMN IF NOT EXISTS source text;
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS source_interval text;
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS source_rows smallint;
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS is_final boolean;
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS volume_known boolean;
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS fetched_at timestamptz;
