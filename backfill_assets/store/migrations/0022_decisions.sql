-- readable since: 9
--
-- What a person is to decide, what was decided by whom, and what a decision changed elsewhere.

CREATE TABLE backfill.decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL,
    subject     text        NOT NULL,  -- in words
    ticker      text,
    rule        text,                  -- of the doubts that it is about
    refers_to   text[]      NOT NULL,  -- keys: doubts, a symbol, a ticker or a day, by kind
    proposal    text        NOT NULL,  -- in words
    evidence    jsonb       NOT NULL,  -- array of [name, text]
    fingerprint text        NOT NULL,  -- of the values that it is about
    shown_fingerprint text  NOT NULL,  -- of those that a person saw last in decisions list or show; at first the same
    opened_at   timestamptz NOT NULL,
    waits_since timestamptz,           -- from when on it calls for an answer; null: it may be decided, and need not be
    closed_at   timestamptz,           -- when the matter vanished by itself
    decision    text CHECK (decision IN ('accepted', 'rejected')),  -- null: not decided
    note        text,
    decided_by  text,                  -- user and machine
    decided_at  timestamptz,
    undone_by   text,                  -- of the last decision that was undone
    undone_at   timestamptz,
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK ((decision IS NULL) = (decided_by IS NULL)),
    CHECK (decision IS NULL OR closed_at IS NULL)
);
CREATE INDEX decisions_open ON backfill.decisions (kind) WHERE decision IS NULL AND closed_at IS NULL;
CREATE INDEX decisions_by_fingerprint ON backfill.decisions (fingerprint);
CREATE INDEX decisions_by_time ON backfill.decisions (decided_at) WHERE decided_at IS NOT NULL;

-- Every decision and every undo of one; rows are only added.
CREATE TABLE backfill.decision_history (
    history_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision_id bigint      NOT NULL REFERENCES backfill.decisions,
    action      text        NOT NULL CHECK (action IN ('accepted', 'rejected', 'undone')),
    at          timestamptz NOT NULL,
    by          text        NOT NULL,
    note        text,
    evidence    jsonb       NOT NULL,
    fingerprint text        NOT NULL,
    changes     jsonb       NOT NULL   -- what was there before, from which an undo restores it
);
CREATE INDEX decision_history_by_decision ON backfill.decision_history (decision_id, history_id);

-- A listing life that a person confirmed: the days that were confirmed. It counts while the life still has them.
ALTER TABLE backfill.listing_lives ADD COLUMN confirmed_first_day date;
ALTER TABLE backfill.listing_lives ADD COLUMN confirmed_last_day date;  -- null: it had not ended
ALTER TABLE backfill.listing_lives ADD COLUMN confirmed_at timestamptz;
ALTER TABLE backfill.listing_lives ADD COLUMN confirmed_by text;

-- The decision that changed the bar; null: the vendor did, or another program's bar was replaced.
ALTER TABLE backfill.revisions ADD COLUMN decision_id bigint;

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['decisions', 'decision_history']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;
