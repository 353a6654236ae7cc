-- readable since: 9
--
-- When each gap sensor last looked at the store, and what it saw, so that its silence can be noticed.

CREATE TABLE backfill.sensor_looks (
    exchange          text        NOT NULL,     -- the vendor's code
    interval_type     text        NOT NULL,     -- of the bars; this program's name of the interval
    looked_at         timestamptz NOT NULL,     -- when the last look succeeded, by the server's clock
    symbols           integer     NOT NULL,     -- that it looked at
    sessions          integer     NOT NULL,
    missing           bigint      NOT NULL,     -- bars
    oldest_missing_at timestamptz,              -- the open of the oldest missing slot; null: none is missing
    PRIMARY KEY (exchange, interval_type)
);

-- What the vendor changed lately is counted by time. Rows are stored in that order, so a summary of each stretch is enough.
-- It is built in one pass, without sorting: nobody can write revisions meanwhile.
CREATE INDEX revisions_by_time ON backfill.revisions USING brin (replaced_at) WITH (autosummarize = on);

-- Runs are never deleted, and are counted by how they ended without a look at their rows.
CREATE INDEX runs_by_outcome ON backfill.runs (outcome, finished_at) WHERE finished_at IS NOT NULL;

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
        EXECUTE format('GRANT %s ON backfill.sensor_looks TO %s', granted.privilege, granted.grantee);
    END LOOP;
END $$;
