"""JSON and CSV text of answers. What a row contains is decided by the endpoints."""

from typing import Any, TypeAlias

import msgspec

JsonNumber: TypeAlias = float | int | None

_encoder = msgspec.json.Encoder()


def encode_json(value: Any) -> bytes:
    """Encode as JSON without spaces."""
    return _encoder.encode(value)


def encode_json_fragment(items: list[Any]) -> bytes:
    """Encode as the inside of a JSON array."""
    return _encoder.encode(items)[1:-1]


def join_json_array(fragments: list[bytes]) -> bytes:
    """Join fragments to a JSON array."""
    return b"[" + b",".join(part for part in fragments if part) + b"]"


def encode_csv(items: list[Any]) -> bytes:
    """Encode as CSV; the header has the keys with a capital first letter."""
    rows = msgspec.to_builtins(items)
    if not rows:
        return b""
    names = list(rows[0])
    lines = [",".join(name[:1].upper() + name[1:] for name in names)]
    lines += [",".join("" if row.get(n) is None else str(row.get(n)) for n in names) for row in rows]
    return "\n".join(lines).encode()
