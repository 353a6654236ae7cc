"""The statements of ``gap_queries``: bars of symbols in a range of slots, counted by kind or listed.

Where the census says that a symbol has no bar of a kind to look for, its bars are counted from the index of the key
alone: half of the time of a count is reading the rows. It is asked in the same statement, so in the same snapshot.
"""

from collections.abc import Mapping

from backfill_assets.store.bars.bar_stats import LAST_POSSIBLE_TIME

_SELECT_BARS = """
    SELECT d.symbol_id, d.timestamp AS stamp, d.interval_type, d.source, d.is_final,
           d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
    FROM market_data d
    WHERE d.symbol_id {chosen} AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= {last}
      -- IS TRUE keeps this from becoming an index condition; the array is hashed instead
      AND (d.timestamp = ANY (%(starts)s::timestamptz[]){or_later}) IS TRUE
"""
_IN_GRID = {"last": "%(last)s", "or_later": ""}
_IN_GRID_OR_LATER = {"last": LAST_POSSIBLE_TIME, "or_later": " OR d.timestamp > %(last)s"}
SELECT_ALL_BARS = _SELECT_BARS.format(chosen="= ANY (%(ids)s::int[])", **_IN_GRID)
_CHOSEN = "= ANY ((SELECT %(ids)s::int[])::int[])"  # the sub-select hides the array from the planner's estimates
SELECT_BARS_BY_INDEX = _SELECT_BARS.format(chosen=_CHOSEN, **_IN_GRID)
SELECT_BEST_SPELLING = f"""
    SELECT b.* FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (stamp) *
        FROM ({_SELECT_BARS.format(chosen="= u.symbol_id", **_IN_GRID)}) d ORDER BY stamp, source IS NULL
    ) b
"""  # noqa: S608 - only constants are inserted
_IS_PROVISIONAL_OR_SPARSE = """
    (NOT m.is_final OR m.is_final AND m.covered <= %(half)s
     AND NOT (m.stamp = ANY (%(short)s::timestamptz[]) AND m.covered > %(half_of_short)s))
"""
_COUNT = """
SELECT symbol_id, count(*)::int AS bars, count(*) FILTER (WHERE interval_type <> %(spelling)s)::int AS other,
       {kinds}{{more}}
FROM ({bars}) m GROUP BY symbol_id
"""
_BY_KIND = f"""
       count(*) FILTER (WHERE source IS NULL AND stamp <= %(last)s)::int AS external,
       count(*) FILTER (WHERE {_IS_PROVISIONAL_OR_SPARSE})::int AS doubtful
"""
# Plain are the symbols all of whose bars since some month are final, of this program, and built from enough rows.
_COUNT_BY_CENSUS = f"""
WITH counted AS MATERIALIZED (
    SELECT symbol_id FROM backfill.census_symbols
    WHERE symbol_id {_CHOSEN} AND NOT uncounted && daterange(%(first_month)s::date, NULL)
      AND NOT EXISTS (SELECT FROM backfill.find_census_changes() c
                      WHERE c.months && daterange(%(first_month)s::date, NULL))
), plain AS MATERIALIZED (
    SELECT symbol_id FROM counted EXCEPT (
        SELECT symbol_id FROM backfill.census_months
        WHERE symbol_id = ANY (ARRAY(SELECT symbol_id FROM counted)) AND interval_type = %(spelling)s
          AND month >= %(first_month)s::date AND (provisional, unverified, sparse) <> (0, 0, 0)
        UNION ALL
        SELECT symbol_id FROM backfill.census_deltas
        WHERE month >= %(first_month)s::date AND (provisional, unverified, sparse) <> (0, 0, 0))
)
{{plain}} UNION ALL {{others}}
"""  # noqa: S608 - only constants are inserted
_OF_PLAIN = "= ANY (ARRAY(SELECT symbol_id::int FROM plain))"
_OF_OTHERS = "= ANY (ARRAY(SELECT unnest(%(ids)s::int[]) EXCEPT SELECT symbol_id::int FROM plain))"


def _count_by_census(bounds: Mapping[str, str]) -> str:
    plain, others = (_SELECT_BARS.format(chosen=chosen, **bounds) for chosen in (_OF_PLAIN, _OF_OTHERS))
    return _COUNT_BY_CENSUS.format(
        plain=_COUNT.format(kinds="0 AS external, 0 AS doubtful", bars=plain),
        others=_COUNT.format(kinds=_BY_KIND, bars=others),
    )


# All have a place for ``more`` counts.
COUNT_ALL_BARS = _COUNT.format(kinds=_BY_KIND, bars=SELECT_ALL_BARS)
COUNT_BEST_SPELLING = _COUNT.format(kinds=_BY_KIND, bars=SELECT_BEST_SPELLING)
COUNT_NEWEST_BARS = _count_by_census(_IN_GRID)
COUNT_NEWEST_BARS_AND_LATER = _count_by_census(_IN_GRID_OR_LATER)
COUNT_TYPES = dict.fromkeys(("symbol_id", "bars", "other", "external", "doubtful"), ">i4")
COUNT_SINCE = ", count(*) FILTER (WHERE stamp >= %({0})s)::int AS {0}"  # from the first slot of a later session on
COUNT_LATER = ", count(*) FILTER (WHERE stamp > %(last)s)::int AS later, max(stamp) AS newest"
LATER_TYPES = {"later": ">i4", "newest": ">i8"}
_LIST = "SELECT symbol_id, stamp, is_final, coalesce(covered, 0) AS covered FROM ({bars}) m WHERE {doubtful}"
LIST_BARS = _LIST.format(bars="{bars}", doubtful=_IS_PROVISIONAL_OR_SPARSE)
LIST_TYPES = {"symbol_id": ">i4", "stamp": ">i8", "is_final": ">i1", "covered": ">i4"}
LIST_ABSENT_SLOTS = """
SELECT u.symbol_id, x.stamp
FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT unnest(%(starts)s::timestamptz[]) AS stamp EXCEPT ALL
    SELECT d.timestamp FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
) x
"""
ABSENT_TYPES = {"symbol_id": ">i4", "stamp": ">i8"}
