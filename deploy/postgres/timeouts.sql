-- The timeouts of the server's end of a connection, for the role that runs this in the database that it is connected to:
--
--   psql "$DATABASE_URL" -f deploy/postgres/timeouts.sql
--
-- Needed only where a pooler between program and server refuses or ignores settings that come with the connection, and
-- the role is none of roles.sql, which has them. Without the first one, the program sets it in each transaction, which
-- costs one more statement. Needs no right, and touches no other role. They count for sessions that begin afterwards,
-- so let the pooler connect anew. Probes and the user timeout end the pooler's session if the pooler's host is gone; for
-- the clients of a pooler see its own settings, for instance tcp_keepidle, tcp_keepintvl and tcp_keepcnt of pgbouncer.

DO $$
DECLARE
    setting text;
BEGIN
    FOREACH setting IN ARRAY ARRAY[
        'idle_in_transaction_session_timeout = ''60s''', 'tcp_keepalives_idle = 5', 'tcp_keepalives_interval = 3',
        'tcp_keepalives_count = 3', 'tcp_user_timeout = 15000'
    ] LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %s', current_user, current_database(), setting);
    END LOOP;
END $$;
