-- readable since: 9
--
-- What market_data held at every moment: the versions of our bars that have ended, and the bars as they were.
--
-- A bar of ours is one with a source. The one that stands in market_data is known since its fetched_at, which every
-- write of this program sets; bar_beginnings has the few exceptions that other programs make. Each version that has
-- ended is a row of bar_versions, known from known_from (inclusive) to known_to (exclusive). The triggers at the end
-- write both. A moment is that of the statement, not of the commit, which PostgreSQL does not tell.

-- Since when the versions are complete: before the newest moment, a deletion or a replaced provisional bar may lack.
CREATE TABLE backfill.history_begins (
    began_at timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    reason   text        NOT NULL
);

-- The types are those of market_data, without a length or a scale, and a volume has eight bytes: a write must not fail
-- here after they were widened.
DO $create$
DECLARE
    types text[] := ARRAY(
        SELECT CASE WHEN c.name = 'volume' AND t.typname = 'int4' THEN 'bigint'
                    WHEN t.typname IN ('int4', 'int8', 'float8', 'numeric') THEN format_type(a.atttypid, NULL)
                    ELSE 'numeric' END
        FROM unnest(ARRAY['symbol_id', 'open_price', 'high_price', 'low_price', 'close_price', 'volume'])
             WITH ORDINALITY AS c (name, position)
        JOIN pg_attribute a ON a.attrelid = 'market_data'::regclass AND a.attname = c.name
        JOIN pg_type t ON t.oid = a.atttypid
        ORDER BY c.position);
