-- readable since: 9
--
-- Which tickers an instrument had, and who was in the universe when.

-- An instrument keeps its identity when its ticker changes. A row is confirmed by a person; nothing is joined or split
-- by itself. A ticker without a row is one instrument on all days. The lives of one ticker do not overlap.
CREATE TABLE backfill.listings (
    listing_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id bigint      NOT NULL,     -- the listing_id of the instrument's first row
    symbol_id     integer     NOT NULL,     -- the ticker: a row of market_symbols
    listed_from   date,                     -- the first session under this ticker; null: the beginning
    listed_until  date,                     -- the last one; null: it goes on
    source        text        NOT NULL,     -- what it rests on, in words
    recorded_by   text        NOT NULL,     -- user and machine
    recorded_at   timestamptz NOT NULL,
    withdrawn_by  text,                     -- by an undo; the row then counts no more
    withdrawn_at  timestamptz,
    CHECK (listed_from <= listed_until),
    CHECK ((withdrawn_by IS NULL) = (withdrawn_at IS NULL))
);
CREATE INDEX listings_by_symbol ON backfill.listings (symbol_id) WHERE withdrawn_at IS NULL;
CREATE INDEX listings_by_instrument ON backfill.listings (instrument_id) WHERE withdrawn_at IS NULL;

-- Changes of market_symbols as this program made or found them. The newest row of a symbol is its state; before its
-- first row of kind 'recorded' it was in that state as far as is known, before one of kind 'added' it was not there.
CREATE TABLE backfill.universe_changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol_id  integer     NOT NULL,
    symbol     text,
    exchange   text,
    is_active  boolean     NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('recorded', 'added', 'changed', 'deleted')),
    changed_at timestamptz NOT NULL         -- when it was made by this program, or found
);
CREATE INDEX universe_changes_by_symbol ON backfill.universe_changes (symbol_id, changed_at, change_id);

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['listings', 'universe_changes']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
