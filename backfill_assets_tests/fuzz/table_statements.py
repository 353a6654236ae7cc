"""What a house has done to its tables besides creating them: triggers, rules, rights, views, schemas."""

import zlib
from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change


def _trigger(
    when: str, body: str, *, level: str = "ROW", kind: str = "TRIGGER", table: str = "market_data", more: str = ""
) -> str:
    number = zlib.crc32(f"{when}{body}".encode()) % 9999
    return (
        f"CREATE FUNCTION house_{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; "
        f"CREATE {kind} house {when} ON {table} {more} FOR EACH {level} EXECUTE FUNCTION house_{number}()"
    )


_RAISE = "RAISE EXCEPTION 'house rule: % is not welcome', {};"
_DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
_STATEMENTS: tuple[str, ...] = (
    _trigger("BEFORE INSERT", _RAISE.format("NEW.symbol_id")),
    _trigger(
        "BEFORE INSERT",
        "IF extract(hour FROM NEW.timestamp) = 15 THEN " + _RAISE.format("NEW.timestamp") + " END IF; RETURN NEW;",
    ),
    _trigger("BEFORE INSERT OR UPDATE", "RETURN NULL;"),
    _trigger("BEFORE INSERT", "NEW.open_price := NEW.open_price + 1; RETURN NEW;"),
    _trigger("BEFORE INSERT", "NEW.interval_type := 'other'; RETURN NEW;"),
    _trigger("BEFORE INSERT", "NEW.symbol_id := 1; RETURN NEW;"),
    _trigger("BEFORE UPDATE", _RAISE.format("OLD.symbol_id")),
    _trigger("BEFORE UPDATE", "RETURN OLD;"),
    _trigger("AFTER INSERT", _RAISE.format("NEW.volume")),
    _trigger("AFTER INSERT OR UPDATE", _RAISE.format("1"), level="STATEMENT"),
    _trigger("AFTER INSERT", _RAISE.format("NEW.volume"), kind="CONSTRAINT TRIGGER", more=_DEFERRED),
    _trigger("BEFORE INSERT", "PERFORM pg_sleep(0.002); RETURN NEW;"),
    _trigger("BEFORE INSERT", "RAISE NOTICE 'hello'; RETURN NEW;"),
    _trigger("BEFORE INSERT", "INSERT INTO audit VALUES (NEW.symbol_id); RETURN NEW;"),
    _trigger("BEFORE INSERT", "RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'é duplicate';"),
    _trigger("BEFORE INSERT", "RAISE EXCEPTION USING ERRCODE = '40001';"),
    _trigger("BEFORE INSERT", "RAISE EXCEPTION USING ERRCODE = '57014';"),
    _trigger("BEFORE INSERT", "NEW := NULL; RETURN NEW;"),
    _trigger("BEFORE INSERT OR UPDATE", _RAISE.format("NEW.symbol"), table="market_symbols"),
    _trigger("BEFORE INSERT OR UPDATE", "RETURN NULL;", table="market_symbols"),
    _trigger("BEFORE INSERT OR UPDATE", "NEW.symbol := lower(NEW.symbol); RETURN NEW;", table="market_symbols"),
    "CREATE RULE house AS ON INSERT TO market_data DO INSTEAD NOTHING",
    "CREATE RULE house AS ON UPDATE TO market_data DO INSTEAD NOTHING",
    "CREATE RULE house AS ON INSERT TO market_data DO ALSO SELECT 1",
    "CREATE RULE house AS ON INSERT TO market_symbols DO INSTEAD NOTHING",
    "CREATE RULE house AS ON DELETE TO market_data DO INSTEAD NOTHING",
    "ALTER TABLE market_data RENAME TO bars; CREATE VIEW market_data AS SELECT * FROM bars",
    "ALTER TABLE market_data RENAME TO bars; CREATE MATERIALIZED VIEW market_data AS SELECT * FROM bars",
    "ALTER TABLE market_symbols RENAME TO names; CREATE VIEW market_symbols AS SELECT * FROM names",
    'ALTER TABLE market_data RENAME TO "Market_Data"',
    'ALTER TABLE market_symbols RENAME TO "MARKET_SYMBOLS"',
    'ALTER TABLE market_data RENAME "timestamp" TO "Timestamp"',
    'ALTER TABLE market_symbols RENAME symbol TO "Symbol"',
    "DROP TABLE market_data",
    "DROP TABLE market_symbols CASCADE",
    "CREATE SCHEMA other; ALTER TABLE market_data SET SCHEMA other",
    "CREATE SCHEMA other; ALTER TABLE market_data SET SCHEMA other; ALTER TABLE market_symbols SET SCHEMA other",
    "CREATE SCHEMA backfill",
    "CREATE SCHEMA backfill; CREATE TABLE backfill.revisions (a int)",
    "CREATE SCHEMA backfill; CREATE TABLE backfill.migrations (number int)",
    "CREATE SCHEMA backfill; CREATE TABLE backfill.migrations (a text)",
    "CREATE SCHEMA backfill; CREATE TABLE backfill.migrations AS SELECT 99 AS number, 'x' AS name",
    "CREATE SCHEMA backfill; CREATE VIEW backfill.runs AS SELECT 1",
    "CREATE SCHEMA backfill; CREATE TYPE backfill.findings AS ENUM ('a')",
    "CREATE SCHEMA backfill AUTHORIZATION pg_database_owner; REVOKE ALL ON SCHEMA backfill FROM public",
    "CREATE TABLE backfill (a int)",
    "CREATE TABLE staged_bars (a int)",
    "CREATE TABLE market_data_old AS SELECT * FROM market_data",
    "ALTER TABLE market_data ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE market_symbols ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON market_symbols USING (symbol = 'AAPL')",
    "ALTER TABLE market_data ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON market_data FOR INSERT WITH CHECK (false)",
    "REVOKE INSERT, UPDATE, DELETE ON market_data, market_symbols FROM worker_role",
    "REVOKE UPDATE ON market_data FROM worker_role",
    "ALTER TABLE market_data OWNER TO CURRENT_USER",
    "REVOKE CREATE ON SCHEMA public FROM worker_role, public",
    "REVOKE CREATE ON DATABASE this_database FROM worker_role, public",
    "REVOKE USAGE ON SCHEMA public FROM worker_role, public",
    "REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM worker_role",
    "REVOKE EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint) FROM public",
    "ALTER ROLE worker_role CONNECTION LIMIT 1",
    "ALTER DATABASE this_database CONNECTION LIMIT 0",
    "CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RAISE EXCEPTION 'no %', tg_tag; END $$;"
    " CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl()",
    "CREATE VIEW house_view AS SELECT * FROM market_data",
    "CREATE PUBLICATION house FOR TABLE market_data; ALTER TABLE market_data REPLICA IDENTITY FULL",
    "ALTER TABLE market_data SET UNLOGGED",
    "ALTER TABLE market_data CLUSTER ON market_data_symbol_id_timestamp_interval_type_key",
    'CREATE UNIQUE INDEX ON market_data (symbol_id, "timestamp", lower(interval_type))',
    'CREATE UNIQUE INDEX ON market_data (("timestamp"::text)) WHERE false',
    "CREATE INDEX ON market_data ((100 / (volume - volume)))",
    "ALTER SEQUENCE market_symbols_symbol_id_seq MAXVALUE 2",
    "SELECT setval('market_symbols_symbol_id_seq', 2147483647)",
    "SELECT setval('market_symbols_symbol_id_seq', 1, false)",
    "DROP SEQUENCE market_symbols_symbol_id_seq CASCADE",
    "DELETE FROM market_symbols",
    "TRUNCATE market_data",
    "UPDATE market_symbols SET is_active = NULL",
    "UPDATE market_symbols SET symbol_id = -symbol_id; UPDATE market_data SET symbol_id = -symbol_id",
    "UPDATE market_symbols SET symbol_id = 2147483647 WHERE symbol_id = 1",
    "CREATE FUNCTION public.round(double precision, integer) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
    "CREATE FUNCTION public.abs(double precision) RETURNS float8 LANGUAGE sql AS $$ SELECT 1/0::float8 $$",
    "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = texteq)",
    "ALTER DATABASE this_database SET search_path = ''",
    "ALTER DATABASE this_database SET search_path = 'other', 'public'",
    "ALTER DATABASE this_database SET search_path = '\"$user\"'",
    "COMMENT ON TABLE market_data IS 'é''s; -- %s'",
)


def draw_statement(random: Random) -> Change:
    statement = random.choice(_STATEMENTS)
    return Change(statement, lambda t: replace(t, after=(*t.after, statement)))


def draw_role(random: Random) -> Change:
    owner = random.choice(("owner", "writer", "reader", "nobody"))
    return Change(f"role {owner}", lambda t: replace(t, role=owner))
