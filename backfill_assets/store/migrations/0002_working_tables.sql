-- Everything that is only ours lives in a schema of its own.

CREATE SCHEMA IF NOT EXISTS backfill;

-- What was asked and what came, per ticker, bar interval, source and session.
CREATE TABLE backfill.evidence (
    symbol_id       integer        NOT NULL,
    interval_type   text           NOT NULL,
    source_interval text           NOT NULL,
    session_day     date           NOT NULL,
    asked_at        timestamptz    NOT NULL,            -- the newest ask, at the run's now
    asks            integer        NOT NULL DEFAULT 1,
    silent_since    timestamptz,                        -- from when asks brought nothing new; null: nothing is withheld
    source_rows     integer        NOT NULL,            -- rows of the newest answer
    reached         timestamptz,                        -- to where the newest answer's rows reach
    published       boolean        NOT NULL,            -- ever seen published to the end
    published_seen  timestamptz,                        -- when that was first seen
    withheld        int4multirange NOT NULL,            -- slots of the session that did not come
    official_close  double precision,
    auction_volume  bigint,
    PRIMARY KEY (symbol_id, interval_type, source_interval, session_day)
);

-- Rows that broke a rule, as received.
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

-- Values that a final bar had before the vendor changed them.
CREATE TABLE backfill.revisions (
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,
    "timestamp"     timestamptz NOT NULL,
    open_price      double precision NOT NULL,
    high_price      double precision NOT NULL,
    low_price       double precision NOT NULL,
    close_price     double precision NOT NULL,
    volume          bigint      NOT NULL,
    source_interval text,
    source_rows     smallint,
    fetched_at      timestamptz,
    replaced_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON backfill.revisions (symbol_id, "timestamp");

-- Runs; one that stopped beating, or whose process is gone, is dead.
CREATE TABLE backfill.runs (
    run_id       uuid PRIMARY KEY,
    host         text        NOT NULL,  -- machine and process namespace
    pid          integer     NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz,
    described    text        NOT NULL,
    tickers      integer     NOT NULL,
    outcome      text
);
CREATE INDEX ON backfill.runs (started_at) WHERE finished_at IS NULL;

-- Which run is asking for which ticker, so that two never fetch one gap twice. A claim lives as long
-- as its run, or until it is released.
CREATE TABLE backfill.claims (
    symbol_id     integer NOT NULL,
    interval_type text    NOT NULL,
    run_id        uuid    NOT NULL,
    released_at   timestamptz,
    PRIMARY KEY (symbol_id, interval_type)
);

-- Every attempt at the vendor.
CREATE TABLE backfill.requests (
    at          timestamptz NOT NULL,
    run_id      uuid,
    endpoint    text        NOT NULL,
    ticker      text,
    status      smallint,
    error       text,
    calls       smallint    NOT NULL,
    rows        integer,
    bytes       integer     NOT NULL,
    seconds     real        NOT NULL
);
CREATE INDEX ON backfill.requests (at);

-- What the vendor's daily data say: whether a ticker traded on a day, and from when to when it is listed.
CREATE TABLE backfill.daily (
    symbol_id   integer NOT NULL,
    day         date    NOT NULL,
    close_price double precision,
    volume      bigint  NOT NULL,      -- 0: nothing traded
    PRIMARY KEY (symbol_id, day)
);
CREATE TABLE backfill.lives (
    symbol_id integer PRIMARY KEY,
    first_day date,                    -- null: the vendor has no daily data of it
    last_day  date,                    -- the newest day of those data
    ended     boolean     NOT NULL,    -- whether the life was over then
    read_at   timestamptz NOT NULL
);
CREATE TABLE backfill.bulk_files (
    day     date PRIMARY KEY,
    read_at timestamptz NOT NULL,
    tickers integer     NOT NULL       -- 0: the vendor had no file
);

-- Sessions that the calendar has and the market did not hold.
CREATE TABLE backfill.closures (
    day      date PRIMARY KEY,
    found_at timestamptz NOT NULL,
    reason   text        NOT NULL
);

-- A write by somebody else over one of our bars makes it theirs: every write of ours changes fetched_at.
CREATE FUNCTION backfill.disown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.source := NULL;
    NEW.source_interval := NULL;
    NEW.source_rows := NULL;
    NEW.is_final := NULL;
    NEW.fetched_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER backfill_disown BEFORE UPDATE ON market_data FOR EACH ROW
WHEN (OLD.source IS NOT NULL AND NEW.fetched_at IS NOT DISTINCT FROM OLD.fetched_at
      AND (NEW.open_price, NEW.high_price, NEW.low_price, NEW.close_price, NEW.volume)
          IS DISTINCT FROM (OLD.open_price, OLD.high_price, OLD.low_price, OLD.close_price, OLD.volume))
EXECUTE FUNCTION backfill.disown();

-- What a person should look at and decide; one row a kind and subject, as long as it holds.
CREATE TABLE backfill.findings (
    kind     text NOT NULL,
    subject  text NOT NULL,
    detail   text NOT NULL,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (kind, subject)
);
