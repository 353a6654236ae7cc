-- Live collection: what was read of the vendor's day so far, the provisional bars made from it, how the final
-- bars differed from those, and a budget of its own.

-- Every sample, with the vendor's own stamp; a stamp that comes again with more volume replaces the earlier reading.
CREATE TABLE backfill.live_samples (
    stamp       timestamptz      NOT NULL,
    symbol_id   integer          NOT NULL,
    open_price  double precision NOT NULL, -- open, high, low and volume are the day's so far, close is the last price
    high_price  double precision NOT NULL,
    low_price   double precision NOT NULL,
    close_price double precision NOT NULL,
    volume      bigint           NOT NULL,
    sampled_at  timestamptz      NOT NULL, -- the round's now
    PRIMARY KEY (stamp, symbol_id)
);

-- One row a round; whoever enters the moment it was due takes the round, so that two samplers share the work.
CREATE TABLE backfill.live_rounds (
    exchange        text        NOT NULL,
    due_at          timestamptz NOT NULL,
    sampled_at      timestamptz NOT NULL,
    session_day     date        NOT NULL,
    method          text,                  -- 'tickers' (1 call each) or 'exchange' (100 calls)
    tickers         integer     NOT NULL,  -- sampled; those that another collector writes are not among them
    calls           integer     NOT NULL DEFAULT 0,
    fresh           integer     NOT NULL DEFAULT 0,
    repeated        integer     NOT NULL DEFAULT 0,
    other_session   integer     NOT NULL DEFAULT 0,
    absent          integer     NOT NULL DEFAULT 0,
    broken          integer     NOT NULL DEFAULT 0,
    unanswered      integer     NOT NULL DEFAULT 0,
    delay_seconds   real,                  -- from the vendor's stamp to the round, median of the fresh samples
    exchange_failed boolean     NOT NULL DEFAULT false,
    finished        boolean     NOT NULL DEFAULT false,
    error           text,
    PRIMARY KEY (exchange, due_at)
);

-- What samples say of a slot: where its provisional bar comes from, or that nothing traded in it.
CREATE TABLE backfill.live_slots (
    symbol_id     integer     NOT NULL,
    interval_type text        NOT NULL, -- our name of it
    "timestamp"   timestamptz NOT NULL,
    samples       smallint    NOT NULL,
    exact         text[]      NOT NULL, -- fields that are the live series' own for exactly this slot
    since         timestamptz NOT NULL, -- stamps of the samples that the volume lies between
    until         timestamptz NOT NULL,
    traded        boolean     NOT NULL,
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
);

-- What a provisional bar said and what the final one says that took its place.
CREATE TABLE backfill.reconciled (
    symbol_id       integer          NOT NULL,
    interval_type   text             NOT NULL,
    "timestamp"     timestamptz      NOT NULL,
    live_open       double precision NOT NULL,
    live_high       double precision NOT NULL,
    live_low        double precision NOT NULL,
    live_close      double precision NOT NULL,
    live_volume     bigint           NOT NULL,
    samples         smallint,
    exact           text[],
    final_open      double precision NOT NULL,
    final_high      double precision NOT NULL,
    final_low       double precision NOT NULL,
    final_close     double precision NOT NULL,
    final_volume    bigint           NOT NULL,
    source_interval text             NOT NULL, -- of the final bar: another series than live
    reconciled_at   timestamptz      NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
);

-- The budget of live sampling. Its calls are part of the day's; what it has not spent yet is kept from the backfill.
ALTER TABLE backfill.ledger ADD COLUMN live_calls integer NOT NULL DEFAULT 0;
ALTER TABLE backfill.budget ADD COLUMN live_budget integer; -- calls of a day, as the newest round has it
ALTER TABLE backfill.budget ADD COLUMN live_day date;       -- the day of that round

