-- Three roles with no more rights than they need, for one database of bars:
--
--   backfill_migrator  owns schema backfill and the tables that this program made; runs `backfill-assets migrate`
--   backfill_writer    runs, the daemon and code servers, all other commands; changes rows, never tables
--   backfill_reader    dashboards, notebooks, the Python API; changes nothing
--
-- Run it in the database of the bars, as a superuser or as the owner of the database with CREATEROLE:
--
--   psql -d bars -f deploy/postgres/roles.sql
--
-- before the first `backfill-assets migrate`, or later, beside a program that uses the database already. It may be run
-- again at any time, and changes no other role. Do so once after the first `migrate`: only then can it take from the
-- writer what it needs on no table of migrations. Passwords are yours to set:  \password backfill_writer
--
-- market_data and market_symbols of another program stay that program's. Their owner has to run the first
-- `backfill-assets migrate`, and any later one that says it must be the owner of them.
-- Dagster keeps its own database. That of the writer:  CREATE DATABASE dagster OWNER backfill_writer;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['backfill_migrator', 'backfill_writer', 'backfill_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', role_name);
        END IF;
        EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), role_name);
        -- Where a pooler refuses settings that come with the connection, the role has to have them.
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET idle_in_transaction_session_timeout = ''60s''',
                       role_name, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET tcp_keepalives_idle = 5', role_name, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET tcp_keepalives_interval = 3', role_name, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET tcp_keepalives_count = 3', role_name, current_database());
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET tcp_user_timeout = 15000', role_name, current_database());
    END LOOP;
    EXECUTE format('ALTER ROLE backfill_reader IN DATABASE %I SET default_transaction_read_only = on',
                   current_database());
END $$;

-- Who is no superuser has to be a member of a role to give it something, and to grant rights on what it owns.
DO $$
DECLARE
    object record;
    market text := quote_ident(current_schema());
    is_member boolean := pg_has_role(current_user, 'backfill_migrator', 'USAGE');
BEGIN
    IF NOT is_member THEN
        EXECUTE format('GRANT backfill_migrator TO %I', current_user);
    END IF;

    -- Schemas.
    EXECUTE format('GRANT CREATE ON DATABASE %I TO backfill_migrator', current_database());
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO backfill_migrator', market);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO backfill_writer, backfill_reader', market);
    CREATE SCHEMA IF NOT EXISTS backfill;
    ALTER SCHEMA backfill OWNER TO backfill_migrator;
    GRANT USAGE ON SCHEMA backfill TO backfill_writer, backfill_reader;

    -- What exists goes to the migrator. A sequence goes with its table.
    FOR object IN
        SELECT format('%s backfill.%I', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.relname) AS name
        FROM pg_class c WHERE c.relnamespace = 'backfill'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        UNION ALL
        SELECT format('ROUTINE %s', p.oid::regprocedure) FROM pg_proc p WHERE p.pronamespace = 'backfill'::regnamespace
    LOOP
        EXECUTE format('ALTER %s OWNER TO backfill_migrator', object.name);
    END LOOP;
    IF to_regclass('backfill.contract_tables') IS NOT NULL THEN
        FOR object IN SELECT to_regclass(table_name) AS name FROM backfill.contract_tables
                      WHERE is_managed AND to_regclass(table_name) IS NOT NULL
                      UNION SELECT tree.relid FROM backfill.contract_tables
                      CROSS JOIN LATERAL pg_partition_tree(to_regclass(table_name)) AS tree WHERE is_managed
        LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO backfill_migrator', object.name);
        END LOOP;
    END IF;

    -- Rights on what exists.
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA backfill TO backfill_writer;
    GRANT SELECT ON ALL TABLES IN SCHEMA backfill TO backfill_reader;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA backfill TO backfill_writer;
    FOR object IN SELECT to_regclass(format('backfill.%I', name)) AS name
                  FROM unnest(ARRAY['migrations', 'additive_migrations', 'contract_tables']) AS name
    LOOP
        IF object.name IS NOT NULL THEN
            EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %s FROM backfill_writer', object.name);
        END IF;
    END LOOP;
    FOR object IN
        SELECT c.oid::regclass AS name, pg_get_serial_sequence(c.oid::regclass::text, a.attname) AS sequence_name
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.oid IN (to_regclass('market_data'), to_regclass('market_symbols'))
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO backfill_writer', object.name);
        EXECUTE format('GRANT SELECT ON %s TO backfill_reader', object.name);
        EXECUTE format('GRANT SELECT, TRIGGER ON %s TO backfill_migrator', object.name);
        IF object.sequence_name IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO backfill_writer', object.sequence_name);
        END IF;
    END LOOP;

    -- Rights on what the migrator will make.
    ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA backfill
        GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO backfill_writer;
    ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA backfill GRANT SELECT ON TABLES TO backfill_reader;
    ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA backfill GRANT USAGE ON SEQUENCES TO backfill_writer;
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA %s'
                   ' GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO backfill_writer', market);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA %s'
                   ' GRANT SELECT ON TABLES TO backfill_reader', market);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE backfill_migrator IN SCHEMA %s'
                   ' GRANT USAGE ON SEQUENCES TO backfill_writer', market);

    IF NOT is_member THEN
        EXECUTE format('REVOKE backfill_migrator FROM %I', current_user);
    END IF;
END $$;
