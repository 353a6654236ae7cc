-- readable since: 9
--
-- A census of the bars: how many each symbol has in each month, of which kind, kept up by whoever writes them.
--
-- A month is a calendar month in UTC of the bar's timestamp. Triggers for statements only append to census_deltas what a
-- statement changed, one row for each symbol, interval and month, without an index or a key: no writer waits for another
-- one, nor for this program. A step in the background (store/census/fold.py) adds them to census_months. At any
-- moment, the months and the deltas that a snapshot shows are together what market_data holds in that snapshot.

CREATE TABLE backfill.census_deltas (
    symbol_id      bigint  NOT NULL,
    interval_type  text    NOT NULL,  -- in the table's spelling
    month          date    NOT NULL,  -- its first day
    final          integer NOT NULL,  -- bars with a source that are not provisional
    provisional    integer NOT NULL,  -- those that are not final
    unverified     integer NOT NULL,  -- those of other programs, without a source
    sparse         integer NOT NULL,  -- those of the final ones whose rows cover no more than half of the interval
    minute_squares bigint  NOT NULL   -- the sum of the squares of the minutes since the month began, over all bars
);

-- Months that had a bar since they were counted first, and those of which it is known what the calendar expects.
CREATE TABLE backfill.census_months (
    symbol_id        bigint  NOT NULL,
    interval_type    text    NOT NULL,  -- this program's name of the interval; the spelling where it has none
    month            date    NOT NULL,
    final            integer NOT NULL DEFAULT 0,
    provisional      integer NOT NULL DEFAULT 0,
    unverified       integer NOT NULL DEFAULT 0,
    sparse           integer NOT NULL DEFAULT 0,
    minute_squares   bigint  NOT NULL DEFAULT 0,
    expected         integer,            -- bars, by the calendar and the listing; null: not computed yet
    expected_squares bigint,             -- the sum of the squares of their minutes
    no_trade         integer,            -- slots without a bar as the last look at the month explained them; null since
    vendor_gap       integer,            -- the counts or what is expected have changed
    missing          integer,            -- slots that wait for a bar, with or without a provisional one
    suspect          integer,            -- bars
    measured_at      timestamptz,
    -- Whether somebody has to look: neither is each expected bar there and final, nor did the last look find none missing.
    is_open          boolean NOT NULL GENERATED ALWAYS AS (NOT coalesce(
        final + unverified = expected AND provisional = 0 AND sparse = 0 AND minute_squares = expected_squares
        OR missing = 0, false)) STORED,
    PRIMARY KEY (symbol_id, interval_type, month)
);
CREATE INDEX census_open_months ON backfill.census_months (interval_type, month, symbol_id) WHERE is_open;
CREATE INDEX census_measured_months ON backfill.census_months (interval_type, measured_at) WHERE measured_at IS NOT NULL;

-- The symbols whose bars were counted since the triggers exist, and for which months that has to be done (again).
CREATE TABLE backfill.census_symbols (
    symbol_id bigint         PRIMARY KEY,
    uncounted datemultirange NOT NULL,
    marks     integer        NOT NULL DEFAULT 0  -- how often months were added: a count that began before does not end it
);
CREATE INDEX census_uncounted_symbols ON backfill.census_symbols (symbol_id) WHERE uncounted <> '{}';

-- market_data and its partitions, as far as they have the triggers and their bars were counted or wait for it.
CREATE TABLE backfill.census_tables (
    relation    regclass  PRIMARY KEY,
    attached_by bigint,             -- the transaction: a table that was away meanwhile has another one
    months      daterange NOT NULL  -- that it can hold
);

