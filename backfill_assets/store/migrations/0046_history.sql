-- readable since: 9
--
-- The history before the sessions that are healed: from which day on each symbol is to be complete, how far that has
-- come, and how many calls were left over for it.

-- A symbol's own first day; for all others BACKFILL_HISTORY_FROM holds.
CREATE TABLE backfill.history_goals (
    symbol_id    integer PRIMARY KEY,
    history_from date    NOT NULL
);

-- Sessions are walked over from new to old. No row: none was yet.
CREATE TABLE backfill.history_progress (
    symbol_id     integer NOT NULL,
    interval_type text    NOT NULL,          -- this program's name of the interval
    reached       date    NOT NULL,          -- this walk requested what sessions from this day on lacked
    oldest        date    NOT NULL,          -- and this is as far as any walk has come
    look_again_at timestamptz,               -- when the walk begins anew: bars that did not come are due, or all are looked at again
    PRIMARY KEY (symbol_id, interval_type)
);

-- Symbols whose daily history is being read, so that two processes do not pay for it; a claim lapses by itself.
CREATE TABLE backfill.history_listings (
    symbol_id    integer     PRIMARY KEY,
    requested_at timestamptz NOT NULL        -- by the server's clock
);

-- A pause of the history alone, and what the newest look at it said.
CREATE TABLE backfill.history_state (
    is_only_row  boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    paused_at    timestamptz,                -- null: not paused
    paused_by    text,
    pause_reason text,
    looked_at    timestamptz,
    said         text                        -- why it ended, in words
);

-- Calls of each UTC day that nothing else needed: those that the history spent, and those that were left to it when it
-- looked last. Days on which nothing could be requested have no row.
CREATE TABLE backfill.history_days (
    token text    NOT NULL,
    day   date    NOT NULL,
    calls integer NOT NULL,
    PRIMARY KEY (token, day)
);

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege, made.relation,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY[
            'history_goals', 'history_progress', 'history_listings', 'history_state', 'history_days']) AS made (relation)
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.relation, granted.grantee);
    END LOOP;
END $$;
