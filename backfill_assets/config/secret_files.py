"""Secrets that are read from files, as container engines mount them: NAME_FILE instead of NAME.

Which settings may be read so is in ``config.settings``; what a secret may look like is checked where the setting is.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backfill_assets.config.validators import parse_list

_MAX_SECRET_BYTES = 10_000


def fill_secrets_from_files(
    values: Mapping[str, Any], names: Iterable[str], lists: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """``values`` with each NAME read from the file that NAME_FILE names.

    Args:
        values: settings by the names of their variables.
        names: which may be read from files.
        lists: those of ``names`` that may have several lines.

    Raises:
        ValueError: NAME and NAME_FILE differ, or the file cannot be read, is empty or has more than the secret.
    """
    filled = dict(values)
    for name in names:
        if path := values.get(f"{name}_FILE"):
            filled[name] = _read_secret_file(Path(path), f"{name}_FILE", is_list=name in lists)
            if (given := values.get(name)) and _normalize(given) != _normalize(filled[name]):
                raise ValueError(f"{name} and {name}_FILE are both set and differ; set one of them")
    return filled


def _normalize(secret: Any) -> Any:
    """A secret, or several, in a form that is the same however it was given."""
    if isinstance(secret, (tuple, list)):
        return [_normalize(part) for part in secret]
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else str(secret)
    try:
        parts = parse_list(text)
    except ValueError:  # no list; what is wrong with it is said where the setting is checked
        return text.strip()
    return [str(part) for part in parts]


def _read_secret_file(path: Path, variable: str, *, is_list: bool) -> str:
    shown = f"{variable} {_escape_path(path)}"
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_SECRET_BYTES + 1).decode().strip()
    except OSError as error:
        raise ValueError(f"{shown} cannot be read: {error.strerror}{_explain(error)}") from None
    except ValueError:
        raise ValueError(f"{shown} cannot be read: not a text file") from None
    if not text:
        raise ValueError(f"{shown} is empty; write the secret into it")
    lines = text.splitlines() if is_list else [text]
    if len(text) > _MAX_SECRET_BYTES or not all(line.isprintable() for line in lines):  # a line break is not printable
        content = "addresses only, one a line" if is_list else "the secret as its only line"
        raise ValueError(f"{shown} must contain {content}")
    return "\n".join(lines)


def _explain(error: OSError) -> str:
    """What is behind an error that container engines are known for; empty for others."""
    if error.errno == errno.EISDIR:
        return "; Docker makes a folder where the file to mount does not exist"
    if error.errno == errno.EACCES:
        return f" for user {os.geteuid()}, who runs this; let that user read it"
    return ""


def _escape_path(path: Path) -> str:
    """A path as text; bytes that are not UTF-8 as escapes, since pydantic accepts no message that contains them."""
    return str(path).encode("utf-8", "backslashreplace").decode()
