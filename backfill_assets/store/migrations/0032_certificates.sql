-- readable since: 9
--
-- Universes with a name, and certificates: what was complete when, and a hash of its bars.

-- A universe with a name: the symbols that somebody's work rests on. 'all' has no rows of members, because it is all
-- active symbols of its exchange.
CREATE TABLE backfill.universes (
    exchange       text        NOT NULL,
    name           text        NOT NULL,
    max_incomplete integer     NOT NULL DEFAULT 0 CHECK (max_incomplete >= 0), -- symbols that an overdue session may lack
    deadline       interval    CHECK (deadline > interval '0'), -- after the close; null: there is none
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (exchange, name)
);
INSERT INTO backfill.universes (exchange, name) VALUES ('US', 'all');

-- Who belongs to a universe, from when to when. Rows are ended and never deleted while the universe is there.
CREATE TABLE backfill.universe_members (
    exchange     text        NOT NULL,
    universe     text        NOT NULL,
    symbol_id    integer     NOT NULL,     -- a row of market_symbols
    member_from  timestamptz NOT NULL,     -- '-infinity': from the beginning, as all that the universe began with
    member_until timestamptz,              -- null: it still belongs to it
    PRIMARY KEY (exchange, universe, symbol_id, member_from),
    FOREIGN KEY (exchange, universe) REFERENCES backfill.universes (exchange, name) ON DELETE CASCADE,
    CHECK (member_from < member_until)
);

-- Certificates are written once and never changed; a revision makes the next one. They are written under one lock, so
-- that their ids ascend in the order of commit.
CREATE TABLE backfill.certificates (
    certificate_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange          text        NOT NULL,
    universe          text        NOT NULL,
    session_day       date        NOT NULL,
    interval_type     text        NOT NULL,  -- this program's name of the interval
    kind              text        NOT NULL CHECK (kind IN ('complete', 'unverified', 'complete but for')),
    previous_id       bigint      REFERENCES backfill.certificates,  -- null: the first of its session
    symbols           integer     NOT NULL,  -- who belongs to the session, incomplete ones included
    incomplete        text[]      NOT NULL,  -- tickers that lack slots; their bars are in the hash, too
    bars              integer     NOT NULL,
    sha256            text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),  -- of the canonical bytes of the bars
    counts            jsonb       NOT NULL,  -- slots by state
    evidence          jsonb       NOT NULL,  -- what it rests on besides the bars, and the reason of 'complete but for'
    code_version      text        NOT NULL,
    schema_version    integer     NOT NULL,  -- the newest migration
    as_of             timestamptz NOT NULL,  -- the moment that the states refer to
    created_at        timestamptz NOT NULL,  -- by the server's clock
    revised_bars      integer     NOT NULL,  -- differ from the certificate before: added, changed or gone
    max_price_bps     double precision,      -- largest change of a price among bars of both; null: not known
    max_volume_percent double precision,     -- largest change of a volume among them; null: not known
    is_material       boolean     NOT NULL   -- whether what was computed from the bars before should be computed again
);
CREATE UNIQUE INDEX certificates_one_after_another ON backfill.certificates
    (exchange, universe, session_day, interval_type, coalesce(previous_id, 0));
CREATE INDEX certificates_by_session ON backfill.certificates
    (exchange, interval_type, session_day, universe, certificate_id DESC);

-- The bars of a certificate, so that it can be said which one differs. Arrays by symbol in the order of the tickers;
-- byte strings of 4 bytes a bar, little-endian, by symbol and time.
CREATE TABLE backfill.certificate_bars (
    certificate_id bigint    PRIMARY KEY REFERENCES backfill.certificates,
    symbol_ids     integer[] NOT NULL,
    tickers        text[]    NOT NULL,     -- as in the canonical bytes: AAPL.US
    bar_counts     integer[] NOT NULL,
    starts         bytea     NOT NULL,     -- of each slot, epoch seconds
    digests        bytea     NOT NULL,     -- the first 4 bytes of SHA-256 of each bar's canonical row
    writes         bytea     NOT NULL      -- a hash of when this program wrote the bar; 0: another program's bar
);

-- What was last looked at, so that a look at which nothing has changed costs one statement.
CREATE TABLE backfill.certification_looks (
    exchange      text        NOT NULL,
    interval_type text        NOT NULL,
    fingerprint   text        NOT NULL,
    next_look_at  timestamptz NOT NULL,    -- when time alone may make a certificate due
    looked_at     timestamptz NOT NULL,
    PRIMARY KEY (exchange, interval_type)
);

-- What the bars of a session looked like when their hash was last compared with its newest certificate.
CREATE TABLE backfill.hashed_sessions (
    exchange      text NOT NULL,
    universe      text NOT NULL,
    interval_type text NOT NULL,
    session_day   date NOT NULL,
    bars_seen     text NOT NULL,           -- changes with every write of a bar
    PRIMARY KEY (exchange, universe, interval_type, session_day)
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
        CROSS JOIN unnest(ARRAY['universes', 'universe_members', 'certificates', 'certificate_bars',
                                'certification_looks', 'hashed_sessions']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
