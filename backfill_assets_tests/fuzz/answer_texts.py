"""Changes of the text of an answer: encodings, cuts, pages instead of data, the vendor's own words."""

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.reply import Reply

_QUOTA = b"You exceeded your daily API requests limit. Please contact support@eodhistoricaldata.com to upgrade"
_PHP_WARNING = b"<br />\n<b>Warning</b>: Undefined index in <b>/var/www/x.php</b><br />\n"
_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
_CSV = b"Timestamp,Gmtoffset,Datetime,Open,High,Low,Close,Volume\n1780320600,0,2026-06-01 13:30:00,1,2,1,2,5\n"
_LARGE = 1_000_000  # bytes
_JSON_TEXTS = (
    "null", "{}", "[[]]", "[null]", "[1]", '""', '"x"', "0", "true", "NaN", "[NaN]", '{"error":"Internal"}',
    '{"error":null}', '{"error":{"code":402}}', '{"error":"x","code":402}',
    '{"code":403,"message":"Forbidden"}', '{"errors":{"from":["x"]}}', '{"message":"Unauthenticated."}',
    '{"status":500}', '{"code":"abc"}', '{"code":1e400}', '{"warning":"x"}', '{"0":1}', '{"":[]}',
    '{"code":99999999999999999999,"error":"x"}', '{"code":200,"message":"ok"}', '[{"error":"x"}]', '[{}]',
    '[[{"timestamp":1}]]',
)  # fmt: skip
_TEXTS: tuple[tuple[str, Callable[[bytes, Random], bytes]], ...] = (
    ("cut short", lambda body, random: body[: random.randrange(len(body) + 1)]),
    ("a byte order mark before", lambda body, _: b"\xef\xbb\xbf" + body),
    ("in UTF-16", lambda body, _: body.decode("latin-1").encode("utf-16")),
    ("white space around", lambda body, _: b"\r\n \t" + body + b"\n\n"),
    ("a PHP warning before", lambda body, _: _PHP_WARNING + body),
    ("a comment after", lambda body, _: body + b"<!-- cached 0.02 s -->"),
    ("NUL after", lambda body, _: body + b"\x00"),
    ("twice", lambda body, _: body + body),
    ("a byte changed", lambda body, random: _replace_byte(body, random)),
    ("two bytes changed", lambda body, random: _replace_byte(_replace_byte(body, random), random)),
    ("a number is 1e400", lambda body, _: re.sub(rb":-?\d+(\.\d+)?(?=[,}])", b":1e400", body, count=1)),
    ("every number is 1e400", lambda body, _: re.sub(rb":-?\d+(\.\d+)?(?=[,}])", b":1e400", body)),
    ("a byte that is no UTF-8", lambda body, random: body[:20] + b"\xff\xfe" + body[20:]),
    ("single quotes", lambda body, _: body.replace(b'"', b"'")),
    ("a comma at the end", lambda body, _: body.replace(b"}]", b"},]")),
    ("rows in lines", lambda body, _: body.strip(b"[]").replace(b"},{", b"}\n{")),
    ("a callback around", lambda body, _: b"callback(" + body + b");"),
    ("nothing", lambda body, _: b""),
    ("an HTML page", lambda body, _: _PAGE),
    ("CSV", lambda body, _: _CSV),
    ("the quota text", lambda body, _: _QUOTA),
    ("Unauthenticated", lambda body, _: b"Unauthenticated"),
    ("Ticker Not Found", lambda body, _: b"Ticker Not Found."),
    ("Forbidden", lambda body, _: b"Forbidden. Please contact support@eodhistoricaldata.com"),
    ("Only EOD data", lambda body, _: b"Only EOD data allowed for free users. Please, contact our support team"),
    ("deeply nested", lambda body, _: b"[" * 100_000),
    ("deeply nested objects", lambda body, _: b'{"a":' * 50_000),
    (
        "megabytes of rows",
        lambda body, _: b"[" + b",".join([body.strip(b"[]") or b"{}"] * (40 if len(body) < _LARGE else 2)) + b"]",
    ),
    ("megabytes of spaces", lambda body, _: b" " * 3_000_000),
    *((f"{text!r}", lambda body, _, text=text: text.encode()) for text in _JSON_TEXTS),
)


def _replace_byte(body: bytes, random: Random) -> bytes:
    place = random.randrange(len(body) + 1)
    return body[:place] + bytes([random.randrange(256)]) + body[place + 1 :]


def draw_text_change(random: Random) -> Change:
    (name, change), seed = random.choice(_TEXTS), random.getrandbits(32)

    def apply(reply: Reply) -> Reply:
        answer = reply.finish()
        return Reply(replace(answer, body=change(answer.body, Random(seed))))

    return Change(f"text: {name} (draw {seed})", apply)
