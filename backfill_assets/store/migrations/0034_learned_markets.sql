-- readable since: 9
--
-- What experimental exchanges have shown: their rows, and how their daily data compare with the bars.

-- Of the vendor's rows in the sessions of symbols when they were first seen published, so that no answer counts twice.
CREATE TABLE backfill.learned_sessions (
    exchange        text    NOT NULL,
    session_day     date    NOT NULL,
    source_interval text    NOT NULL,           -- the vendor's interval
    symbols         integer NOT NULL,           -- whose session was seen published; all that follows is of them
    source_rows     bigint  NOT NULL,           -- rows within the session
    without_prices  bigint  NOT NULL,           -- rows of nulls among them
    null_flat       bigint  NOT NULL,           -- without volume, and at one price
    null_moving     bigint  NOT NULL,           -- without volume, and at several prices
    off_grid        bigint  NOT NULL,           -- at a time that is not one of the interval
    fractional      bigint  NOT NULL,           -- with a fraction of a share
    PRIMARY KEY (exchange, session_day, source_interval)
);

-- The rows from the close on, by their time after it.
CREATE TABLE backfill.learned_closing_rows (
    exchange        text    NOT NULL,
    session_day     date    NOT NULL,
    source_interval text    NOT NULL,
    seconds         integer NOT NULL,           -- from the close to the row's time
    prints          bigint  NOT NULL,           -- rows without volume
    auctions        bigint  NOT NULL,           -- rows with volume
    volume          double precision NOT NULL,
    PRIMARY KEY (exchange, session_day, source_interval, seconds)
);

-- How the daily data of a session compare with its bars. Counts of symbols.
CREATE TABLE backfill.compared_days (
    exchange           text        NOT NULL,
    session_day        date        NOT NULL,
    days               integer     NOT NULL,    -- with bars and settled daily data
    untraded           integer     NOT NULL,    -- of which the daily data say that nothing traded
    untraded_with_bars integer     NOT NULL,    -- those of them with bars that have a volume
    exceeding_volume   integer     NOT NULL,    -- with bars that have more volume than the day
    ranged             integer     NOT NULL,    -- with bars and a range of the day
    outside_range      integer     NOT NULL,    -- those of them with a bar outside the range
    closes             integer     NOT NULL,    -- with a row after the close and a daily close
    closes_equal       integer     NOT NULL,    -- those of them with the same close
    compared_at        timestamptz NOT NULL,
    PRIMARY KEY (exchange, session_day)
);

-- Sessions from which on the bars of a symbol lie at about 100 times, or a hundredth of, the level before: its prices
-- may count another unit, such as pence.
CREATE TABLE backfill.level_jumps (
    symbol_id   integer          NOT NULL,      -- a row of market_symbols
    session_day date             NOT NULL,      -- the first session at the new level
    last_day    date             NOT NULL,      -- the session before
    old_price   double precision NOT NULL,      -- the last close before
    new_price   double precision NOT NULL,      -- the first open after
    found_at    timestamptz      NOT NULL,
    PRIMARY KEY (symbol_id, session_day)
);

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['learned_sessions', 'learned_closing_rows', 'compared_days', 'level_jumps']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
