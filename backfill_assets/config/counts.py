"""How numbers are written in sentences."""


def format_count(count: int, one: str, many: str = "") -> str:
    """``1 bar`` or ``1,040 bars``; ``many`` is ``one`` with an s if not given."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
