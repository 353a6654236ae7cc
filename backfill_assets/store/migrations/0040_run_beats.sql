-- readable since: 9
--
-- Signs of life of the processes that carry out Dagster's runs, so that every host can judge whether a run is alive.
-- backfill.runs is about the requests of one pass, also of commands; a run of Dagster has none for most of its time.

CREATE TABLE backfill.run_beats (
    worker_id   uuid        PRIMARY KEY,    -- one process at work on one run
    run_id      text        NOT NULL,       -- of Dagster
    step_key    text,                       -- the process carries out this step only; null: the whole run
    host        text        NOT NULL,
    pid         integer     NOT NULL,
    patience    interval    NOT NULL,       -- silent for longer, it counts as lost
    began_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    missed_at   timestamptz,                -- when somebody looked and missed its beats; null again with the next beat
    ended_at    timestamptz,                -- it has done its part; the run may go on without it
    must_end_at timestamptz                 -- from then on its run has failed or was cancelled: it ends itself
);
CREATE INDEX run_beats_by_run ON backfill.run_beats (run_id);

-- Roles that work with runs work with this table, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'backfill.runs'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.run_beats TO %s', granted.privilege, granted.grantee);
    END LOOP;
END $$;
