"""Readable text where characters cannot be shown or stored: on a terminal or in a database of another encoding."""

import codecs
import unicodedata

READABLE = "backfill_assets.readable"  # name of the error handler for ``encode`` and streams
_REPLACEMENTS = {
    **dict.fromkeys("‐‑‒–—−─━═╌┄", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("█▇▆▅▄▃▂▁▉▊▋▌▍▎▏■▪", "#"),
    **dict.fromkeys("░▒▓·•", "."),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **{
        "…": "...",
        "→": "->",
        "←": "<-",
        "×": "x",
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
        "≈": "~",
        "±": "+-",
        "§": "section ",
    },
    **{"\N{NO-BREAK SPACE}": " ", "✓": "v", "✗": "x", "€": "EUR", "£": "GBP", "°": "deg", "Σ": "sum"},
}


def replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """An error handler of ``codecs``: a readable replacement in ASCII for each character that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_to_ascii, error.object[error.start : error.end])), error.end


def to_one_line(text: str) -> str:
    """``text`` with line breaks and other control characters as escapes: a path may contain them."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Cs" else ascii(c)[1:-1] for c in text)


def _to_ascii(character: str) -> str:
    if character in _REPLACEMENTS:
        return _REPLACEMENTS[character]
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return decomposed or ("*" if "\u2800" <= character <= "\u28ff" else "?")  # braille: the spinner of a progress bar


codecs.register_error(READABLE, replace_unencodable)
