-- The tables of schema backfill as of migration 9, for a new database. functions.sql adds the functions, the trigger
-- on market_data and the views under old names. 0009_standard_names.sql upgrades a database of migration 8 to exactly
-- this schema. Later migrations change it in files of their own (0010 and so on); this file stays as it is.

CREATE SCHEMA IF NOT EXISTS backfill;

-- Which migrations were applied, and from which migration on a program can still read the database after each.
CREATE TABLE backfill.migrations (
    number         integer     PRIMARY KEY,
    name           text        NOT NULL,
    applied_at     timestamptz NOT NULL DEFAULT now(),
    readable_since integer     NOT NULL  -- a program that knows this migration can read and write the database
);

-- Whether market_symbols and market_data have exactly the definition of contract_tables.sql. Only a managed table may
-- get another column type or partitions in a later migration.
CREATE TABLE backfill.contract_tables (
    table_name  text        PRIMARY KEY,
    is_managed  boolean     NOT NULL,
    differences text[]      NOT NULL,  -- one line each; empty for a managed table
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was requested from the vendor and what it returned, per symbol, bar interval, source interval and session.
CREATE TABLE backfill.session_evidence (
    symbol_id         integer        NOT NULL,
    interval_type     text           NOT NULL,
    source_interval   text           NOT NULL,
    session_day       date           NOT NULL,
    requested_at      timestamptz    NOT NULL,            -- time of the newest request
    request_count     integer        NOT NULL DEFAULT 1,
    no_new_data_since timestamptz,                        -- from when requests returned no new slots; null: none missing
    source_rows       integer        NOT NULL,            -- rows that the newest request returned
    data_until        timestamptz,                        -- end of the newest source row that was ever returned
    is_published      boolean        NOT NULL,            -- whether the vendor ever returned data up to the close
    published_at      timestamptz,                        -- when that was first seen
    not_returned      int4multirange NOT NULL,            -- slots of the session that the newest request did not return
    official_close    double precision,
    auction_volume    bigint,
    PRIMARY KEY (symbol_id, interval_type, source_interval, session_day)
);
-- The newest sessions are read for all symbols at once.
CREATE INDEX session_evidence_by_day ON backfill.session_evidence (session_day);

-- Source rows that broke a rule, as received.
CREATE TABLE backfill.rejects (
    symbol_id       integer     NOT NULL,
    source_interval text        NOT NULL,
    "timestamp"     timestamptz NOT NULL,
    reason          text        NOT NULL,
    open_price      double precision,
    high_price      double precision,
    low_price       double precision,
    close_price     double precision,
    volume          double precision,
    first_seen      timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT
        (symbol_id, source_interval, "timestamp", reason, open_price, high_price, low_price, close_price, volume)
);
CREATE INDEX rejects_cumulative_volume ON backfill.rejects ("timestamp") WHERE reason = 'volume_cumulative';

-- The values that a final bar had before the vendor changed them.
CREATE TABLE backfill.revisions (
    symbol_id       integer          NOT NULL,
    interval_type   text             NOT NULL,
    "timestamp"     timestamptz      NOT NULL,
    open_price      double precision NOT NULL,
    high_price      double precision NOT NULL,
    low_price       double precision NOT NULL,
    close_price     double precision NOT NULL,
    volume          bigint           NOT NULL,
    source_interval text,
    source_rows     smallint,
    fetched_at      timestamptz,
    replaced_at     timestamptz      NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON backfill.revisions (symbol_id, "timestamp");

-- Runs. One without a recent heartbeat, or whose process has ended, is dead.
CREATE TABLE backfill.runs (
    run_id             uuid        PRIMARY KEY,
    host               text        NOT NULL,  -- machine and process namespace
    pid                integer     NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at        timestamptz,
    description        text        NOT NULL,
    tickers            integer     NOT NULL,
    outcome            text,
    missing_before     integer,               -- what the run changed, for reports; null if it ended too early
    missing_after      integer,
    inserted           integer,
    calls              integer,
    process_started_at timestamptz            -- distinguishes it from a later process with the same pid
);
CREATE INDEX ON backfill.runs (started_at) WHERE finished_at IS NULL;

-- Which run requests which symbol, so that two runs do not fetch the same gap. A claim ends with its run, or when it
-- is released.
CREATE TABLE backfill.claims (
    symbol_id     integer NOT NULL,
    interval_type text    NOT NULL,
    run_id        uuid    NOT NULL,
    released_at   timestamptz,
    PRIMARY KEY (symbol_id, interval_type)
);

-- Every attempt at a request to the vendor.
CREATE TABLE backfill.requests (
    at       timestamptz NOT NULL,
    run_id   uuid,
    endpoint text        NOT NULL,
    ticker   text,
    status   smallint,
    error    text,
    calls    smallint    NOT NULL,
    rows     integer,
    bytes    integer     NOT NULL,
    seconds  real        NOT NULL
);
CREATE INDEX ON backfill.requests (at);

-- The vendor's daily data. All symbols of the newest days are read at once, so the day comes first in the key.
CREATE TABLE backfill.daily_prices (
    symbol_id   integer NOT NULL,
    day         date    NOT NULL,
    close_price double precision,
    volume      bigint  NOT NULL,      -- 0: nothing traded
    PRIMARY KEY (day, symbol_id)
);

-- From when to when a symbol is listed, as far as the vendor's daily data show it.
CREATE TABLE backfill.listing_lives (
    symbol_id integer     PRIMARY KEY,
    first_day date,                    -- null: the vendor has no daily data for it
    last_day  date,                    -- the newest day of the daily data
    has_ended boolean     NOT NULL,    -- whether the listing was over when the data were read
    read_at   timestamptz NOT NULL
);

-- Which daily files of the whole exchange were read.
CREATE TABLE backfill.bulk_files (
    day     date        PRIMARY KEY,
    read_at timestamptz NOT NULL,
    tickers integer     NOT NULL       -- 0: the vendor had no file
);

-- Sessions of the calendar that the market did not hold.
CREATE TABLE backfill.closures (
    day      date        PRIMARY KEY,
    found_at timestamptz NOT NULL,
    reason   text        NOT NULL
);

-- What needs a decision by a person: one row per kind and subject, for as long as it holds.
CREATE TABLE backfill.findings (
    kind     text        NOT NULL,
    subject  text        NOT NULL,
    detail   text        NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject)
);

-- When the weekly review last read a symbol's recent sessions again for corrections.
CREATE TABLE backfill.reviews (
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,
    source_interval text        NOT NULL,
    reviewed_at     timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, interval_type, source_interval)
);

