-- One budget for one token, shared by every process. The token itself is never here, only a fingerprint.

CREATE TABLE backfill.budget (
    token            text PRIMARY KEY,
    paused_until     timestamptz,
    foreign_requests integer,      -- most requests of others seen in one rate window
    foreign_seen     timestamptz,
    vendor_limit     integer,      -- X-RateLimit-Limit as last seen
    account_day      date,         -- what the vendor said of the day's calls
    account_used     integer,
    account_limit    integer,
    account_extra    integer,
    account_own      integer,      -- our own ledger when it said so
    account_read_at  timestamptz
);

-- A request that is under way, or that the vendor may still count in its rate window.
CREATE TABLE backfill.permits (
    permit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token     text        NOT NULL,
    settled   boolean     NOT NULL DEFAULT false,
    free_at   timestamptz NOT NULL
);
CREATE INDEX ON backfill.permits (token, free_at);

-- Calls spent per UTC day, counted when granted and given back when they turn out to be free.
CREATE TABLE backfill.ledger (
    token text    NOT NULL,
    day   date    NOT NULL,
    calls integer NOT NULL DEFAULT 0,
    PRIMARY KEY (token, day)
);

-- How many requests may occupy the rate window: our share of the limit, less what others use of it.
CREATE FUNCTION backfill.ceiling_of(
    b backfill.budget, own_limit integer, share double precision, window_s double precision
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT greatest(1, floor(least(
        share * least(own_limit, coalesce(b.vendor_limit, own_limit)),
        CASE WHEN b.foreign_requests > 0 AND b.foreign_seen > clock_timestamp() - make_interval(secs => 2 * window_s)
             THEN 0.95 * b.vendor_limit - 1.1 * b.foreign_requests END
    )))::integer
$$;

-- Calls left for us on a UTC day, out of what the vendor said and what we spent since.
CREATE FUNCTION backfill.calls_left(
    b backfill.budget, on_day date, own_daily integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT floor((1 - reserve) * coalesce(b.account_limit, own_daily))::integer
         + CASE WHEN spend_extra THEN coalesce(b.account_extra, 0) ELSE 0 END
         - CASE WHEN b.account_day = on_day
                THEN greatest(own.calls, b.account_used + own.calls - b.account_own)
                ELSE own.calls END
    FROM (SELECT coalesce((SELECT calls FROM backfill.ledger WHERE token = b.token AND day = on_day), 0)) AS own (calls)
$$;

-- Take up to `wanted` permits of `calls` calls each. None: come back after wait_s; 0 calls left: not today.
CREATE FUNCTION backfill.take_permits(
    of_token text, wanted integer, calls_each integer, on_day date,
    own_limit integer, share double precision, window_s double precision, timeout_s double precision,
    own_daily integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_s double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    b backfill.budget;
    moment timestamptz;
    free integer;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (of_token) ON CONFLICT DO NOTHING;
    SELECT * INTO b FROM backfill.budget WHERE token = of_token FOR UPDATE;
    moment := clock_timestamp();
    permit_ids := '{}';
    wait_s := 0;
    calls_affordable := backfill.calls_left(b, on_day, own_daily, reserve, spend_extra);
    IF calls_each > 0 AND calls_affordable < calls_each THEN
        RETURN;
    END IF;
    IF b.paused_until > moment THEN
        wait_s := extract(epoch FROM b.paused_until - moment);
        RETURN;
    END IF;
    DELETE FROM backfill.permits WHERE token = of_token AND free_at <= moment;
    SELECT backfill.ceiling_of(b, own_limit, share, window_s) - count(*),
           extract(epoch FROM min(p.free_at) - moment)
      INTO free, wait_s FROM backfill.permits p WHERE p.token = of_token;
    free := least(free, wanted, CASE WHEN calls_each > 0 THEN calls_affordable / calls_each END);
    IF free <= 0 THEN
        -- With the window over-full (the ceiling shrank) the first to leave frees nothing yet, but a look then is cheap.
        RETURN;
    END IF;
    wait_s := 0;
    WITH taken AS (
        INSERT INTO backfill.permits (token, free_at)
        SELECT of_token, moment + make_interval(secs => timeout_s + window_s) FROM generate_series(1, free)
        RETURNING permit_id
    ) SELECT array_agg(permit_id) INTO permit_ids FROM taken;
    INSERT INTO backfill.ledger AS l (token, day, calls) VALUES (of_token, on_day, free * calls_each)
    ON CONFLICT (token, day) DO UPDATE SET calls = l.calls + EXCLUDED.calls;
END $$;

-- Requests were answered (or failed): they leave the window one window from now; unspent calls come back.
CREATE FUNCTION backfill.settle_permits(
    of_token text, settled_ids bigint[], refund integer, on_day date, window_s double precision,
    seen_limit integer, seen_remaining integer, pause_s double precision
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    others integer;
BEGIN
    PERFORM FROM backfill.budget WHERE token = of_token FOR UPDATE;
    moment := clock_timestamp();
    UPDATE backfill.permits SET settled = true, free_at = moment + make_interval(secs => window_s)
     WHERE permit_id = ANY (settled_ids);
    UPDATE backfill.ledger SET calls = calls - refund WHERE token = of_token AND day = on_day AND refund <> 0;
    IF seen_limit IS NOT NULL AND seen_remaining IS NOT NULL THEN
        SELECT greatest(0, seen_limit - seen_remaining - count(*)) INTO others
          FROM backfill.permits WHERE token = of_token AND free_at > moment;
        UPDATE backfill.budget SET
            vendor_limit = seen_limit,
            foreign_requests = CASE
                WHEN foreign_seen > moment - make_interval(secs => window_s) THEN greatest(foreign_requests, others)
                ELSE others END,
            foreign_seen = CASE
                WHEN others >= coalesce(foreign_requests, 0)
                  OR foreign_seen <= moment - make_interval(secs => window_s) THEN moment
                ELSE foreign_seen END
         WHERE token = of_token;
    END IF;
    IF pause_s > 0 THEN
        UPDATE backfill.budget SET paused_until = greatest(paused_until, moment + make_interval(secs => pause_s))
         WHERE token = of_token;
    END IF;
END $$;

-- Permits that were never used.
CREATE FUNCTION backfill.return_permits(of_token text, unused_ids bigint[], refund integer, on_day date)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM backfill.budget WHERE token = of_token FOR UPDATE;
    DELETE FROM backfill.permits WHERE permit_id = ANY (unused_ids);
    UPDATE backfill.ledger SET calls = calls - refund WHERE token = of_token AND day = on_day;
END $$;
