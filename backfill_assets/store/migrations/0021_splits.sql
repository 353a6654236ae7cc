-- readable since: 9
--
-- Splits of symbols, for which symbols and days they are known, and when daily rows were requested in the morning.

CREATE TABLE backfill.splits (
    symbol_id    integer          NOT NULL,
    ex_date      date             NOT NULL,              -- the first day with the new number of shares
    ratio        double precision NOT NULL CHECK (ratio > 0 AND ratio < 'infinity'),  -- new shares for an old one
    source       text             NOT NULL,              -- the vendor's endpoint
    first_seen   timestamptz      NOT NULL,
    withdrawn_at timestamptz,                            -- when the vendor did not list it any more; then it counts no more
    PRIMARY KEY (symbol_id, ex_date)                     -- a split that the vendor lists twice takes effect once
);

-- The splits of a symbol with an ex-date after known_after, up to known_until, are all in backfill.splits.
CREATE TABLE backfill.split_reads (
    symbol_id    integer PRIMARY KEY,
    known_after  date,                                   -- null, like known_until: not known at all
    known_until  date,
    read_at      timestamptz,                            -- when they were last read
    requested_at timestamptz,                            -- when the symbol's own list was last requested, answered or not
    CHECK ((known_after IS NULL) = (known_until IS NULL) AND (known_after IS NULL) = (read_at IS NULL))
);

-- When the splits of a day were last requested for the whole market; null: never.
ALTER TABLE backfill.bulk_files ADD COLUMN splits_requested_at timestamptz;

-- The morning's requests for the daily rows of single symbols. An answer covers every session from read_from on whose
-- row was settled at answered_at, also those that it has no row of.
CREATE TABLE backfill.daily_reads (
    symbol_id    integer PRIMARY KEY,
    requested_at timestamptz,                            -- the newest request, answered or not
    answered_at  timestamptz,                            -- the newest answer, also to a request for an absent session
    read_from    date,                                   -- the first session of the answers
    CHECK ((answered_at IS NULL) = (read_from IS NULL))
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
        CROSS JOIN unnest(ARRAY['splits', 'split_reads', 'daily_reads']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