-- The vendor's host whose bars this database holds. The first bars that are stored bind it, so that bars of the
-- sandbox and of the vendor never mix.
CREATE TABLE backfill.source_host (
    is_only_row boolean     PRIMARY KEY DEFAULT true CHECK (is_only_row),
    host        text        NOT NULL,
    bound_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The budget of each token, shared by every process. The token itself is never stored, only its fingerprint.
CREATE TABLE backfill.budget (
    token                text PRIMARY KEY,
    paused_until         timestamptz,
    external_requests    integer,      -- most requests of other programs seen in one rate window
    external_seen_at     timestamptz,
    vendor_limit         integer,      -- X-RateLimit-Limit as last seen
    account_day          date,         -- the account endpoint's figures for the day
    account_used         integer,
    account_limit        integer,
    account_extra        integer,
    account_ledger_calls integer,      -- calls in backfill.ledger when the account was read
    account_read_at      timestamptz,
    live_daily_calls     integer,      -- calls per day that the newest round of live sampling declared
    live_declared_on     date          -- the day of that round
);

-- Requests that are under way, or that may still count in the vendor's rate window.
CREATE TABLE backfill.permits (
    permit_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token      text        NOT NULL,
    settled    boolean     NOT NULL DEFAULT false,
    expires_at timestamptz NOT NULL
);
CREATE INDEX ON backfill.permits (token, expires_at);

-- Calls spent per UTC day: counted when permits are granted, refunded when the request turns out to be free.
CREATE TABLE backfill.ledger (
    token      text    NOT NULL,
    day        date    NOT NULL,
    calls      integer NOT NULL DEFAULT 0,
    live_calls integer NOT NULL DEFAULT 0,  -- the part of calls that live sampling spent
    PRIMARY KEY (token, day)
);

-- Live samples: the vendor's quote of the day so far. A quote with the same time and more volume replaces the earlier one.
CREATE TABLE backfill.live_samples (
    vendor_timestamp timestamptz      NOT NULL,
    symbol_id        integer          NOT NULL,
    open_price       double precision NOT NULL, -- open, high, low and volume are of the day so far; close is the last price
    high_price       double precision NOT NULL,
    low_price        double precision NOT NULL,
    close_price      double precision NOT NULL,
    volume           bigint           NOT NULL,
    sampled_at       timestamptz      NOT NULL, -- time of the round
    PRIMARY KEY (vendor_timestamp, symbol_id)
);

-- Rounds of live sampling. The process that inserts the row of a due time makes the round.
CREATE TABLE backfill.live_rounds (
    exchange        text        NOT NULL,
    due_at          timestamptz NOT NULL,
    sampled_at      timestamptz NOT NULL,
    session_day     date        NOT NULL,
    method          text,                  -- 'tickers' (1 call each) or 'exchange' (100 calls)
    tickers         integer     NOT NULL,  -- symbols sampled; without those that another collector writes
    calls           integer     NOT NULL DEFAULT 0,
    fresh           integer     NOT NULL DEFAULT 0,
    repeated        integer     NOT NULL DEFAULT 0,
    other_session   integer     NOT NULL DEFAULT 0,
    absent          integer     NOT NULL DEFAULT 0,
    broken          integer     NOT NULL DEFAULT 0,
    unanswered      integer     NOT NULL DEFAULT 0,
    delay_seconds   real,                  -- from the vendor's timestamp to the round, median of the fresh samples
    exchange_failed boolean     NOT NULL DEFAULT false,
    finished        boolean     NOT NULL DEFAULT false,
    error           text,
    PRIMARY KEY (exchange, due_at)
);

-- What samples show of a slot: how its provisional bar was built, or that nothing traded in it.
CREATE TABLE backfill.live_slots (
    symbol_id     integer     NOT NULL,
    interval_type text        NOT NULL, -- this program's name of the interval
    "timestamp"   timestamptz NOT NULL,
    sample_count  smallint    NOT NULL,
    exact_fields  text[]      NOT NULL, -- fields that the samples give for exactly this slot
    volume_from   timestamptz NOT NULL, -- times of the samples between which the volume was traded
    volume_until  timestamptz NOT NULL,
    has_traded    boolean     NOT NULL,
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
);

-- The values of a provisional bar beside those of the final bar that replaced it.
CREATE TABLE backfill.live_reconciliations (
    symbol_id       integer          NOT NULL,
    interval_type   text             NOT NULL,
    "timestamp"     timestamptz      NOT NULL,
    live_open       double precision NOT NULL,
    live_high       double precision NOT NULL,
    live_low        double precision NOT NULL,
    live_close      double precision NOT NULL,
    live_volume     bigint           NOT NULL,
    sample_count    smallint,
    exact_fields    text[],
    final_open      double precision NOT NULL,
    final_high      double precision NOT NULL,
    final_low       double precision NOT NULL,
    final_close     double precision NOT NULL,
    final_volume    bigint           NOT NULL,
    source_interval text             NOT NULL, -- of the final bar
    reconciled_at   timestamptz      NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
);

-- The state of each check or run as last observed. Addresses of people are secrets: only fingerprints are stored.
CREATE TABLE backfill.alert_states (
    name          text        PRIMARY KEY,
    observed_at   timestamptz NOT NULL,
    failing_since timestamptz,             -- null: it passes
    severity      text,                    -- of the newest message about the failure
    notified_at   timestamptz,             -- when that message was queued
    meaning       text        NOT NULL
);

-- Observations that were processed, so that a replay changes nothing.
CREATE TABLE backfill.alert_events (
    event_id    text        PRIMARY KEY,
    observed_at timestamptz NOT NULL
);
CREATE INDEX ON backfill.alert_events (observed_at);

-- Vendor gaps (slots that the vendor never returned) that each check has reported.
CREATE TABLE backfill.alert_vendor_gaps (
    name   text    NOT NULL,
    ticker text    NOT NULL,
    day    date    NOT NULL,
    slots  integer NOT NULL,
    PRIMARY KEY (ticker, day, name)
);

-- The outbox. Ids ascend in the order of commit, because messages are queued under a lock.
CREATE TABLE backfill.alert_messages (
    message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL,
    title      text        NOT NULL,
    body       text        NOT NULL,
    queued_at  timestamptz NOT NULL
);

-- Delivery state of each address. Messages go out in order; an address that fails waits longer each time.
CREATE TABLE backfill.alert_endpoints (
    endpoint          text        PRIMARY KEY,
    last_delivered_id bigint      NOT NULL,
    delivered_at      timestamptz,
    failures          integer     NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz NOT NULL,
    last_error        text,
    leased_until      timestamptz            -- by the server's clock: a process is sending
);
