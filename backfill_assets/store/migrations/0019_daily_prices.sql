-- readable since: 9
--
-- All figures of the vendor's daily rows, and the old values of those that it changed. Rows of before have null in the
-- new columns until their day is read again. A program of migration 9 goes on reading and writing close_price and
-- volume; volume stays what the rules of absence read, and is never null.

ALTER TABLE backfill.daily_prices                    -- null: the vendor gave none, or a number that is impossible
    ADD COLUMN open_price      double precision,
    ADD COLUMN high_price      double precision,
    ADD COLUMN low_price       double precision,
    ADD COLUMN adjusted_close  double precision,
    ADD COLUMN reported_volume bigint,               -- as volume, but null where volume counts an unknown number as 0
    ADD COLUMN read_at         timestamptz;          -- when the row was last read; null: not since this migration

-- The figures that a daily row had before the vendor changed one of them. A change of adjusted_close alone is none:
-- every dividend and split changes it for all earlier days.
CREATE TABLE backfill.daily_revisions (
    symbol_id      integer     NOT NULL,
    day            date        NOT NULL,
    open_price     double precision,
    high_price     double precision,
    low_price      double precision,
    close_price    double precision,
    adjusted_close double precision,
    volume         bigint,                           -- null: unknown
    read_at        timestamptz,                      -- when these figures were last read; null: not known
    replaced_at    timestamptz NOT NULL              -- when others were read instead
);
CREATE INDEX ON backfill.daily_revisions (symbol_id, day);

-- Whether the newest observation of a check had anything to compare. One that had not is no failure, and no pass.
ALTER TABLE backfill.alert_states ADD COLUMN is_judged boolean NOT NULL DEFAULT true;
