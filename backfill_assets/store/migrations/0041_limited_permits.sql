-- readable since: 9
--
-- Permits for a purpose that has a limit of its own, in one statement: the token's row is locked while its calls are
-- counted, and no client is waited for meanwhile. And permits that end twice give their calls back once.

-- As take_permits, and no more than the day leaves of own_limit calls; null for max_share of the token's calls, at most
-- max_calls. calls_each is 1 or more. If the limit is reached, calls_affordable is what is left of it.
CREATE FUNCTION backfill.take_limited_permits(
    p_token text, p_purpose text, kept_share double precision, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    own_limit integer, max_share double precision, max_calls integer,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer, OUT is_paused boolean
) LANGUAGE plpgsql AS $$
DECLARE
    token_calls integer;
    calls_left integer;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (p_token) ON CONFLICT DO NOTHING;
    SELECT account_limit INTO token_calls FROM backfill.budget WHERE token = p_token FOR UPDATE;
    -- A statement of its own: one that waits for the lock does not see what was committed meanwhile.
    calls_left := greatest(0,
        coalesce(own_limit, least(max_calls, floor(max_share * coalesce(token_calls, configured_daily_calls))::integer))
        - coalesce((SELECT l.calls FROM backfill.ledger_by_purpose l
                    WHERE l.token = p_token AND l.day = p_day AND l.purpose = p_purpose), 0));
    IF calls_left < calls_each THEN
        permit_ids := '{}';
        wait_seconds := 0;
        calls_affordable := calls_left;
        is_paused := false;
        RETURN;
    END IF;
    SELECT t.permit_ids, t.wait_seconds, t.calls_affordable, t.is_paused
      INTO permit_ids, wait_seconds, calls_affordable, is_paused
      FROM backfill.take_permits(
        p_token, p_purpose, kept_share, least(wanted, calls_left / calls_each), calls_each, p_day, configured_limit,
        limit_share, window_seconds, timeout_seconds, configured_daily_calls, reserve, spend_extra) AS t;
END $$;

-- A statement that commits by itself may be repeated when its answer is lost, and must not give calls back twice. The
-- permits tell: those that were settled or returned already are marked or gone.
CREATE OR REPLACE FUNCTION backfill.settle_permits(
    p_token text, p_purpose text, settled_ids bigint[], refund integer, p_day date, window_seconds double precision,
    header_limit integer, header_remaining integer, pause_seconds double precision
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF refund > 0 THEN
        PERFORM FROM backfill.budget WHERE token = p_token FOR UPDATE;
        IF NOT EXISTS (SELECT FROM backfill.permits WHERE permit_id = ANY (settled_ids) AND NOT settled) THEN
            refund := 0;
        END IF;
    END IF;
    PERFORM backfill.settle_permits(
        p_token, settled_ids, refund, p_day, window_seconds, header_limit, header_remaining, pause_seconds);
    PERFORM backfill.charge_purpose(p_token, p_purpose, p_day, -refund);
END $$;

CREATE OR REPLACE FUNCTION backfill.return_permits(
    p_token text, p_purpose text, unused_ids bigint[], refund integer, p_day date
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM backfill.budget WHERE token = p_token FOR UPDATE;
    IF EXISTS (SELECT FROM backfill.permits WHERE permit_id = ANY (unused_ids)) THEN
        PERFORM backfill.return_permits(p_token, unused_ids, refund, p_day);
        PERFORM backfill.charge_purpose(p_token, p_purpose, p_day, -refund);
    END IF;
END $$;
