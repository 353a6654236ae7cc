"""Changes of the HTTP around an answer: statuses, headers, compression, lengths and lost connections."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random

from backfill_assets_tests.fuzz.inputs import Change
from backfill_assets_tests.fuzz.reply import Reply
from backfill_assets_tests.fuzz.vendor import Answer

_STATUSES = (
    *(
        "200 OK",
        "201 Created",
        "202 Accepted",
        "203 X",
        "204 No Content",
        "205 X",
        "206 Partial Content",
        "226 X",
        "299 X",
    ),
    *("300 X", "301 Moved", "302 Found", "304 Not Modified", "307 X", "308 X", "400 Bad Request", "401 Unauthorized"),
    *(
        "402 Payment Required",
        "403 Forbidden",
        "404 Not Found",
        "405 X",
        "406 X",
        "408 X",
        "409 X",
        "410 Gone",
        "411 X",
        "413 X",
    ),
    *(
        "414 X",
        "415 X",
        "418 X",
        "421 X",
        "422 X",
        "423 Locked",
        "425 X",
        "426 X",
        "428 X",
        "429 Too Many Requests",
        "431 X",
        "444 X",
    ),
    *(
        "451 X",
        "499 X",
        "500 X",
        "501 X",
        "502 Bad Gateway",
        "503 X",
        "504 X",
        "505 X",
        "507 X",
        "509 X",
        "511 X",
        "520 X",
        "522 X",
    ),
    *(
        "524 X",
        "529 X",
        "530 X",
        "599 X",
        "600 X",
        "999 X",
        "200",
        "20",
        "abc",
        "2000 X",
        "-200 X",
        "100 Continue",
        "103 X",
        "000 X",
    ),
)
_HEADERS = (
    *(
        ("retry-after", v)
        for v in (
            "0",
            "-1",
            "0.1",
            "1e-9",
            "nan",
            "inf",
            "abc",
            "121",
            "3600",
            "9" * 30,
            "Wed, 03 Jun 2026 14:00:00 GMT",
        )
    ),
    *(
        ("retry-after", v)
        for v in (
            "Wed, 99 Jun 2026",
            "Wed, 03 Jun 9999 14:00:00 GMT",
            "Mon, 01 Jan 0001 00:00:00 GMT",
            "１",
            "+5",
            "\x01",
        )
    ),
    *(("x-ratelimit-remaining", v) for v in ("0", "-1", "abc", "1e9", "9" * 30, "nan", "1, 2", "²")),
    *(("x-ratelimit-limit", v) for v in ("0", "1", "-1", "abc", "9" * 9, "9" * 30, "nan", "1200, 1200")),
    *(
        ("content-type", v)
        for v in ("", "text/html", "text/html; charset=UTF-8", "text/plain", "text/csv", "application/xml", "x")
    ),
    *(
        ("content-type", v)
        for v in ("application/json; charset=utf-16", "application/json; charset=nonsense", "application/json;;;")
    ),
    *(
        ("content-encoding", v)
        for v in ("gzip", "deflate", "br", "zstd", "identity", "nonsense", "gzip, gzip", "x-gzip")
    ),
    *(("content-length", v) for v in ("0", "-1", "abc", "9" * 30, "1e3", "10, 10", "")),
    *(("transfer-encoding", v) for v in ("chunked", "gzip, chunked", "nonsense")),
    *(
        ("location", v)
        for v in ("/x", "https://evil.example/?a=b", "http://[bad", "//", "\x7f", "x" * 5000, "https://eodhd.com/api")
    ),
    *(
        ("set-cookie", "a=b; Path=/"),
        ("x-junk", "é" * 50),
        ("x-junk", "a" * 70_000),
        ("x-junk", "a\r\n folded"),
        ("a b", "c"),
        ("", "x"),
    ),
    *(("connection", "close"), ("upgrade", "h2c"), ("date", "nonsense"), ("server", "\x00")),
)


def draw_http_change(random: Random) -> Change:
    kind, seed = random.random(), random.getrandbits(32)
    if kind < 0.45:
        status = random.choice(_STATUSES)
        return _change_answer(f"status {status}", lambda answer, _: replace(answer, status=status), seed)
    if kind < 0.8:
        name, value = random.choice(_HEADERS)
        header = {name: value}
        return _change_answer(
            f"header {name}: {value[:60]}", lambda a, _: replace(a, headers={**a.headers, **header}), seed
        )
    name, change = random.choice(_TRANSFERS)
    return _change_answer(f"transfer: {name}", change, seed)


def _change_answer(description: str, change: Callable[[Answer, Random], Answer], seed: int) -> Change:
    return Change(f"{description} (draw {seed})", lambda reply: Reply(change(reply.finish(), Random(seed))))


def _encode_body(answer: Answer, encoding: str, encode: Callable[[bytes], bytes]) -> Answer:
    headers = {**answer.headers, "content-encoding": encoding} if encoding else answer.headers
    return replace(answer, body=encode(answer.body), headers=headers)


def _chunk(answer: Answer, end: bytes) -> Answer:
    body = b"%x\r\n%s\r\n" % (len(answer.body), answer.body) + end
    return replace(answer, body=body, headers={**answer.headers, "content-length": "", "transfer-encoding": "chunked"})


_TRANSFERS: tuple[tuple[str, Callable[[Answer, Random], Answer]], ...] = (
    ("gzip", lambda a, _: _encode_body(a, "gzip", gzip.compress)),
    ("gzip without its header", lambda a, _: _encode_body(a, "", gzip.compress)),
    ("gzip twice", lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(gzip.compress(b)))),
    ("gzip cut short", lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(b)[:-20])),
    (
        "gzip with a wrong check sum",
        lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(b)[:-8] + b"12345678"),
    ),
    ("gzip of nothing", lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(b""))),
    ("gzip and more behind", lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(b) + b"junk")),
    ("a gzip bomb of 30 MB", lambda a, _: _encode_body(a, "gzip", lambda b: gzip.compress(b" " * 30_000_000 + b"[]"))),
    ("deflate", lambda a, _: _encode_body(a, "deflate", zlib.compress)),
    ("deflate raw", lambda a, _: _encode_body(a, "deflate", lambda b: zlib.compress(b)[2:-4])),
    ("in one chunk", lambda a, _: _chunk(a, b"0\r\n\r\n")),
    ("in a chunk without an end", lambda a, _: replace(_chunk(a, b""), cut=10**9)),
    ("in a chunk with a junk end", lambda a, _: replace(_chunk(a, b"zz\r\n"), cut=10**9)),
    ("closed before the head", lambda a, _: replace(a, cut=0)),
    ("closed within the head", lambda a, _: replace(a, cut=20)),
    (
        "closed within the body",
        lambda a, random: replace(a, cut=len(a.encode()) - 1 - random.randrange(max(1, len(a.body)))),
    ),
    ("closed at the end, no length", lambda a, _: replace(a, headers={**a.headers, "content-length": ""}, cut=10**9)),
    ("slow", lambda a, _: replace(a, delay_seconds=0.2)),
    ("slower than the time limit", lambda a, _: replace(a, delay_seconds=2.5)),
)
