-- readable since: 9
--
-- What calls are spent for, a pause of all spending, and endpoints that a token's plan refuses. Nothing of migration 9 is
-- removed: its functions that take permits now call the new ones, so that a program of migration 9 keeps the pause, too.

ALTER TABLE backfill.requests ADD COLUMN purpose text;  -- null: logged before this migration

-- The part of backfill.ledger that each purpose spent. Days before this migration have none.
CREATE TABLE backfill.ledger_by_purpose (
    token   text    NOT NULL,
    day     date    NOT NULL,
    purpose text    NOT NULL,
    calls   integer NOT NULL,
    PRIMARY KEY (token, day, purpose)
);

-- While the row is there and paused_until is not reached (by the server's clock), no request of any token is permitted.
CREATE TABLE backfill.spending_pause (
    is_only_row  boolean     PRIMARY KEY DEFAULT true CHECK (is_only_row),
    paused_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_until timestamptz,           -- null: until somebody resumes
    paused_by    text        NOT NULL,  -- user and machine
    reason       text
);

-- Endpoints that the vendor refused to a token although it serves others. They are not requested before ask_again_at.
CREATE TABLE backfill.refused_endpoints (
    token        text        NOT NULL,
    endpoint     text        NOT NULL,
    refused_at   timestamptz NOT NULL,
    ask_again_at timestamptz NOT NULL,
    PRIMARY KEY (token, endpoint)
);

-- Roles that work with the ledger work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['ledger_by_purpose', 'spending_pause', 'refused_endpoints']) AS new_table
        WHERE c.oid = 'backfill.ledger'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;

CREATE FUNCTION backfill.is_spending_paused() RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM backfill.spending_pause
                   WHERE paused_until IS NULL OR paused_until > clock_timestamp())
$$;

-- Calls left for a purpose on a UTC day: live sampling has a budget of its own; the others share what remains, and each
-- leaves kept_share of the day's calls to those that come before it.
CREATE FUNCTION backfill.calls_left_for_purpose(
    token_budget backfill.budget, p_purpose text, kept_share double precision, p_day date,
    configured_daily_calls integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_purpose = 'live'
        THEN backfill.live_calls_left(token_budget, p_day, configured_daily_calls, reserve, spend_extra)
        ELSE backfill.backfill_calls_left(token_budget, p_day, configured_daily_calls, reserve, spend_extra)
             - floor(kept_share * backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra)
               )::integer
        END
$$;

-- Add calls to what a purpose spent, or (negative) refund them. Live sampling is also counted in backfill.ledger, from
-- which its budget is computed.
CREATE FUNCTION backfill.charge_purpose(p_token text, p_purpose text, p_day date, p_calls integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_calls > 0 THEN
        INSERT INTO backfill.ledger_by_purpose AS l (token, day, purpose, calls)
        VALUES (p_token, p_day, p_purpose, p_calls)
        ON CONFLICT (token, day, purpose) DO UPDATE SET calls = l.calls + EXCLUDED.calls;
    ELSIF p_calls < 0 THEN
        UPDATE backfill.ledger_by_purpose SET calls = calls + p_calls
         WHERE token = p_token AND day = p_day AND purpose = p_purpose;
    END IF;
    IF p_purpose = 'live' AND p_calls <> 0 THEN
        UPDATE backfill.ledger SET live_calls = live_calls + p_calls WHERE token = p_token AND day = p_day;
    END IF;
END $$;

-- Take permits for a purpose, unless spending is paused.
CREATE FUNCTION backfill.take_permits(
    p_token text, p_purpose text, kept_share double precision, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer, OUT is_paused boolean
) LANGUAGE plpgsql AS $$
DECLARE
    token_budget backfill.budget;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (p_token) ON CONFLICT DO NOTHING;
    SELECT * INTO token_budget FROM backfill.budget WHERE token = p_token FOR UPDATE;
    is_paused := backfill.is_spending_paused();
    IF is_paused THEN
        permit_ids := '{}';
        wait_seconds := window_seconds;
        calls_affordable := 0;
        RETURN;
    END IF;
    SELECT g.permit_ids, g.wait_seconds, g.calls_affordable INTO permit_ids, wait_seconds, calls_affordable
      FROM backfill.grant_permits(
        token_budget, wanted, calls_each, p_day,
        backfill.calls_left_for_purpose(
            token_budget, p_purpose, kept_share, p_day, configured_daily_calls, reserve, spend_extra),
        configured_limit, limit_share, window_seconds, timeout_seconds) AS g;
    PERFORM backfill.charge_purpose(p_token, p_purpose, p_day, cardinality(permit_ids) * calls_each);
END $$;

-- As settle_permits and return_permits without a purpose; unspent calls also go back to the purpose.
CREATE FUNCTION backfill.settle_permits(
    p_token text, p_purpose text, settled_ids bigint[], refund integer, p_day date, window_seconds double precision,
    header_limit integer, header_remaining integer, pause_seconds double precision
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM backfill.settle_permits(
        p_token, settled_ids, refund, p_day, window_seconds, header_limit, header_remaining, pause_seconds);
    PERFORM backfill.charge_purpose(p_token, p_purpose, p_day, -refund);
END $$;

CREATE FUNCTION backfill.return_permits(
    p_token text, p_purpose text, unused_ids bigint[], refund integer, p_day date
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM backfill.return_permits(p_token, unused_ids, refund, p_day);
    PERFORM backfill.charge_purpose(p_token, p_purpose, p_day, -refund);
END $$;

-- The functions of migration 9, for a program that knows no purposes.
CREATE OR REPLACE FUNCTION backfill.take_permits(
    p_token text, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer
) LANGUAGE sql AS $$
    SELECT t.permit_ids, t.wait_seconds, t.calls_affordable FROM backfill.take_permits(
        p_token, 'gap', 0, wanted, calls_each, p_day, configured_limit, limit_share, window_seconds, timeout_seconds,
        configured_daily_calls, reserve, spend_extra) AS t
$$;

CREATE OR REPLACE FUNCTION backfill.take_live_permits(
    p_token text, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer
) LANGUAGE sql AS $$
    SELECT t.permit_ids, t.wait_seconds, t.calls_affordable FROM backfill.take_permits(
        p_token, 'live', 0, wanted, calls_each, p_day, configured_limit, limit_share, window_seconds, timeout_seconds,
        configured_daily_calls, reserve, spend_extra) AS t
$$;
