-- readable since: 9
--
-- From which session on the sessions of a symbol are watched: their gaps are filled before all else, and alerts and the
-- status count what they lack. Older ones that are healed as well are filled with calls that are left over, and are
-- watched once each slot has a final bar, is explained, or was given up. Only sessions that are no partitions need it.
CREATE TABLE backfill.watched_sessions (
    symbol_id     integer NOT NULL,
    interval_type text    NOT NULL,
    watched_from  date    NOT NULL,          -- this session and all later ones
    missing       integer NOT NULL,          -- bars that the watched ones lacked when they were looked at last
    PRIMARY KEY (symbol_id, interval_type)
);

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
        EXECUTE format('GRANT %s ON backfill.watched_sessions TO %s', granted.privilege, granted.grantee);
    END LOOP;
END $$;