-- Calls of a day that are ours, spent or not.
CREATE FUNCTION backfill.calls_ours(
    b backfill.budget, own_daily integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT floor((1 - reserve) * coalesce(b.account_limit, own_daily))::integer
         + CASE WHEN spend_extra THEN coalesce(b.account_extra, 0) ELSE 0 END
$$;

-- Calls spent on a day: by our own ledger, or more where the vendor said so.
CREATE FUNCTION backfill.calls_spent(b backfill.budget, on_day date) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN b.account_day = on_day
                THEN greatest(own.calls, b.account_used + own.calls - b.account_own)
                ELSE own.calls END
    FROM (SELECT coalesce((SELECT calls FROM backfill.ledger WHERE token = b.token AND day = on_day), 0)) AS own (calls)
$$;

-- Live calls that a day still has: at most half of what is ours, and none where no round was made for four days.
CREATE FUNCTION backfill.live_unspent(
    b backfill.budget, on_day date, own_daily integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN b.live_day BETWEEN on_day - 4 AND on_day THEN greatest(0,
        least(b.live_budget, backfill.calls_ours(b, own_daily, reserve, spend_extra) / 2)
        - coalesce((SELECT live_calls FROM backfill.ledger WHERE token = b.token AND day = on_day), 0)) ELSE 0 END
$$;

-- Calls left for the backfill on a UTC day.
CREATE OR REPLACE FUNCTION backfill.calls_left(
    b backfill.budget, on_day date, own_daily integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT backfill.calls_ours(b, own_daily, reserve, spend_extra) - backfill.calls_spent(b, on_day)
         - backfill.live_unspent(b, on_day, own_daily, reserve, spend_extra)
$$;

-- Calls left for live sampling on a UTC day.
CREATE FUNCTION backfill.live_left(
    b backfill.budget, on_day date, own_daily integer, reserve double precision, spend_extra boolean
) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT least(backfill.live_unspent(b, on_day, own_daily, reserve, spend_extra),
                 backfill.calls_ours(b, own_daily, reserve, spend_extra) - backfill.calls_spent(b, on_day))
$$;

-- Take up to `wanted` permits of `calls` calls each, as the day affords them. The token's row is locked by the caller.
CREATE FUNCTION backfill.grant_permits(
    b backfill.budget, wanted integer, calls_each integer, on_day date, affordable integer,
    own_limit integer, share double precision, window_s double precision, timeout_s double precision,
    OUT permit_ids bigint[], OUT wait_s double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    free integer;
BEGIN
    permit_ids := '{}';
    wait_s := 0;
    calls_affordable := affordable;
    IF calls_each > 0 AND affordable < calls_each THEN
        RETURN;
    END IF;
    IF b.paused_until > moment THEN
        wait_s := extract(epoch FROM b.paused_until - moment);
        RETURN;
    END IF;
    DELETE FROM backfill.permits WHERE token = b.token AND free_at <= moment;
    SELECT backfill.ceiling_of(b, own_limit, share, window_s) - count(*),
           extract(epoch FROM min(p.free_at) - moment)
      INTO free, wait_s FROM backfill.permits p WHERE p.token = b.token;
    free := least(free, wanted, CASE WHEN calls_each > 0 THEN affordable / calls_each END);
    IF free <= 0 THEN
        -- With the window over-full (the ceiling shrank) the first to leave frees nothing yet, but a look then is cheap.
        RETURN;
    END IF;
    wait_s := 0;
    WITH taken AS (
        INSERT INTO backfill.permits (token, free_at)
        SELECT b.token, moment + make_interval(secs => timeout_s + window_s) FROM generate_series(1, free)
        RETURNING permit_id
    ) SELECT array_agg(permit_id) INTO permit_ids FROM taken;
    INSERT INTO backfill.ledger AS l (token, day, calls) VALUES (b.token, on_day, free * calls_each)
    ON CONFLICT (token, day) DO UPDATE SET calls = l.calls + EXCLUDED.calls;
END $$;

CREATE OR REPLACE FUNCTION backfill.take_permits(
    of_token text, wanted integer, calls_each integer, on_day date,
    own_limit integer, share double precision, window_s double precision, timeout_s double precision,
    own_daily integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_s double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    b backfill.budget;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (of_token) ON CONFLICT DO NOTHING;
    SELECT * INTO b FROM backfill.budget WHERE token = of_token FOR UPDATE;
    SELECT * INTO permit_ids, wait_s, calls_affordable FROM backfill.grant_permits(
        b, wanted, calls_each, on_day, backfill.calls_left(b, on_day, own_daily, reserve, spend_extra),
        own_limit, share, window_s, timeout_s);
END $$;

-- The same out of the live budget.
CREATE FUNCTION backfill.take_live_permits(
    of_token text, wanted integer, calls_each integer, on_day date,
    own_limit integer, share double precision, window_s double precision, timeout_s double precision,
    own_daily integer, reserve double precision, spend_extra boolean,
    OUT permit_ids bigint[], OUT wait_s double precision, OUT calls_affordable integer
) LANGUAGE plpgsql AS $$
DECLARE
    b backfill.budget;
BEGIN
    INSERT INTO backfill.budget (token) VALUES (of_token) ON CONFLICT DO NOTHING;
    SELECT * INTO b FROM backfill.budget WHERE token = of_token FOR UPDATE;
    SELECT * INTO permit_ids, wait_s, calls_affordable FROM backfill.grant_permits(
        b, wanted, calls_each, on_day, backfill.live_left(b, on_day, own_daily, reserve, spend_extra),
        own_limit, share, window_s, timeout_s);
    UPDATE backfill.ledger SET live_calls = live_calls + cardinality(permit_ids) * calls_each
     WHERE token = of_token AND day = on_day;
END $$;
