"""Odd values in the rows of a user's own tables, and settings of the database they are in."""

from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change

_VALUES: dict[str, tuple[str, ...]] = {
    "timestamp": (
        *(
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'0044-03-15 BC'",
            "'0001-01-01'",
            "'1969-12-31 23:59:59Z'",
            "'1970-01-01Z'",
            "'9999-12-31Z'",
            "'294276-12-31Z'",
        ),
        *(
            "stamp + interval '1 microsecond'",
            "stamp + interval '30 minutes'",
            "stamp - interval '20 years'",
            "stamp + interval '7 minutes'",
            "NULL",
        ),
    ),
    "open_price": ("'NaN'", "'Infinity'", "0", "-1", "NULL", "1e300", "1e-300", "99999", "high * 2", "0.0000001"),
    "high_price": ("'NaN'", "'Infinity'", "low / 2", "NULL", "-0.0"),
    "close_price": ("'NaN'", "'-Infinity'", "NULL", "0", "123456789012345678901234567890"),
    "volume": ("NULL", "0", "-1", "9223372036854775807", "volume / 2", "'NaN'", "0.5", "2147483648", "'Infinity'"),
    "interval_type": (
        "''",
        "'30m'",
        "'30Min'",
        "'1800'",
        "'30T'",
        "'30 minutes'",
        "'1h'",
        "'é'",
        "'30min '",
        "'nonsense'",
        "repeat('x', 20)",
        "NULL",
    ),
    "symbol_id": ("99", "-1", "0", "2147483647", "32767", "NULL"),
    "symbol": (
        *(
            "''",
            "' '",
            "'aapl'",
            "'AAPL.US'",
            "' MSFT'",
            "'BRK.B'",
            "'A/B'",
            "'é'",
            "'日本'",
            "U&'A\\200B'",
            "'../x'",
            "'%'",
            "'A,B'",
            "E'A\\nB'",
            "NULL",
        ),
        *(
            "'[red]'",
            "'A B'",
            "'$(id)'",
            "'-A'",
            "'NULL'",
            "'nan'",
            "'ZZZZZZZZZZ'",
            "U&'\\202E'",
            "'🚀'",
            "'A''B'",
            "'.'",
            "'AAPL'",
        ),
        *("'VOD.L'", "'VOD.LSE'", "'LSE:VOD'", "'BHP.AX'", "'AIR.PA'", "'BHP AU'", "'005930'", "'VOD.US'"),
    ),
    "exchange": (
        "''",
        "'NASDAQ'",
        "'NYSE'",
        "'us'",
        "' US '",
        *(
            "'LSE'",
            "'LSE'",
            "'XLON'",
            "'London Stock Exchange'",
            "'lse'",
            "'L'",
            "'AU'",
            "'ASX'",
            "'XASX'",
            "'HK'",
            "'TSE'",
        ),
        *(
            "'Xetra'",
            "'Börse Frankfurt'",
            "'Euronext Paris'",
            "'TSX'",
            "'B3'",
            "'Oslo Børs'",
            "'CC'",
            "'FOREX'",
            "'US;LSE'",
        ),
        "'é'",
        "NULL",
        "'nonsense'",
        "'XNAS'",
        "'US/NASDAQ'",
        "E'U\\tS'",
        "'[b]'",
    ),
    "is_active": ("NULL", "false"),
    "company_name": ("'é 日本 🚀'", "'[bold]'", "repeat('x', 255)", "NULL"),
    "updated_at": ("'infinity'", "'4713-01-01 BC'", "NULL", "'294276-01-01'"),
    "source": ("'me'", "''", "'127.0.0.1'", "'eodhd.com'", "'é'"),
    "source_interval": ("'5m'", "'1m'", "'live'", "''", "'é'"),
    "source_rows": ("6", "0", "-1", "32767"),
    "is_final": ("true", "false"),
    "fetched_at": ("'infinity'", "'-infinity'", "now()", "'4713-01-01 BC'", "'2100-01-01'"),
}
_CONDITIONS = ("true", "n = 1", "n = 20", "n % 2 = 0", "n > 13", "n < 5")


def draw_name(random: Random) -> Change:
    """An odd name of a symbol or an exchange in some rows."""
    return draw_value(random, random.choice(("exchange", "exchange", "symbol")))


