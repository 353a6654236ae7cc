-- readable since: 9
--
-- Years of bars as partitions of market_data, where this program created it partitioned.
--
-- Such a table has a partition for each year of UTC, named market_data_2026, and two outer ones that are open to one
-- side, market_data_before_2020 and market_data_from_2028. No row lacks a place, but the outer ones should be empty:
-- years are made before their first bar comes. Plain tables, and tables of other programs, stay as they are.

-- The years and the two outer partitions of a table of this form; null for any other table.
CREATE FUNCTION backfill.bar_partition_years(
    bars regclass, OUT first_year integer, OUT end_year integer, OUT before regclass, OUT later regclass
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts regclass[] := ARRAY(
        SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent = bars AND pg_get_partkeydef(bars) = 'RANGE ("timestamp")');
    names text[] := ARRAY(SELECT relname FROM pg_class WHERE oid = ANY (parts));
BEGIN
    SELECT max(oid) FILTER (WHERE relname LIKE '%before%'), max(oid) FILTER (WHERE relname LIKE '%from%'),
           max(right(relname, 4)) FILTER (WHERE relname LIKE '%before%'),
           max(right(relname, 4)) FILTER (WHERE relname LIKE '%from%')
    INTO before, later, first_year, end_year
    FROM pg_class WHERE oid = ANY (parts) AND relname ~ '^market_data_(before|from)_\d{4}$';
    IF (array_length(names, 1) = 2 + end_year - first_year AND names @> ARRAY(
            SELECT 'market_data_' || y FROM generate_series(first_year, end_year - 1) AS y)) IS NOT TRUE
    THEN
        before := NULL;
        later := NULL;
        first_year := NULL;
        end_year := NULL;
    END IF;
END $$;

-- Makes the years that are missing from first_year to last_year, next to those there are, and returns how many. Rows that
-- stand in an outer partition move with their year, as they are: no version is written, no count changes.
--
-- It is the owner's, so that programs that may only write rows can call it. It waits two seconds at most for other
-- transactions, and makes nothing where an outer partition holds more than most_moved rows, since nobody can read or
-- write meanwhile.
CREATE FUNCTION backfill.make_bar_partitions(
    bars regclass, first_year integer, last_year integer, most_moved bigint DEFAULT 100000
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    there record;
    made integer := 0;
BEGIN
    SELECT * INTO there FROM backfill.bar_partition_years(bars);
    IF there.end_year IS NULL OR first_year < 1970 OR last_year > extract(year FROM now()) + 10
       OR (SELECT relowner FROM pg_class WHERE oid = bars) <> current_user::regrole  -- nobody else's table, by any name
    THEN
        RETURN 0;
    END IF;
    IF there.end_year <= last_year OR there.first_year > first_year THEN
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', bars);
        PERFORM backfill.create_census_triggers(bars);
        SELECT * INTO there FROM backfill.bar_partition_years(bars);  -- somebody else may have made them meanwhile
    END IF;
    IF there.end_year <= last_year THEN
        made := backfill.cut_bar_partition(bars, there.later, there.end_year, last_year + 1, true, most_moved);
    END IF;
    IF there.first_year > first_year THEN
        made := made + backfill.cut_bar_partition(bars, there.before, first_year, there.first_year, false, most_moved);
    END IF;
    IF made > 0 THEN  -- the bars that have moved were counted
        PERFORM backfill.create_census_triggers(bars, with_count => false);
    END IF;
    RETURN made;
END $$;

-- Replaces an outer partition by the years from first_year to before end_year and a new outer one beyond them.
CREATE FUNCTION backfill.cut_bar_partition(
    bars regclass, outer_part regclass, first_year integer, end_year integer, is_later boolean, most_moved bigint
) RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET "TimeZone" = 'UTC' AS $$
DECLARE
    schema_name text := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = bars);
    part record;
    row_count bigint;
    left_behind bigint;
    moved bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS counted', outer_part, most_moved + 1) INTO row_count;
    IF row_count > most_moved THEN
        RETURN 0;
    END IF;
    left_behind := row_count;
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', bars, outer_part);
    FOR part IN
        SELECT 'market_data_' || y AS name, make_timestamptz(y, 1, 1, 0, 0, 0, 'UTC')::text AS first_at,
               make_timestamptz(y + 1, 1, 1, 0, 0, 0, 'UTC')::text AS end_at
        FROM generate_series(first_year, end_year - 1) AS y
        UNION ALL
        SELECT CASE WHEN is_later THEN 'market_data_from_' || end_year ELSE 'market_data_before_' || first_year END,
               CASE WHEN is_later THEN make_timestamptz(end_year, 1, 1, 0, 0, 0, 'UTC')::text END,
               CASE WHEN NOT is_later THEN make_timestamptz(first_year, 1, 1, 0, 0, 0, 'UTC')::text END
    LOOP
        EXECUTE format('CREATE TABLE %s.%I PARTITION OF %s FOR VALUES FROM (%s) TO (%s)', schema_name, part.name, bars,
                       coalesce(quote_literal(part.first_at), 'MINVALUE'),
                       coalesce(quote_literal(part.end_at), 'MAXVALUE'));
        IF row_count > 0 THEN
            EXECUTE format('ALTER TABLE %s.%I DISABLE TRIGGER USER', schema_name, part.name);
            EXECUTE format('INSERT INTO %s.%I SELECT * FROM %s WHERE %s AND %s', schema_name, part.name, outer_part,
                           coalesce('"timestamp" >= ' || quote_literal(part.first_at), 'true'),
                           coalesce('"timestamp" < ' || quote_literal(part.end_at), 'true'));
            GET DIAGNOSTICS moved = ROW_COUNT;
            left_behind := left_behind - moved;
            EXECUTE format('ALTER TABLE %s.%I ENABLE TRIGGER USER', schema_name, part.name);
        END IF;
        EXECUTE format('CREATE TRIGGER backfill_keep_truncated BEFORE TRUNCATE ON %s.%I FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION backfill.keep_truncated_bars()', schema_name, part.name);
    END LOOP;
    IF left_behind <> 0 THEN
        RAISE EXCEPTION '% of % rows of % have no place in the new partitions', left_behind, row_count, outer_part;
    END IF;
    EXECUTE format('DROP TABLE %s', outer_part);
    RETURN end_year - first_year;
END $$;

-- A new table: the years from the beginning of the vendor's feed of 5 minutes, and at least one that is not yet begun.
SELECT backfill.make_bar_partitions('market_data', 2020, extract(year FROM now() AT TIME ZONE 'UTC')::integer + 1);
