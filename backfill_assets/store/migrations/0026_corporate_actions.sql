-- readable since: 9
--
-- Splits with their exact ratio, dividends, spin-offs, and what the vendor listed of them before. A row is what holds
-- now; it holds since revised_at, or else first_seen, up to withdrawn_at. What held before is in the tables of
-- revisions.

ALTER TABLE backfill.splits                              -- null: read before this migration; then ratio says it
    ADD COLUMN new_shares numeric CHECK (new_shares > 0),
    ADD COLUMN old_shares numeric CHECK (old_shares > 0),
    ADD COLUMN revised_at timestamptz;                   -- when the present values were read first; null: at first_seen

CREATE TABLE backfill.split_revisions (
    symbol_id   integer          NOT NULL,
    ex_date     date             NOT NULL,
    ratio       double precision NOT NULL,
    new_shares  numeric,
    old_shares  numeric,
    source      text             NOT NULL,
    known_from  timestamptz      NOT NULL,
    known_until timestamptz      NOT NULL                -- when other values were read, or it was not listed any more
);
CREATE INDEX ON backfill.split_revisions (symbol_id, ex_date);

CREATE TABLE backfill.dividends (
    symbol_id    integer     NOT NULL,
    ex_date      date        NOT NULL,                   -- the first session without a claim to it
    period       text        NOT NULL,                   -- the vendor's word, such as quarterly or special; '': none
    cum_day      date        NOT NULL,                   -- the session before, whose official close it is a share of
    amount       numeric     NOT NULL CHECK (amount > 0), -- of a share, as paid: not adjusted for splits
    currency     text,                                   -- null: the vendor gave none
    declared_on  date,
    record_on    date,
    paid_on      date,
    source       text        NOT NULL,                   -- the vendor's endpoint
    first_seen   timestamptz NOT NULL,
    revised_at   timestamptz,
    withdrawn_at timestamptz,                            -- when the vendor did not list it any more; then it counts no more
    PRIMARY KEY (symbol_id, ex_date, period)             -- what the vendor lists twice counts once
);

CREATE TABLE backfill.dividend_revisions (
    symbol_id   integer     NOT NULL,
    ex_date     date        NOT NULL,
    period      text        NOT NULL,
    cum_day     date        NOT NULL,
    amount      numeric     NOT NULL,
    currency    text,
    source      text        NOT NULL,
    known_from  timestamptz NOT NULL,
    known_until timestamptz NOT NULL
);
CREATE INDEX ON backfill.dividend_revisions (symbol_id, ex_date);

-- As split_reads: the dividends of a symbol with an ex-date after known_after, up to known_until, are all there.
CREATE TABLE backfill.dividend_reads (
    symbol_id    integer PRIMARY KEY,
    known_after  date,
    known_until  date,
    read_at      timestamptz,
    requested_at timestamptz,
    CHECK ((known_after IS NULL) = (known_until IS NULL) AND (known_after IS NULL) = (read_at IS NULL))
);

-- When the dividends of a day were last requested for the whole market; null: never.
ALTER TABLE backfill.bulk_files ADD COLUMN dividends_requested_at timestamptz;

-- Spin-offs, derived: the vendor adjusts its daily closes for them and does not list them. Intraday prices are raw.
CREATE TABLE backfill.spinoffs (
    symbol_id    integer          NOT NULL,
    ex_date      date             NOT NULL,              -- the first session without the part
    factor       double precision NOT NULL CHECK (factor > 0 AND factor < 1),  -- daily close / raw close before it
    sessions     integer          NOT NULL,              -- how many sessions show the factor
    source       text             NOT NULL,
    first_seen   timestamptz      NOT NULL,
    revised_at   timestamptz,
    withdrawn_at timestamptz,
    PRIMARY KEY (symbol_id, ex_date)
);

CREATE TABLE backfill.spinoff_revisions (
    symbol_id   integer          NOT NULL,
    ex_date     date             NOT NULL,
    factor      double precision NOT NULL,
    source      text             NOT NULL,
    known_from  timestamptz      NOT NULL,
    known_until timestamptz      NOT NULL
);
CREATE INDEX ON backfill.spinoff_revisions (symbol_id, ex_date);

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['split_revisions', 'dividends', 'dividend_revisions', 'dividend_reads', 'spinoffs',
                                'spinoff_revisions']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
