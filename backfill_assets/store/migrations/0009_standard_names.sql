-- readable since: 9
--
-- Upgrade a database of migration 8 to the schema of schema.sql: standard names for tables, columns and functions, and
-- two additions (process_started_at, contract_tables). Every row is kept: a rename changes the catalogue only.
-- functions.sql follows in the same transaction and creates the functions and the trigger again.

-- Behind a long reader of market_data the upgrade would block every other reader and writer; it is tried again instead.
SET LOCAL lock_timeout = '5s';

DROP FUNCTION backfill.disown() CASCADE; -- with its trigger; DROP TRIGGER would need the owner of market_data
DROP FUNCTION backfill.ceiling_of(backfill.budget, integer, double precision, double precision);
DROP FUNCTION backfill.calls_left(backfill.budget, date, integer, double precision, boolean);
DROP FUNCTION backfill.calls_ours(backfill.budget, integer, double precision, boolean);
DROP FUNCTION backfill.calls_spent(backfill.budget, date);
DROP FUNCTION backfill.live_unspent(backfill.budget, date, integer, double precision, boolean);
DROP FUNCTION backfill.live_left(backfill.budget, date, integer, double precision, boolean);
DROP FUNCTION backfill.grant_permits(
    backfill.budget, integer, integer, date, integer, integer, double precision, double precision, double precision);
DROP FUNCTION backfill.take_permits(
    text, integer, integer, date, integer, double precision, double precision, double precision, integer,
    double precision, boolean);
DROP FUNCTION backfill.take_live_permits(
    text, integer, integer, date, integer, double precision, double precision, double precision, integer,
    double precision, boolean);
DROP FUNCTION backfill.settle_permits(
    text, bigint[], integer, date, double precision, integer, integer, double precision);
DROP FUNCTION backfill.return_permits(text, bigint[], integer, date);

ALTER TABLE backfill.migrations ADD COLUMN readable_since integer;
UPDATE backfill.migrations SET readable_since = number;
ALTER TABLE backfill.migrations ALTER COLUMN readable_since SET NOT NULL;

CREATE TABLE backfill.contract_tables (
    table_name  text        PRIMARY KEY,
    is_managed  boolean     NOT NULL,
    differences text[]      NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE backfill.evidence RENAME TO session_evidence;
ALTER TABLE backfill.session_evidence RENAME COLUMN asked_at TO requested_at;
ALTER TABLE backfill.session_evidence RENAME COLUMN asks TO request_count;
ALTER TABLE backfill.session_evidence RENAME COLUMN silent_since TO no_new_data_since;
ALTER TABLE backfill.session_evidence RENAME COLUMN reached TO data_until;
ALTER TABLE backfill.session_evidence RENAME COLUMN published TO is_published;
ALTER TABLE backfill.session_evidence RENAME COLUMN published_seen TO published_at;
ALTER TABLE backfill.session_evidence RENAME COLUMN withheld TO not_returned;
ALTER INDEX backfill.evidence_pkey RENAME TO session_evidence_pkey;
ALTER INDEX backfill.evidence_by_day RENAME TO session_evidence_by_day;

ALTER INDEX backfill.rejects_distrusted RENAME TO rejects_cumulative_volume;

ALTER TABLE backfill.runs RENAME COLUMN beat_at TO heartbeat_at;
ALTER TABLE backfill.runs RENAME COLUMN described TO description;
ALTER TABLE backfill.runs ADD COLUMN process_started_at timestamptz;

ALTER TABLE backfill.daily RENAME TO daily_prices;
ALTER INDEX backfill.daily_pkey RENAME TO daily_prices_pkey;

ALTER TABLE backfill.lives RENAME TO listing_lives;
ALTER TABLE backfill.listing_lives RENAME COLUMN ended TO has_ended;
ALTER INDEX backfill.lives_pkey RENAME TO listing_lives_pkey;

ALTER TABLE backfill.source_host RENAME COLUMN one TO is_only_row;
ALTER TABLE backfill.source_host RENAME COLUMN since TO bound_at;
ALTER TABLE backfill.source_host RENAME CONSTRAINT source_host_one_check TO source_host_is_only_row_check;

ALTER TABLE backfill.budget RENAME COLUMN foreign_requests TO external_requests;
ALTER TABLE backfill.budget RENAME COLUMN foreign_seen TO external_seen_at;
ALTER TABLE backfill.budget RENAME COLUMN account_own TO account_ledger_calls;
ALTER TABLE backfill.budget RENAME COLUMN live_budget TO live_daily_calls;
ALTER TABLE backfill.budget RENAME COLUMN live_day TO live_declared_on;

ALTER TABLE backfill.permits RENAME COLUMN free_at TO expires_at;
ALTER INDEX backfill.permits_token_free_at_idx RENAME TO permits_token_expires_at_idx;

ALTER TABLE backfill.live_samples RENAME COLUMN stamp TO vendor_timestamp;

ALTER TABLE backfill.live_slots RENAME COLUMN samples TO sample_count;
ALTER TABLE backfill.live_slots RENAME COLUMN exact TO exact_fields;
ALTER TABLE backfill.live_slots RENAME COLUMN since TO volume_from;
ALTER TABLE backfill.live_slots RENAME COLUMN until TO volume_until;
ALTER TABLE backfill.live_slots RENAME COLUMN traded TO has_traded;

ALTER TABLE backfill.reconciled RENAME TO live_reconciliations;
ALTER TABLE backfill.live_reconciliations RENAME COLUMN samples TO sample_count;
ALTER TABLE backfill.live_reconciliations RENAME COLUMN exact TO exact_fields;
ALTER INDEX backfill.reconciled_pkey RENAME TO live_reconciliations_pkey;

ALTER TABLE backfill.alert_states RENAME COLUMN told_at TO notified_at;

ALTER TABLE backfill.alert_given_up RENAME TO alert_vendor_gaps;
ALTER INDEX backfill.alert_given_up_pkey RENAME TO alert_vendor_gaps_pkey;

ALTER TABLE backfill.alert_endpoints RENAME COLUMN delivered_to TO last_delivered_id;

-- From PostgreSQL 18 on, NOT NULL constraints have names, which a rename of their table or column does not change.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT con.conrelid::regclass AS table_name, con.conname AS old_name,
               r.relname || '_' || a.attname || '_not_null' AS new_name
        FROM pg_constraint con
        JOIN pg_class r ON r.oid = con.conrelid
        JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
        WHERE con.contype = 'n' AND r.relkind = 'r' AND r.relnamespace = 'backfill'::regnamespace
          AND con.conname <> r.relname || '_' || a.attname || '_not_null'
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', c.table_name, c.old_name, c.new_name);
    END LOOP;
END $$;
