-- readable since: 9
--
-- Records migrations that only add something where programs up to 0.8.0 do not look. Those refuse a database whose
-- backfill.migrations has a number that they do not know, although they could go on working with it.

CREATE TABLE backfill.additive_migrations (
    number         integer     PRIMARY KEY,
    name           text        NOT NULL,
    applied_at     timestamptz NOT NULL DEFAULT now(),
    readable_since integer     NOT NULL CHECK (readable_since < number)  -- as in backfill.migrations
);

-- Every program reads it before it starts, so roles have the rights that they have on backfill.migrations.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'backfill.migrations'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.additive_migrations TO %s', granted.privilege, granted.grantee);
    END LOOP;
END $$;
