-- readable since: 9
--
-- Bars that are improbable by a rule, why, and how each doubt ended.

CREATE TABLE backfill.doubts (
    doubt_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,            -- of the bars; this program's name of the interval
    source_interval text,                            -- what they were built from; null: bars of another program
    session_day     date        NOT NULL,
    rule            text        NOT NULL,
    first_slot      timestamptz NOT NULL,            -- start of the first slot in doubt
    last_slot       timestamptz NOT NULL,            -- start of the last one
    first_row       timestamptz,                     -- of the row in doubt; null: the bars as a whole
    figures         jsonb       NOT NULL,            -- what was compared, by name
    values_hash     text        NOT NULL,            -- of the bars in doubt as they were stored when it was opened
    withheld_volume bigint      NOT NULL DEFAULT 0,  -- shares that the bar lacks because the rows prove them wrong
    from_rows       boolean     NOT NULL,            -- found in the vendor's rows; else in stored bars
    from_audit      boolean     NOT NULL DEFAULT false,  -- opened by an audit: no request is sent for it
    opened_at       timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,            -- when the rule last found it
    ended_at        timestamptz,                     -- null: open
    outcome         text CHECK (outcome IN ('mended', 'confirmed', 'stands', 'decided')),
    outcome_reason  text,                            -- in words
    marks_bar       boolean     NOT NULL DEFAULT true,   -- whether the bars are suspect because of it
    other_feed      jsonb,                           -- what the vendor's other feed said; null: not asked
    CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CHECK (first_slot <= last_slot)
);
-- A doubt is there once for as long as it marks its bars.
CREATE UNIQUE INDEX doubts_marking ON backfill.doubts (symbol_id, interval_type, rule, first_slot) WHERE marks_bar;
CREATE INDEX doubts_marking_by_day ON backfill.doubts (session_day) WHERE marks_bar;
CREATE INDEX doubts_by_symbol ON backfill.doubts (symbol_id, session_day);

-- Roles that work with the evidence work with this table, too.
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
        EXECUTE format('GRANT %s ON backfill.doubts TO %s', granted.privilege, granted.grantee);
    END LOOP;
END $$;
