-- What was told to people and what is still to be told. Addresses are secrets: only fingerprints of them are here.

-- The state of each check or run as last observed.
CREATE TABLE backfill.alert_states (
    name          text PRIMARY KEY,
    observed_at   timestamptz NOT NULL,
    failing_since timestamptz,             -- null: it holds
    severity      text,                    -- as last told while it fails
    told_at       timestamptz,             -- when its failure was last told
    meaning       text        NOT NULL
);

-- Observations that were taken into account, so that a replay changes nothing.
CREATE TABLE backfill.alert_events (
    event_id    text PRIMARY KEY,
    observed_at timestamptz NOT NULL
);
CREATE INDEX ON backfill.alert_events (observed_at);

-- Slots that the vendor never gave, as far as each check is known to have seen it.
CREATE TABLE backfill.alert_given_up (
    name   text    NOT NULL,
    ticker text    NOT NULL,
    day    date    NOT NULL,
    slots  integer NOT NULL,
    PRIMARY KEY (ticker, day, name)
);

-- The outbox; ids ascend in the order of committing, for whoever queues holds a lock.
CREATE TABLE backfill.alert_messages (
    message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL,
    title      text        NOT NULL,
    body       text        NOT NULL,
    queued_at  timestamptz NOT NULL
);

-- How far each address has got. Messages go out in order; one that is down waits longer and longer.
CREATE TABLE backfill.alert_endpoints (
    endpoint        text PRIMARY KEY,
    delivered_to    bigint      NOT NULL,
    delivered_at    timestamptz,
    failures        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error      text,
    leased_until    timestamptz            -- the server's clock: somebody is sending
);

-- What a run changed, for the report.
ALTER TABLE backfill.runs ADD COLUMN missing_before integer;
ALTER TABLE backfill.runs ADD COLUMN missing_after integer;
ALTER TABLE backfill.runs ADD COLUMN inserted integer;
ALTER TABLE backfill.runs ADD COLUMN calls integer;
