-- readable since: 9
--
-- Bars whose volume is not known: the vendor gave some of their rows none, or volumes of the exchange mean nothing.

-- False: the volume is not known, whatever the column volume holds. True or null: it is. Null is what bars of other
-- programs and of before have. A table of another program that allows no null in volume holds 0 in such bars.
ALTER TABLE market_data ADD COLUMN IF NOT EXISTS volume_known boolean;

-- Volume may be null where market_data is as this program made it, whatever was changed since it was recorded.
DO $$
BEGIN
    IF EXISTS (SELECT FROM backfill.contract_tables WHERE table_name = 'market_data' AND is_managed)
       AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'market_data'::regclass AND attname = 'volume'
                   AND attnotnull AND format_type(atttypid, atttypmod) = 'bigint') THEN
        ALTER TABLE market_data ALTER COLUMN volume DROP NOT NULL;
    END IF;
EXCEPTION WHEN invalid_table_definition OR insufficient_privilege THEN  -- another program made it part of a key
    RAISE NOTICE 'market_data.volume keeps NOT NULL: %', SQLERRM;
END $$;

-- A rejected row without volume may be a trade, too: its bar is looked up as those of others are.
DROP INDEX backfill.rejects_current;
CREATE INDEX rejects_current ON backfill.rejects ("timestamp")
    WHERE superseded_at IS NULL AND reason <> 'duplicate_stamp';

-- The functions of before. What they return and keep of a bar has null where the volume is not known. Their signatures
-- stay, so that views of others stay, too.
CREATE OR REPLACE FUNCTION backfill.clear_provenance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.source := NULL;
    NEW.source_interval := NULL;
    NEW.source_rows := NULL;
    NEW.is_final := NULL;
    NEW.fetched_at := NULL;
    NEW.volume_known := NULL;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION backfill.keep_bar_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    began_at timestamptz;
    ended_at timestamptz := clock_timestamp();
    cause text := 'deleted';
    is_exception boolean := false;  -- the fetched_at of the bar that follows does not say since when it is known
BEGIN
    IF OLD.source IS NOT NULL THEN
        began_at := coalesce(greatest(OLD.fetched_at, (
            SELECT b.known_from FROM backfill.bar_beginnings b
            WHERE b.symbol_id = OLD.symbol_id AND b.interval_type = OLD.interval_type
              AND b."timestamp" = OLD."timestamp")), '-infinity');
    ELSIF NEW.source IS NULL THEN
        RETURN NULL;
    ELSE
        began_at := coalesce((
            SELECT max(v.known_to) FROM backfill.bar_versions v
            WHERE v.symbol_id = OLD.symbol_id AND v.interval_type = OLD.interval_type
              AND v."timestamp" = OLD."timestamp"), '-infinity');
    END IF;
    ended_at := greatest(ended_at, began_at);
    IF TG_OP = 'UPDATE' THEN
        IF NEW.source IS NULL THEN
            cause := 'overwritten';
        ELSE
            cause := CASE
                WHEN OLD.source IS NULL THEN 'verified'
                WHEN (NEW.symbol_id, NEW.interval_type, NEW."timestamp")
                     IS DISTINCT FROM (OLD.symbol_id, OLD.interval_type, OLD."timestamp") THEN 'moved'
                WHEN NEW.fetched_at IS NOT DISTINCT FROM OLD.fetched_at THEN 'edited'
                WHEN OLD.is_final IS FALSE THEN 'updated'
                WHEN (NEW.open_price, NEW.high_price, NEW.low_price, NEW.close_price, NEW.volume,
                      NEW.volume_known IS FALSE) IS DISTINCT FROM
                     (OLD.open_price, OLD.high_price, OLD.low_price, OLD.close_price, OLD.volume,
                      OLD.volume_known IS FALSE)
                THEN 'revised' ELSE 'relabeled' END;
            is_exception := cause IN ('moved', 'edited') OR (
                NEW.fetched_at BETWEEN statement_timestamp() AND ended_at AND NEW.fetched_at > began_at) IS NOT TRUE;
            IF NOT is_exception THEN
                ended_at := NEW.fetched_at;
            END IF;
        END IF;
    END IF;
    IF (OLD.symbol_id, OLD.interval_type, OLD."timestamp") IS NOT NULL THEN
        INSERT INTO backfill.bar_versions VALUES (
            OLD.symbol_id, OLD.interval_type, OLD."timestamp", began_at, ended_at, OLD.open_price, OLD.high_price,
            OLD.low_price, OLD.close_price, CASE WHEN OLD.volume_known IS NOT FALSE THEN OLD.volume END, OLD.source,
            OLD.source_interval, OLD.source_rows, OLD.is_final, OLD.fetched_at, cause);
    END IF;
    IF is_exception AND (NEW.symbol_id, NEW.interval_type, NEW."timestamp") IS NOT NULL THEN
        INSERT INTO backfill.bar_beginnings AS b
        VALUES (NEW.symbol_id, NEW.interval_type, NEW."timestamp", ended_at)
        ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET known_from = EXCLUDED.known_from;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION backfill.keep_truncated_bars() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    emptied regclass;