BEGIN
    EXECUTE format($definition$
CREATE TABLE backfill.bar_versions (
    symbol_id       %1$s        NOT NULL,
    interval_type   text        NOT NULL,  -- in the table's spelling
    "timestamp"     timestamptz NOT NULL,
    known_from      timestamptz NOT NULL,  -- -infinity: since a moment that is not known
    known_to        timestamptz NOT NULL,
    open_price      %2$s,
    high_price      %3$s,
    low_price       %4$s,
    close_price     %5$s,
    volume          %6$s,
    source          text,                  -- null: a bar of another program, which was verified or replaced
    source_interval text,
    source_rows     integer,
    is_final        boolean,
    fetched_at      timestamptz,
    -- updated (it was provisional), revised, relabeled (same values), verified (it was another program's), moved (to
    -- another key), overwritten or edited (by another program; edited: it is still ours), deleted, truncated
    ended_by        text        NOT NULL
)$definition$, VARIADIC types);
    EXECUTE format($definition$
CREATE TABLE backfill.bar_beginnings (
    symbol_id     %1$s        NOT NULL,
    interval_type text        NOT NULL,
    "timestamp"   timestamptz NOT NULL,
    known_from    timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, interval_type, "timestamp")
)$definition$, VARIADIC types);
    EXECUTE format($definition$
CREATE FUNCTION backfill.bars_known_at(known_at timestamptz, with_others boolean DEFAULT false)
RETURNS TABLE (symbol_id %1$s, interval_type text, "timestamp" timestamptz, open_price %2$s, high_price %3$s,
               low_price %4$s, close_price %5$s, volume %6$s, source text, source_interval text, source_rows integer,
               is_final boolean, fetched_at timestamptz, known_from timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000000 AS $$
    SELECT m.symbol_id::%1$s, m.interval_type::text, m."timestamp", m.open_price::%2$s, m.high_price::%3$s,
           m.low_price::%4$s, m.close_price::%5$s, m.volume::%6$s, m.source::text, m.source_interval::text,
           m.source_rows::integer, m.is_final, m.fetched_at, greatest(m.fetched_at, b.known_from)
    FROM market_data m LEFT JOIN backfill.bar_beginnings b
         ON b.symbol_id = m.symbol_id AND b.interval_type = m.interval_type AND b."timestamp" = m."timestamp"
    WHERE m.source IS NOT NULL AND m.fetched_at <= known_at AND (b.known_from <= known_at) IS NOT FALSE
    UNION ALL
    SELECT v.symbol_id, v.interval_type, v."timestamp", v.open_price, v.high_price, v.low_price, v.close_price,
           v.volume, v.source, v.source_interval, v.source_rows, v.is_final, v.fetched_at, v.known_from
    FROM backfill.bar_versions v WHERE v.source IS NOT NULL AND v.known_from <= known_at AND v.known_to > known_at
    UNION ALL  -- bars of others, as they are now
    SELECT m.symbol_id::%1$s, m.interval_type::text, m."timestamp", m.open_price::%2$s, m.high_price::%3$s,
           m.low_price::%4$s, m.close_price::%5$s, m.volume::%6$s, NULL, m.source_interval::text,
           m.source_rows::integer, m.is_final, m.fetched_at, NULL
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
END $create$;

-- Writes one version and decides from when the bar that follows is known. Rights of the owner: another program needs
-- none on this schema. No version ends before it began, also after the server's clock was set back. Where another
-- program's table lets it set a part of a key null, the bar is none of a slot meanwhile.
CREATE FUNCTION backfill.keep_bar_version() RETURNS trigger LANGUAGE plpgsql
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
                WHEN (NEW.open_price, NEW.high_price, NEW.low_price, NEW.close_price, NEW.volume)
                     IS DISTINCT FROM (OLD.open_price, OLD.high_price, OLD.low_price, OLD.close_price, OLD.volume)
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
            OLD.low_price, OLD.close_price, OLD.volume, OLD.source, OLD.source_interval, OLD.source_rows, OLD.is_final,
            OLD.fetched_at, cause);
    END IF;
    IF is_exception AND (NEW.symbol_id, NEW.interval_type, NEW."timestamp") IS NOT NULL THEN
        INSERT INTO backfill.bar_beginnings AS b
        VALUES (NEW.symbol_id, NEW.interval_type, NEW."timestamp", ended_at)
        ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET known_from = EXCLUDED.known_from;
    END IF;
    RETURN NULL;
END $$;

-- A bar that comes with an old fetched_at was not there before now: another program put it back after a deletion, copied
-- it from elsewhere, or moved it to another partition, which is a deletion and an insertion.
CREATE FUNCTION backfill.mark_restored_bar() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO backfill.bar_beginnings AS b
    SELECT NEW.symbol_id, NEW.interval_type, NEW."timestamp", greatest(clock_timestamp(), max(v.known_to))
    FROM backfill.bar_versions v
    WHERE v.symbol_id = NEW.symbol_id AND v.interval_type = NEW.interval_type AND v."timestamp" = NEW."timestamp"
    HAVING (NEW.symbol_id, NEW.interval_type, NEW."timestamp") IS NOT NULL
    ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET known_from = EXCLUDED.known_from;
    RETURN NULL;
END $$;

-- TRUNCATE of a partitioned table calls its own trigger and those of its partitions: each table's bars are kept once. A
-- partition of another owner, which refuses this one, is read through the partitioned table.
CREATE FUNCTION backfill.keep_truncated_bars() RETURNS trigger LANGUAGE plpgsql
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
                   m.close_price, m.volume, m.source, m.source_interval, m.source_rows, m.is_final, m.fetched_at,
                   'truncated'
            FROM %s m LEFT JOIN backfill.bar_beginnings b
                 ON b.symbol_id = m.symbol_id AND b.interval_type = m.interval_type AND b."timestamp" = m."timestamp"
            WHERE m.source IS NOT NULL AND m.tableoid = %s
              AND (m.symbol_id, m.interval_type, m."timestamp") IS NOT NULL
        $copy$, CASE WHEN has_table_privilege(emptied, 'SELECT') THEN emptied ELSE pg_partition_root(emptied) END,
            emptied::oid);
    END LOOP;
    RETURN NULL;
END $$;

-- Creates the triggers that are missing or disabled, also on a partition; the history then begins anew. Partitions that
-- were attached since have the triggers for rows by themselves, and get the one for TRUNCATE. For the table's owner.
--
-- backfill_clear_provenance is as in functions.sql: without it, a bar that another program overwrites stays ours.
--
-- PostgreSQL prepares the condition of a trigger at every statement, so that it must be short: a write of this program
-- changes fetched_at, one of another program that changes values takes it away (clear_provenance). What else another
-- program may change is named as columns, which costs nothing where a statement does not set them.
CREATE FUNCTION backfill.create_history_triggers() RETURNS void LANGUAGE plpgsql AS $$
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
            source_rows, is_final ON %s FOR EACH ROW
            WHEN (coalesce(OLD.source, NEW.source) IS NOT NULL AND OLD.fetched_at IS NOT DISTINCT FROM NEW.fetched_at
                  AND (OLD.symbol_id, OLD.interval_type, OLD."timestamp", OLD.source, OLD.source_interval,
                       OLD.source_rows, OLD.is_final) IS DISTINCT FROM (NEW.symbol_id, NEW.interval_type,
                       NEW."timestamp", NEW.source, NEW.source_interval, NEW.source_rows, NEW.is_final))
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

