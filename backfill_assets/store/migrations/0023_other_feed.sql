-- readable since: 9
--
-- What the vendor's other feed said about slots, the bars that were taken from it, and halts.

-- What the other feed said about slots that the first one did not return. What it said about a doubtful bar is in
-- backfill.doubts. A slot that both lack is asked again after a day and after three, and then no more.
CREATE TABLE backfill.other_feed_answers (
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,            -- of the bar; this program's name of the interval
    timestamp       timestamptz NOT NULL,            -- start of the slot
    source_interval text        NOT NULL,            -- the other feed
    answer          text        NOT NULL CHECK (answer IN ('taken', 'no_rows', 'doubtful')),
    first_asked_at  timestamptz NOT NULL,
    asked_at        timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, interval_type, timestamp, source_interval)
);

-- Bars that were taken whole from the other feed. A row counts while the bar in market_data has its source_interval.
CREATE TABLE backfill.other_feed_bars (
    symbol_id         integer     NOT NULL,
    interval_type     text        NOT NULL,
    timestamp         timestamptz NOT NULL,
    source_interval   text        NOT NULL,          -- the feed that the bar was taken from
    volume_comparable boolean     NOT NULL DEFAULT false,  -- with the volumes of the session's other bars
    volume_ratio      double precision,              -- volume of this feed / of the first, over the slots that both have
    taken_at          timestamptz NOT NULL,
    why               text        NOT NULL,          -- the rule of the doubt, or 'absent'
    PRIMARY KEY (symbol_id, interval_type, timestamp)
);

-- Slots in which nothing traded because trading was halted, or because a day's only trading was outside regular hours.
CREATE TABLE backfill.halts (
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,
    timestamp       timestamptz NOT NULL,            -- start of the slot
    session_day     date        NOT NULL,
    kind            text        NOT NULL CHECK (kind IN ('halt', 'outside_hours')),
    state           text        NOT NULL CHECK (state IN ('proposed', 'found', 'refuted')),
    reason          text        NOT NULL,            -- in words: what was seen
    tickers_seen    integer,                         -- liquid tickers of the exchange whose session was seen published
    tickers_lacking integer,                         -- how many of them lack the slot
    volume_share    double precision,                -- 1m volume of the day / daily volume; null: not known
    usual_share     double precision,                -- the same of other days
    found_at        timestamptz NOT NULL,
    asked_at        timestamptz NOT NULL,            -- when both feeds were last asked
    next_request_at timestamptz,                     -- when they are asked again; null: final
    decided_by      text,                            -- the person who settled it; null: the evidence did
    PRIMARY KEY (symbol_id, interval_type, timestamp)
);
CREATE INDEX ON backfill.halts (session_day);

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.other_feed_answers, backfill.other_feed_bars, backfill.halts TO %s',
                       granted.privilege, granted.grantee);
    END LOOP;
END $$;