BEGIN
    FOR emptied IN
        SELECT c.oid FROM pg_class c WHERE c.oid = TG_RELID AND c.relkind <> 'p'
           AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid  -- a partition that was detached has none
                       AND g.tgfoid = 'backfill.keep_bar_version'::regproc)
        UNION ALL
        SELECT p.relid FROM pg_partition_tree(TG_RELID) p
        WHERE p.isleaf AND p.relid <> TG_RELID AND NOT EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgrelid = p.relid AND g.tgfoid = 'backfill.keep_truncated_bars'::regproc)
    LOOP
        EXECUTE format($copy$
            INSERT INTO backfill.bar_versions
            SELECT m.symbol_id, m.interval_type, m."timestamp",
                   coalesce(greatest(m.fetched_at, b.known_from), '-infinity'),
                   greatest(clock_timestamp(), m.fetched_at, b.known_from), m.open_price, m.high_price, m.low_price,
                   m.close_price, CASE WHEN m.volume_known IS NOT FALSE THEN m.volume END, m.source, m.source_interval,
                   m.source_rows, m.is_final, m.fetched_at, 'truncated'
            FROM %s m LEFT JOIN backfill.bar_beginnings b
                 ON b.symbol_id = m.symbol_id AND b.interval_type = m.interval_type AND b."timestamp" = m."timestamp"
            WHERE m.source IS NOT NULL AND m.tableoid = %s
              AND (m.symbol_id, m.interval_type, m."timestamp") IS NOT NULL
        $copy$, CASE WHEN has_table_privilege(emptied, 'SELECT') THEN emptied ELSE pg_partition_root(emptied) END,
            emptied::oid);
    END LOOP;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION backfill.create_history_triggers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    bars regclass := 'market_data'::regclass;
    wanted record;
    disabled regclass;
    partition regclass;
    is_complete boolean := true;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('backfill_clear_provenance', $t$BEFORE UPDATE ON %s FOR EACH ROW
            WHEN (OLD.source IS NOT NULL AND NEW.fetched_at IS NOT DISTINCT FROM OLD.fetched_at
                  AND (NEW.open_price, NEW.high_price, NEW.low_price, NEW.close_price, NEW.volume) IS DISTINCT FROM
                      (OLD.open_price, OLD.high_price, OLD.low_price, OLD.close_price, OLD.volume))
            EXECUTE FUNCTION backfill.clear_provenance()$t$),
        ('backfill_keep_replaced', $t$AFTER UPDATE ON %s FOR EACH ROW
            WHEN (OLD.fetched_at IS DISTINCT FROM NEW.fetched_at)
            EXECUTE FUNCTION backfill.keep_bar_version()$t$),
        ('backfill_keep_edited', $t$AFTER UPDATE OF symbol_id, interval_type, "timestamp", source, source_interval,
            source_rows, is_final, volume_known ON %s FOR EACH ROW
            WHEN (coalesce(OLD.source, NEW.source) IS NOT NULL AND OLD.fetched_at IS NOT DISTINCT FROM NEW.fetched_at
                  AND (OLD.symbol_id, OLD.interval_type, OLD."timestamp", OLD.source, OLD.source_interval,
                       OLD.source_rows, OLD.is_final, OLD.volume_known) IS DISTINCT FROM (NEW.symbol_id,
                       NEW.interval_type, NEW."timestamp", NEW.source, NEW.source_interval, NEW.source_rows,
                       NEW.is_final, NEW.volume_known))
            EXECUTE FUNCTION backfill.keep_bar_version()$t$),
        ('backfill_keep_deleted', $t$AFTER DELETE ON %s FOR EACH ROW WHEN (OLD.source IS NOT NULL)
            EXECUTE FUNCTION backfill.keep_bar_version()$t$),
        ('backfill_keep_truncated', $t$BEFORE TRUNCATE ON %s FOR EACH STATEMENT
            EXECUTE FUNCTION backfill.keep_truncated_bars()$t$),
        ('backfill_mark_restored', $t$AFTER INSERT ON %s FOR EACH ROW
            WHEN (NEW.fetched_at < statement_timestamp()) EXECUTE FUNCTION backfill.mark_restored_bar()$t$)
    ) AS t (name, definition)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = bars AND tgname = wanted.name) THEN
            EXECUTE format('CREATE TRIGGER %I ' || wanted.definition, wanted.name, bars);
            is_complete := false;
        END IF;
        FOR disabled IN
            SELECT tgrelid FROM pg_trigger WHERE tgname = wanted.name AND tgenabled IN ('D', 'R')
               AND tgrelid IN (SELECT bars UNION ALL SELECT relid FROM pg_partition_tree(bars))
        LOOP
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', disabled, wanted.name);
            is_complete := false;
        END LOOP;
    END LOOP;
    FOR partition IN
        SELECT p.relid FROM pg_partition_tree(bars) p JOIN pg_class c ON c.oid = p.relid
        WHERE p.isleaf AND p.relid <> bars AND c.relkind = 'r' AND NOT EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgrelid = p.relid AND g.tgname = 'backfill_keep_truncated')
    LOOP
        EXECUTE format('CREATE TRIGGER backfill_keep_truncated BEFORE TRUNCATE ON %s FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION backfill.keep_truncated_bars()', partition);
    END LOOP;
    IF NOT is_complete THEN
        INSERT INTO backfill.history_begins (reason) VALUES ('triggers were created');
    END IF;