-- The functions for single values are inlined where they are used.
CREATE FUNCTION backfill.half_of_interval(spelling text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE spelling WHEN '30m' THEN 900 WHEN '30min' THEN 900 ELSE
        CASE regexp_replace(spelling, '\D', '', 'g')
            WHEN '5' THEN 150 WHEN '300' THEN 150 WHEN '000500' THEN 150
            WHEN '15' THEN 450 WHEN '900' THEN 450 WHEN '001500' THEN 450
            WHEN '30' THEN 900 WHEN '1800' THEN 900 WHEN '003000' THEN 900
            WHEN '1' THEN CASE WHEN spelling ~* 'h' THEN 1800 ELSE 30 END WHEN '000100' THEN 30
            ELSE 1800 END END
$$;

CREATE FUNCTION backfill.is_sparse_bar(is_final boolean, source_interval text, source_rows integer, half integer)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT is_final AND source_rows * CASE source_interval WHEN '1m' THEN 60 ELSE 300 END <= half
$$;

-- Of a time that is no whole minute no integer is the square: rounded up, it is that of no slot.
CREATE FUNCTION backfill.square_minute(at_utc timestamp, month timestamp) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ceil((date_part('epoch', at_utc - month) / 60) ^ 2)
$$;

CREATE FUNCTION backfill.is_of_market_data(relation oid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(pg_partition_root(relation)::oid, relation)::regclass::text LIKE '%.market_data'
$$;

-- The triggers' function, and the same count of stored bars. A plan without parameters is made once in a session. Rows
-- are not grouped where there is one, as another program may write them: that costs a third less, and nothing at all
-- where an upsert inserts or updates no row. A detached partition and a table that was renamed keep their triggers, which count nothing. What has no key, or no
-- finite time, is no bar of a month.
DO $create$
DECLARE
    bars text := $bars$(
        SELECT *, date_trunc('month', at_utc) AS month FROM (
            SELECT %1$s AS sign, symbol_id, interval_type, "timestamp" AT TIME ZONE INTERVAL '0' AS at_utc,
                   is_final IS NOT FALSE AND source IS NOT NULL AS is_of_final, is_final IS FALSE AS is_provisional,
                   is_final IS NOT FALSE AND source IS NULL AS is_unverified,
                   backfill.is_sparse_bar(is_final, source_interval::text, source_rows::integer,
                                          backfill.half_of_interval(interval_type::text)) AS is_sparse
            FROM %2$s WHERE isfinite("timestamp") AND symbol_id IS NOT NULL AND interval_type IS NOT NULL
        ) AS timed OFFSET 0) AS bars$bars$;
    months text := $months$
        SELECT symbol_id, interval_type, month,
               coalesce(sum(sign) FILTER (WHERE is_of_final), 0) AS final,
               coalesce(sum(sign) FILTER (WHERE is_provisional), 0) AS provisional,
               coalesce(sum(sign) FILTER (WHERE is_unverified), 0) AS unverified,
               coalesce(sum(sign) FILTER (WHERE is_sparse), 0) AS sparse,
               sum(sign * backfill.square_minute(at_utc, month)) AS minute_squares
        FROM %s GROUP BY symbol_id, interval_type, month$months$;
    single text := $single$
        SELECT symbol_id, interval_type, month, sign * is_of_final::integer, sign * is_provisional::integer,
               sign * is_unverified::integer, sign * coalesce(is_sparse, false)::integer,
               sign * backfill.square_minute(at_utc, month)
        FROM %s$single$;
    counted text := 'symbol_id, "timestamp", interval_type, source IS NULL, is_final, source_rows, source_interval';
BEGIN
    EXECUTE format($definition$
CREATE FUNCTION backfill.count_bars() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    few integer;
BEGIN
    IF NOT backfill.is_of_market_data(TG_RELID) THEN
        RETURN NULL;
    ELSIF TG_OP = 'INSERT' THEN
        IF current_setting('backfill.inserts_are_counted', true) = 'on' THEN  -- by store/census/own_inserts.py
            RETURN NULL;
        END IF;
        few := (SELECT count(*) FROM (SELECT FROM new_rows LIMIT 2) AS t);
        IF few = 1 THEN
            INSERT INTO backfill.census_deltas %1$s;
        ELSIF few > 1 THEN
            INSERT INTO backfill.census_deltas %2$s;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        few := (SELECT count(*) FROM (SELECT FROM old_rows LIMIT 2) AS t);
        IF few = 1 THEN
            INSERT INTO backfill.census_deltas %3$s;
        ELSIF few > 1 THEN
            INSERT INTO backfill.census_deltas %4$s;
        END IF;
    ELSE
        few := (SELECT count(*) FROM (SELECT FROM new_rows LIMIT 2) AS t);
        IF few > 1 OR few = 1 AND (SELECT ROW(%5$s) FROM new_rows) IS DISTINCT FROM (SELECT ROW(%5$s) FROM old_rows) THEN
            INSERT INTO backfill.census_deltas
            SELECT * FROM (%6$s) AS changed
            WHERE (final, provisional, unverified, sparse, minute_squares) <> (0, 0, 0, 0, 0);
        END IF;
    END IF;
    RETURN NULL;
END $$
    $definition$, format(single, format(bars, '1', 'new_rows')), format(months, format(bars, '1', 'new_rows')),
        format(single, format(bars, '-1', 'old_rows')), format(months, format(bars, '-1', 'old_rows')), counted,
        format(months, '(SELECT * FROM ' || format(bars, '1', 'new_rows') || ' UNION ALL SELECT * FROM '
                       || format(bars, '-1', 'old_rows') || ') AS both_rows'));
    EXECUTE format($definition$
CREATE FUNCTION backfill.count_emptied_bars(emptied regclass, source regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF backfill.is_of_market_data(emptied) THEN
        EXECUTE 'INSERT INTO backfill.census_deltas ' || format(%1$L, format(
            '(SELECT * FROM %%s WHERE tableoid = %%s) AS emptied', source, emptied::oid));
    END IF;
END $$
    $definition$, format(months, format(bars, '-1', '%s')));
    EXECUTE format($definition$
CREATE FUNCTION backfill.count_stored_bars(ids bigint[], since timestamptz, until timestamptz)
RETURNS TABLE (symbol_id bigint, interval_type text, month date, final bigint, provisional bigint, unverified bigint,
               sparse bigint, minute_squares bigint) LANGUAGE sql STABLE ROWS 10000 AS $$
    SELECT symbol_id::bigint, interval_type::text, month::date, final, provisional, unverified, sparse,
           minute_squares::bigint
    FROM (%1$s) AS counted WHERE interval_type !~ '[^ -~]'  -- some text; SQL_ASCII has anything
$$
    $definition$, format(months, format(bars, '1', '(SELECT * FROM market_data
                  WHERE symbol_id = ANY (ids) AND "timestamp" >= since AND "timestamp" < until) AS chosen')));
END $create$;

-- As before, and counts what goes.
CREATE OR REPLACE FUNCTION backfill.keep_truncated_bars() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    emptied regclass;
    source regclass;
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
        source := CASE WHEN has_table_privilege(emptied, 'SELECT') THEN emptied ELSE pg_partition_root(emptied) END;
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
        $copy$, source, emptied::oid);
        PERFORM backfill.count_emptied_bars(emptied, source);
    END LOOP;
    RETURN NULL;
END $$;

-- Which months a table can hold that is market_data or a partition of it; all where partitions are no ranges of time.
CREATE FUNCTION backfill.months_of_table(relation oid) RETURNS daterange LANGUAGE plpgsql STABLE AS $$
DECLARE
    parent oid := (SELECT inhparent FROM pg_inherits WHERE inhrelid = relation);
    bounds text := (SELECT pg_get_expr(relpartbound, oid) FROM pg_class
                    WHERE oid = relation AND pg_get_partkeydef(parent) ~ '^RANGE \("timestamp"');
    since timestamptz := substring(bounds FROM $b$FROM \('([^']+)'$b$)::timestamptz;
    until timestamptz := substring(bounds FROM $b$TO \('([^']+)'$b$)::timestamptz;
BEGIN
    IF parent IS NULL THEN
        RETURN '(,)';
    END IF;
    RETURN backfill.months_of_table(parent) * daterange(
        date_trunc('month', since AT TIME ZONE 'UTC')::date,
        (date_trunc('month', until AT TIME ZONE 'UTC') + interval '1 month')::date);
END $$;

-- What is market_data in this snapshot and is not counted by its triggers, and what was and is no longer.
CREATE FUNCTION backfill.find_census_changes(bars regclass DEFAULT to_regclass('market_data'))
RETURNS TABLE (relation regclass, attached_by bigint, months daterange, is_there boolean) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE tree AS (
        SELECT bars::oid AS relid, NULL::bigint AS attached_by
        UNION ALL
        SELECT i.inhrelid, i.xmin::text::bigint FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid AND NOT i.inhdetachpending
    ), counted AS (
        SELECT tgrelid FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid
        WHERE tgfoid IN ('backfill.count_bars'::regproc, 'backfill.keep_truncated_bars'::regproc)
          AND tgenabled IN ('O', 'A')
        GROUP BY tgrelid HAVING count(*) >= CASE WHEN max(relkind) = 'r' OR tgrelid = bars THEN 4 ELSE 3 END
    )
    SELECT t.relid::regclass, t.attached_by, backfill.months_of_table(t.relid), true FROM tree t
    WHERE NOT EXISTS (SELECT FROM backfill.census_tables c
                      WHERE c.relation = t.relid AND c.attached_by IS NOT DISTINCT FROM t.attached_by)
       OR NOT EXISTS (SELECT FROM counted c WHERE c.tgrelid = t.relid)
    UNION ALL
    SELECT c.relation, c.attached_by, c.months, false FROM backfill.census_tables c
    WHERE NOT EXISTS (SELECT FROM tree t WHERE t.relid = c.relation)
$$;

-- Makes the triggers count all of market_data: creates those that are missing or disabled, on partitions, too, which
-- do not inherit them, and has the months counted again that such a table can hold, or one that is gone could. Tables
-- on which this role may not create triggers stay as they are, as do foreign tables and those that only inherit:
-- readers see that their months are not counted.
--
-- Without with_count the bars are those that were counted under another name, as when a table is cut into partitions.
CREATE FUNCTION backfill.create_census_triggers(
    bars regclass DEFAULT to_regclass('market_data'), with_count boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changed record;
    wanted record;
    is_filled boolean;
    uncounted_months datemultirange := '{}';
    lacking regclass[] := '{}';
BEGIN
    FOR changed IN
        SELECT d.relation, d.attached_by, d.months, d.is_there, c.xmin = pg_current_xact_id()::xid AS is_new
        FROM backfill.find_census_changes(bars) d LEFT JOIN pg_class c ON c.oid = d.relation
        WHERE NOT d.is_there OR c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'TRIGGER')
              AND (c.relispartition OR c.oid = bars)
    LOOP
        is_filled := true;
        IF changed.is_there THEN
            lacking := lacking || changed.relation;
            IF changed.is_new THEN  -- created by this transaction: nobody else can have written it yet
                EXECUTE format('SELECT EXISTS (SELECT FROM %s)', changed.relation) INTO is_filled;
            END IF;
            INSERT INTO backfill.census_tables VALUES (changed.relation, changed.attached_by, changed.months)
            ON CONFLICT (relation) DO UPDATE SET attached_by = EXCLUDED.attached_by, months = EXCLUDED.months;
        ELSE
            DELETE FROM backfill.census_tables WHERE relation = changed.relation;
        END IF;
        IF with_count AND is_filled THEN
            uncounted_months := uncounted_months + datemultirange(changed.months);
        END IF;
    END LOOP;
    IF NOT isempty(uncounted_months) THEN
        UPDATE backfill.census_symbols s SET uncounted = s.uncounted + uncounted_months, marks = s.marks + 1;
    END IF;
    FOR wanted IN  -- last, because it locks out other writers until the end of the transaction
        SELECT c.oid::regclass AS relation, t.* FROM unnest(lacking) AS relation JOIN pg_class c ON c.oid = relation
        CROSS JOIN (VALUES
            ('backfill_count_inserted', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows', 'count_bars'),
            ('backfill_count_updated', 'AFTER UPDATE', 'REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows',
             'count_bars'),
            ('backfill_count_deleted', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows', 'count_bars'),
            ('backfill_keep_truncated', 'BEFORE TRUNCATE', '', 'keep_truncated_bars')
        ) AS t (name, event, rows, function)
        WHERE t.function = 'count_bars' OR c.relispartition AND c.relkind = 'r'
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION backfill.%I()',
                       wanted.name, wanted.event, wanted.relation, wanted.rows, wanted.function);
    END LOOP;
END $$;

-- As before, and the triggers of the census.
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
    PERFORM backfill.create_census_triggers(bars);
    IF NOT is_complete THEN
        INSERT INTO backfill.history_begins (reason) VALUES ('triggers were created');
    END IF;
END $$;

-- Roles that work with the evidence work with these tables, too.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table, acl.privilege_type AS privilege,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['census_deltas', 'census_months', 'census_symbols', 'census_tables']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON backfill.%I TO %s', granted.privilege, granted.new_table, granted.grantee);
    END LOOP;
END $$;

-- From now on each write is counted; what is there already is counted later (store/census/recount.py). Last, because it
-- locks out other writers until the end of the migration.
SELECT backfill.create_census_triggers();