-- What is older, as far as revisions tell it: they have the values of final bars that were replaced, with the moment.
-- That and the fetched_at of the next version are moments of one write where they lie close to each other; else the
-- next version was only counted again, and its values hold since the revision. Runs of an earlier version of this
-- program, which write revisions, wait meanwhile; other programs go on writing.
LOCK TABLE backfill.revisions IN SHARE MODE;
WITH revision AS (
    SELECT r.*, r.fetched_at IS NOT NULL AS is_ours,
           lead(r.fetched_at) OVER versions AS next_fetched, lead(r.replaced_at) OVER versions IS NULL AS is_newest
    FROM backfill.revisions r
    WINDOW versions AS (PARTITION BY r.symbol_id, r.interval_type, r."timestamp" ORDER BY r.replaced_at)
), ended AS (
    SELECT r.*, m.source AS now_source, m.fetched_at AS now_fetched,
           CASE WHEN CASE WHEN r.is_newest THEN m.fetched_at ELSE r.next_fetched END
                     BETWEEN r.replaced_at - interval '1 minute' AND r.replaced_at + interval '1 minute'
                THEN CASE WHEN r.is_newest THEN m.fetched_at ELSE r.next_fetched END ELSE r.replaced_at END AS known_to
    FROM revision r LEFT JOIN market_data m ON r.is_newest AND m.symbol_id = r.symbol_id
         AND m.interval_type = r.interval_type AND m."timestamp" = r."timestamp"
), began AS (
    SELECT e.*, coalesce(lag(e.known_to) OVER (PARTITION BY e.symbol_id, e.interval_type, e."timestamp"
                                               ORDER BY e.replaced_at), e.fetched_at, '-infinity') AS known_from
    FROM ended e
), rebuilt AS (
    INSERT INTO backfill.bar_versions
    SELECT b.symbol_id, b.interval_type, b."timestamp", b.known_from, b.known_to, b.open_price, b.high_price,
           b.low_price, b.close_price, b.volume,
           CASE WHEN b.is_ours THEN coalesce(b.now_source, (SELECT host FROM backfill.source_host), '') END,
           b.source_interval, b.source_rows, CASE WHEN b.is_ours THEN true END, b.fetched_at,
           CASE WHEN b.is_ours THEN 'revised' ELSE 'verified' END
    FROM began b ORDER BY b.known_to
)
INSERT INTO backfill.bar_versions
SELECT m.symbol_id, m.interval_type, m."timestamp", b.known_to, m.fetched_at, m.open_price, m.high_price, m.low_price,
       m.close_price, m.volume, m.source, m.source_interval, m.source_rows, m.is_final, b.known_to, 'relabeled'
FROM began b JOIN market_data m ON m.symbol_id = b.symbol_id AND m.interval_type = b.interval_type
     AND m."timestamp" = b."timestamp"
WHERE b.is_newest AND m.source IS NOT NULL AND m.fetched_at > b.known_to;

-- A version is found by its bar, with its moments in the index; what changed between two moments by the second index,
-- which costs a writer almost nothing because versions are appended in the order of known_to.
CREATE INDEX bar_versions_by_bar ON backfill.bar_versions (symbol_id, interval_type, "timestamp", known_to, known_from)
    INCLUDE (ended_by);
CREATE INDEX bar_versions_by_end ON backfill.bar_versions USING brin (known_to) WITH (pages_per_range = 32);

-- Roles that work with the evidence may read these tables; only the triggers write them.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT new_table,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
        CROSS JOIN unnest(ARRAY['bar_versions', 'bar_beginnings', 'history_begins']) AS new_table
        WHERE c.oid = 'backfill.session_evidence'::regclass AND acl.grantee <> c.relowner
          AND acl.privilege_type = 'SELECT'
    LOOP
        EXECUTE format('GRANT SELECT ON backfill.%I TO %s', granted.new_table, granted.grantee);
    END LOOP;
END $$;

-- From now on nothing is lost. Last, because it locks out other writers until the end of the migration.
SELECT backfill.create_history_triggers();