END $$;

-- A change of volume_known alone is kept, too. The table is locked already. A trigger that is gone or disabled stays
-- so: the program names it when it starts.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'market_data'::regclass AND tgname = 'backfill_keep_edited')
       AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'backfill_keep_edited' AND tgenabled IN ('D', 'R')
                       AND tgrelid IN (SELECT 'market_data'::regclass UNION ALL
                                       SELECT relid FROM pg_partition_tree('market_data'))) THEN
        DROP TRIGGER backfill_keep_edited ON market_data;
        CREATE TRIGGER backfill_keep_edited
        AFTER UPDATE OF symbol_id, interval_type, "timestamp", source, source_interval, source_rows, is_final,
            volume_known ON market_data FOR EACH ROW
        WHEN (coalesce(OLD.source, NEW.source) IS NOT NULL AND OLD.fetched_at IS NOT DISTINCT FROM NEW.fetched_at
              AND (OLD.symbol_id, OLD.interval_type, OLD."timestamp", OLD.source, OLD.source_interval,
                   OLD.source_rows, OLD.is_final, OLD.volume_known) IS DISTINCT FROM (NEW.symbol_id,
                   NEW.interval_type, NEW."timestamp", NEW.source, NEW.source_interval, NEW.source_rows,
                   NEW.is_final, NEW.volume_known))
        EXECUTE FUNCTION backfill.keep_bar_version();
    END IF;
END $$;

-- The types are those that the functions were made with: those of the table then. Two arguments come first.
DO $create$
DECLARE
    types text[] := ARRAY(
        SELECT format_type(p.proallargtypes[2 + c.place], NULL) FROM pg_proc p, unnest('{1,4,5,6,7,8}'::int[])
             WITH ORDINALITY AS c (place, position)
        WHERE p.oid = 'backfill.bars_known_at(timestamptz, boolean)'::regprocedure ORDER BY c.position);
    id_type text := (SELECT format_type(p.proallargtypes[3], NULL) FROM pg_proc p
                     WHERE p.oid = 'backfill.adjusted_bars(text, timestamptz)'::regprocedure);
