-- readable since: 9
--
-- What people answer to alerts: that they work on it, or that they do not want to hear of it for a time. And owners of
-- universes, who are told of alerts about their symbols.

CREATE TABLE backfill.alert_answers (
    answer_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL,          -- of backfill.alert_states
    kind        text        NOT NULL CHECK (kind IN ('acknowledged', 'snoozed')),
    until       timestamptz CHECK ((until IS NOT NULL) = (kind = 'snoozed')),
    figure      float8,                        -- of the first observation after it; worse is told
    note        text,
    answered_by text        NOT NULL,
    answered_at timestamptz NOT NULL,
    ended_at    timestamptz,
    ended_why   text        CHECK ((ended_why IS NULL) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX alert_answers_in_force ON backfill.alert_answers (name) WHERE ended_at IS NULL;

-- The universe whose owner a message is for, like US/model; null: for BACKFILL_ALERT_URLS.
ALTER TABLE backfill.alert_messages ADD COLUMN audience text;

-- Failures that the owner of a universe was told of; their end is told, too.
CREATE TABLE backfill.alert_owners_told (
    name     text NOT NULL,                    -- of backfill.alert_states
    audience text NOT NULL,
    PRIMARY KEY (name, audience)
);

-- Roles that work with alerts work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'backfill.alert_states'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.alert_answers, backfill.alert_owners_told TO %s',
                       granted.privilege, granted.grantee);
    END LOOP;
END $$;
