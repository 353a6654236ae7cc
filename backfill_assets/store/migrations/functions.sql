-- Functions of schema backfill, the trigger on market_data, and views under old names, as of migration 9.
-- New databases run this after schema.sql, upgraded ones after 0009_standard_names.sql.

-- When another program changes the values of a bar that this program stored, the bar loses its provenance and counts as
-- the other program's. This program changes fetched_at with every write.
CREATE FUNCTION backfill.clear_provenance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.source := NULL;
    NEW.source_interval := NULL;
    NEW.source_rows := NULL;
    NEW.is_final := NULL;
    NEW.fetched_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER backfill_clear_provenance BEFORE UPDATE ON market_data FOR EACH ROW
WHEN (OLD.source IS NOT NULL AND NEW.fetched_at IS NOT DISTINCT FROM OLD.fetched_at
      AND (NEW.open_price, NEW.high_price, NEW.low_price, NEW.close_price, NEW.volume)
          IS DISTINCT FROM (OLD.open_price, OLD.high_price, OLD.low_price, OLD.close_price, OLD.volume))
EXECUTE FUNCTION backfill.clear_provenance();

-- How many requests may occupy the rate window: the configured share of the limit, less what other programs use of it.
CREATE FUNCTION backfill.request_ceiling(
    token_budget backfill.budget, configured_limit integer, limit_share double precision,
    window_seconds double precision
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT greatest(1, floor(least(
        limit_share * least(configured_limit, coalesce(token_budget.vendor_limit, configured_limit)),
        CASE WHEN token_budget.external_requests > 0
                  AND token_budget.external_seen_at > clock_timestamp() - make_interval(secs => 2 * window_seconds)
             THEN 0.95 * token_budget.vendor_limit - 1.1 * token_budget.external_requests END
    )))::integer
$$;

-- Calls of a UTC day that this program may use, spent or not.
CREATE FUNCTION backfill.calls_allotted(
    token_budget backfill.budget, configured_daily_calls integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT floor((1 - reserve) * coalesce(token_budget.account_limit, configured_daily_calls))::integer
         + CASE WHEN spend_extra THEN coalesce(token_budget.account_extra, 0) ELSE 0 END
$$;

-- Calls spent on a UTC day: by the ledger, or more where the account endpoint reported more.
CREATE FUNCTION backfill.calls_spent(token_budget backfill.budget, p_day date)
RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN token_budget.account_day = p_day
                THEN greatest(ledger_today.calls,
                              token_budget.account_used + ledger_today.calls - token_budget.account_ledger_calls)
                ELSE ledger_today.calls END
    FROM (SELECT coalesce((SELECT calls FROM backfill.ledger WHERE token = token_budget.token AND day = p_day), 0))
         AS ledger_today (calls)
$$;

-- Calls that live sampling may still spend on a UTC day: at most half of the allotted ones, and none where no round
-- declared a budget for four days.
CREATE FUNCTION backfill.live_calls_reserved(
    token_budget backfill.budget, p_day date, configured_daily_calls integer, reserve double precision,
    spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN token_budget.live_declared_on BETWEEN p_day - 4 AND p_day THEN greatest(0,
        least(token_budget.live_daily_calls,
              backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra) / 2)
        - coalesce((SELECT live_calls FROM backfill.ledger WHERE token = token_budget.token AND day = p_day), 0))
        ELSE 0 END
$$;

-- Calls left for the backfill on a UTC day.
CREATE FUNCTION backfill.backfill_calls_left(
    token_budget backfill.budget, p_day date, configured_daily_calls integer, reserve double precision,
    spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra)
         - backfill.calls_spent(token_budget, p_day)
         - backfill.live_calls_reserved(token_budget, p_day, configured_daily_calls, reserve, spend_extra)
$$;

-- Calls left for live sampling on a UTC day.
CREATE FUNCTION backfill.live_calls_left(
    token_budget backfill.budget, p_day date, configured_daily_calls integer, reserve double precision,
    spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT least(backfill.live_calls_reserved(token_budget, p_day, configured_daily_calls, reserve, spend_extra),
                 backfill.calls_allotted(token_budget, configured_daily_calls, reserve, spend_extra)
                 - backfill.calls_spent(token_budget, p_day))
$$;

-- Grant up to `wanted` permits of `calls_each` calls, as far as the day affords them. The caller holds the lock on the
-- token's row. Without a permit: request again after wait_seconds, or not today if too few calls are affordable.
CREATE FUNCTION backfill.grant_permits(
    token_budget backfill.budget, wanted integer, calls_each integer, p_day date, affordable integer,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    checked_at timestamptz := clock_timestamp();
    free_permits integer;
BEGIN
    permit_ids := '{}';
    wait_seconds := 0;
    calls_affordable := affordable;
    IF calls_each > 0 AND affordable < calls_each THEN
        RETURN;
    END IF;
    IF token_budget.paused_until > checked_at THEN
        wait_seconds := extract(epoch FROM token_budget.paused_until - checked_at);
        RETURN;
    END IF;
    DELETE FROM backfill.permits WHERE token = token_budget.token AND expires_at <= checked_at;
    SELECT backfill.request_ceiling(token_budget, configured_limit, limit_share, window_seconds) - count(*),
           extract(epoch FROM min(p.expires_at) - checked_at)
      INTO free_permits, wait_seconds FROM backfill.permits p WHERE p.token = token_budget.token;
    free_permits := least(free_permits, wanted, CASE WHEN calls_each > 0 THEN affordable / calls_each END);
    IF free_permits <= 0 THEN
        -- If the ceiling shrank, the window holds too many: the first permit that expires frees no place yet. To
        -- try again then is cheap.
        RETURN;
    END IF;
    wait_seconds := 0;
    WITH granted AS (
        INSERT INTO backfill.permits (token, expires_at)
        SELECT token_budget.token, checked_at + make_interval(secs => timeout_seconds + window_seconds)
        FROM generate_series(1, free_permits)
        RETURNING permit_id
    ) SELECT array_agg(permit_id) INTO permit_ids FROM granted;
    INSERT INTO backfill.ledger AS l (token, day, calls) VALUES (token_budget.token, p_day, free_permits * calls_each)
    ON CONFLICT (token, day) DO UPDATE SET calls = l.calls + EXCLUDED.calls;
END $$;

-- Take permits for the backfill.
CREATE FUNCTION backfill.take_permits(
    p_token text, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    token_budget backfill.budget;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (p_token) ON CONFLICT DO NOTHING;
    SELECT * INTO token_budget FROM backfill.budget WHERE token = p_token FOR UPDATE;
    SELECT * INTO permit_ids, wait_seconds, calls_affordable FROM backfill.grant_permits(
        token_budget, wanted, calls_each, p_day,
        backfill.backfill_calls_left(token_budget, p_day, configured_daily_calls, reserve, spend_extra),
        configured_limit, limit_share, window_seconds, timeout_seconds);
END $$;

-- Take permits for live sampling, out of its own budget.
CREATE FUNCTION backfill.take_live_permits(
    p_token text, wanted integer, calls_each integer, p_day date,
    configured_limit integer, limit_share double precision, window_seconds double precision,
    timeout_seconds double precision,
    configured_daily_calls integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_seconds double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    token_budget backfill.budget;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (p_token) ON CONFLICT DO NOTHING;
    SELECT * INTO token_budget FROM backfill.budget WHERE token = p_token FOR UPDATE;
    SELECT * INTO permit_ids, wait_seconds, calls_affordable FROM backfill.grant_permits(
        token_budget, wanted, calls_each, p_day,
        backfill.live_calls_left(token_budget, p_day, configured_daily_calls, reserve, spend_extra),
        configured_limit, limit_share, window_seconds, timeout_seconds);
    UPDATE backfill.ledger SET live_calls = live_calls + cardinality(permit_ids) * calls_each
     WHERE token = p_token AND day = p_day;
END $$;

-- Requests have ended: their permits leave the rate window one window from now, and unspent calls are refunded.
CREATE FUNCTION backfill.settle_permits(
    p_token text, settled_ids bigint[], refund integer, p_day date, window_seconds double precision,
    header_limit integer, header_remaining integer, pause_seconds double precision
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    checked_at timestamptz;
    external integer;
BEGIN
    PERFORM FROM backfill.budget WHERE token = p_token FOR UPDATE;
    checked_at := clock_timestamp();
    UPDATE backfill.permits SET settled = true, expires_at = checked_at + make_interval(secs => window_seconds)
     WHERE permit_id = ANY (settled_ids);
    UPDATE backfill.ledger SET calls = calls - refund WHERE token = p_token AND day = p_day AND refund <> 0;
    IF header_limit IS NOT NULL AND header_remaining IS NOT NULL THEN
        SELECT greatest(0, header_limit - header_remaining - count(*)) INTO external
          FROM backfill.permits WHERE token = p_token AND expires_at > checked_at;
        UPDATE backfill.budget SET
            vendor_limit = header_limit,
            external_requests = CASE
                WHEN external_seen_at > checked_at - make_interval(secs => window_seconds)
                THEN greatest(external_requests, external)
                ELSE external END,
            external_seen_at = CASE
                WHEN external >= coalesce(external_requests, 0)
                  OR external_seen_at <= checked_at - make_interval(secs => window_seconds) THEN checked_at
                ELSE external_seen_at END
         WHERE token = p_token;
    END IF;
    IF pause_seconds > 0 THEN
        UPDATE backfill.budget
           SET paused_until = greatest(paused_until, checked_at + make_interval(secs => pause_seconds))
         WHERE token = p_token;
    END IF;
END $$;

-- Return permits that were never used.
CREATE FUNCTION backfill.return_permits(p_token text, unused_ids bigint[], refund integer, p_day date)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM backfill.budget WHERE token = p_token FOR UPDATE;
    DELETE FROM backfill.permits WHERE permit_id = ANY (unused_ids);
    UPDATE backfill.ledger SET calls = calls - refund WHERE token = p_token AND day = p_day;
END $$;

-- The name and columns that session_evidence had up to migration 8. The next version drops this view.
CREATE VIEW backfill.evidence AS
SELECT symbol_id, interval_type, source_interval, session_day, requested_at AS asked_at, request_count AS asks,
       no_new_data_since AS silent_since, source_rows, data_until AS reached, is_published AS published,
       published_at AS published_seen, not_returned AS withheld, official_close, auction_volume
FROM backfill.session_evidence;
COMMENT ON VIEW backfill.evidence IS 'Old name of backfill.session_evidence; the next version drops it.';
-- Roles that may read the table may read the view.
DO $$
DECLARE
    reader record;
BEGIN
    FOR reader IN
        SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS name
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON backfill.evidence TO %s', reader.name);
    END LOOP;
END $$;