BEGIN
    EXECUTE format($definition$
CREATE OR REPLACE FUNCTION backfill.bars_known_at(known_at timestamptz, with_others boolean DEFAULT false)
RETURNS TABLE (symbol_id %1$s, interval_type text, "timestamp" timestamptz, open_price %2$s, high_price %3$s,
               low_price %4$s, close_price %5$s, volume %6$s, source text, source_interval text, source_rows integer,
               is_final boolean, fetched_at timestamptz, known_from timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT m.symbol_id::%1$s, m.interval_type::text, m."timestamp", m.open_price::%2$s, m.high_price::%3$s,
           m.low_price::%4$s, m.close_price::%5$s, CASE WHEN m.volume_known IS NOT FALSE THEN m.volume::%6$s END,
           m.source::text, m.source_interval::text, m.source_rows::integer, m.is_final, m.fetched_at,
           greatest(m.fetched_at, b.known_from)
    FROM market_data m LEFT JOIN backfill.bar_beginnings b
         ON b.symbol_id = m.symbol_id AND b.interval_type = m.interval_type AND b."timestamp" = m."timestamp"
    WHERE m.source IS NOT NULL AND m.fetched_at <= known_at AND (b.known_from <= known_at) IS NOT FALSE
    UNION ALL
    SELECT v.symbol_id, v.interval_type, v."timestamp", v.open_price, v.high_price, v.low_price, v.close_price,
           v.volume, v.source, v.source_interval, v.source_rows, v.is_final, v.fetched_at, v.known_from
    FROM backfill.bar_versions v WHERE v.source IS NOT NULL AND v.known_from <= known_at AND v.known_to > known_at
    UNION ALL  -- bars of others, as they are now
    SELECT m.symbol_id::%1$s, m.interval_type::text, m."timestamp", m.open_price::%2$s, m.high_price::%3$s,
           m.low_price::%4$s, m.close_price::%5$s, CASE WHEN m.volume_known IS NOT FALSE THEN m.volume::%6$s END,
           NULL, m.source_interval::text, m.source_rows::integer, m.is_final, m.fetched_at, NULL
    FROM market_data m
    WHERE with_others AND m.source IS NULL AND NOT EXISTS (
        SELECT FROM backfill.bar_versions v
        WHERE v.symbol_id = m.symbol_id AND v.interval_type = m.interval_type AND v."timestamp" = m."timestamp"
          AND v.known_to > known_at)
    UNION ALL  -- and as they were when this program verified or replaced them
    SELECT v.symbol_id, v.interval_type, v."timestamp", v.open_price, v.high_price, v.low_price, v.close_price,
           v.volume, NULL, v.source_interval, v.source_rows, v.is_final, v.fetched_at, NULL
    FROM backfill.bar_versions v
    WHERE with_others AND v.source IS NULL AND v.known_from <= known_at AND v.known_to > known_at
$$;
    $definition$, VARIADIC types);
    EXECUTE format($definition$
CREATE OR REPLACE FUNCTION backfill.adjusted_bars(adjustment text, point_in_time timestamptz DEFAULT NULL)
RETURNS TABLE (symbol_id %s, interval_type text, "timestamp" timestamptz, session_day date,
               open_price double precision, high_price double precision, low_price double precision,
               close_price double precision, volume double precision, source text, source_interval text,
               source_rows integer, is_final boolean, fetched_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT s.symbol_id, d.interval_type::text, d."timestamp", (d."timestamp" AT TIME ZONE f.zone)::date,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.open_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.high_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.low_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.cash_factor[d.n] <> 'NaN'
                THEN d.close_price::float8 * f.old_shares[d.n] / f.new_shares[d.n] * f.cash_factor[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", adjustment, point_in_time) END,
           CASE WHEN f.old_shares[d.n] <> 'NaN' THEN d.volume::float8 * f.new_shares[d.n] / f.old_shares[d.n]
                ELSE backfill.raise_missing_factor(s.symbol_id::integer, d."timestamp", 'splits', point_in_time) END,
           d.source::text, d.source_interval::text, d.source_rows::integer, d.is_final, d.fetched_at
    FROM market_symbols s
    CROSS JOIN LATERAL backfill.adjustment_arrays(
        s.symbol_id::integer, adjustment, point_in_time, backfill.exchange_zone(s.exchange)) f
    CROSS JOIN LATERAL (
        SELECT m.interval_type, m."timestamp", m.open_price, m.high_price, m.low_price, m.close_price,
               CASE WHEN m.volume_known IS NOT FALSE THEN m.volume END AS volume,
               m.source, m.source_interval, m.source_rows, m.is_final, m.fetched_at,
               backfill.find_position(m."timestamp", f.begins) AS n
        FROM market_data m WHERE m.symbol_id = s.symbol_id
    ) d
    WHERE backfill.require_adjustment(adjustment)
$$;
    $definition$, id_type);
END $create$;
