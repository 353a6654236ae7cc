-- readable since: 9
--
-- What is known about renamed and recycled tickers, before a person decides.

-- Changes of tickers that the vendor lists, or that a person named, and what the closes under both names show.
CREATE TABLE backfill.ticker_changes (
    old_ticker  text        NOT NULL,     -- as the vendor writes it: FB.US
    new_ticker  text        NOT NULL,
    first_day   date        NOT NULL,     -- the first session under the new ticker
    company     text,
    listed_at   timestamptz,              -- when the vendor's list had it first; null: it is not known to have it
    read_at     timestamptz,              -- when the closes were read; null: not yet
    last_day    date,                     -- of the old ticker's closes
    last_close  double precision,
    begin_day   date,                     -- of the new ticker's closes from first_day on
    begin_close double precision,
    other_until date,                     -- the new ticker's closes before are not the old one's, until this day
    is_carried  boolean     NOT NULL DEFAULT false, -- the old ticker's closes are given under the new one, too
    PRIMARY KEY (old_ticker, new_ticker, first_day)
);

-- Where a ticker's daily history breaks: months without a row, then another level.
CREATE TABLE backfill.ticker_breaks (
    symbol_id   integer          NOT NULL,
    last_day    date             NOT NULL,  -- before the gap
    last_close  double precision NOT NULL,
    first_day   date             NOT NULL,  -- after it
    first_close double precision NOT NULL,
    found_at    timestamptz      NOT NULL,
    PRIMARY KEY (symbol_id, last_day)
);

-- The ISINs of symbols in the vendor's lists that were read, delisted ones included.
CREATE TABLE backfill.listed_isins (
    exchange      text        NOT NULL,
    symbol        text        NOT NULL,     -- the vendor's code; ABC_old: an earlier holder of ABC
    isin          text        NOT NULL,     -- empty: the list has none
    first_read_at timestamptz NOT NULL,
    last_read_at  timestamptz NOT NULL,
    PRIMARY KEY (exchange, symbol, isin)
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
        CROSS JOIN unnest(ARRAY['ticker_changes', 'ticker_breaks', 'listed_isins']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