def draw_value(random: Random, column: str = "") -> Change:
    column = column or random.choice(list(_VALUES))
    value, condition = random.choice(_VALUES[column]), random.choice(_CONDITIONS)
    return Change(
        f"{column} = {value} where {condition}", lambda t: replace(t, values=(*t.values, (column, value, condition)))
    )


_DATABASES = (
    *(
        "ENCODING 'SQL_ASCII' LOCALE 'C'",
        "ENCODING 'LATIN1' LOCALE 'C'",
        "ENCODING 'WIN1252' LOCALE 'C'",
        "ENCODING 'EUC_JP' LOCALE 'C'",
    ),
    *(
        "ENCODING 'KOI8R' LOCALE 'C'",
        "ENCODING 'EUC_KR' LOCALE 'C'",
        "ENCODING 'MULE_INTERNAL' LOCALE 'C'",
        "ENCODING 'LATIN9' LOCALE 'C'",
    ),
    *("ENCODING 'UTF8' LOCALE 'C'", "ENCODING 'EUC_TW' LOCALE 'C'"),
    *("ENCODING 'WIN866' LOCALE 'C'", "ENCODING 'WIN1251' LOCALE 'C'"),
)
_SETTINGS = (
    *(
        "DateStyle = 'SQL, DMY'",
        "DateStyle = 'German'",
        "DateStyle = 'Postgres, MDY'",
        "IntervalStyle = 'iso_8601'",
        "IntervalStyle = 'sql_standard'",
    ),
    *(
        "TimeZone = 'Asia/Tokyo'",
        "TimeZone = 'America/New_York'",
        "TimeZone = '+05:45'",
        "TimeZone = 'Pacific/Apia'",
        "TimeZone = 'posixrules'",
    ),
    *(
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "backslash_quote = on",
        "array_nulls = off",
    ),
    *(
        "client_encoding = 'SQL_ASCII'",
        "client_encoding = 'LATIN1'",
        "client_encoding = 'UTF8'",
        "client_encoding = 'EUC_JP'",
        "client_encoding = 'SJIS'",
    ),
    *(
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_read_only = on",
    ),
    *(
        "default_transaction_deferrable = on",
        "statement_timeout = '1ms'",
        "statement_timeout = '50ms'",
        "lock_timeout = '1ms'",
        "transaction_timeout = '60ms'",
    ),
    *(
        "idle_in_transaction_session_timeout = '1ms'",
        "idle_session_timeout = '1ms'",
        "row_security = off",
        "session_replication_role = 'replica'",
    ),
    *(
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "check_function_bodies = off",
        "client_min_messages = 'debug5'",
        "jit = on",
    ),
    *(
        "client_min_messages = 'error'",
        "work_mem = '64kB'",
        "temp_buffers = '800kB'",
        "temp_file_limit = '0'",
        "max_stack_depth = '100kB'",
    ),
    *(
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "default_table_access_method = 'nonsense'",
        "default_tablespace = 'nonsense'",
        "temp_tablespaces = 'x'",
    ),
    *(
        "plan_cache_mode = 'force_generic_plan'",
        "xmloption = 'document'",
        "lc_messages = 'C'",
        "lc_numeric = 'C'",
        "timezone_abbreviations = 'India'",
    ),
    *(
        "search_path = 'public'",
        "search_path = ''",
        "search_path = backfill, public",
        "search_path = 'pg_catalog'",
        "search_path = 'nonsense'",
    ),
    *(
        'search_path = "$user", public',
        "search_path = public, backfill",
        "constraint_exclusion = on",
        "synchronous_commit = 'remote_apply'",
    ),
    *(
        "restrict_nonsystem_relation_kind = 'view'",
        "allow_system_table_mods = on",
        "event_triggers = off",
        "createrole_self_grant = ''",
    ),
)


def draw_database(random: Random) -> Change:
    options = random.choice(_DATABASES)
    return Change(f"database {options}", lambda t: replace(t, database=options))


def draw_setting(random: Random) -> Change:
    setting = random.choice(_SETTINGS)
    return Change(f"setting {setting}", lambda t: replace(t, settings=(*t.settings, setting)))
