-- When a ticker's recent sessions were last read again for corrections (the weekly review).
CREATE TABLE backfill.reviews (
    symbol_id       integer     NOT NULL,
    interval_type   text        NOT NULL,
    source_interval text        NOT NULL,
    reviewed_at     timestamptz NOT NULL,            -- at the review's now
    PRIMARY KEY (symbol_id, interval_type, source_interval)
);
