"""Deterministic random numbers: each depends only on its parts, such as seed, purpose, ticker and session.

The parts and their order are seed material: a changed word in them changes every bar of the sandbox.
"""

from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from backfill_assets.market.arrays import Floats, Int64

UInt64: TypeAlias = NDArray[np.uint64]

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash_parts(*parts: str | int) -> int:
    """Hash ``parts`` to 64 bits."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def draw_unit(*parts: str | int) -> float:
    """Draw a number in [0, 1) for ``parts``."""
    return hash_parts(*parts) / 2.0**64


def draw_between(bounds: tuple[float, float], *parts: str | int) -> float:
    """Draw a number within ``bounds`` for ``parts``."""
    low, high = bounds
    return low + (high - low) * draw_unit(*parts)


def draw_units(keys: UInt64, ordinals: Int64, channels: int) -> Floats:
    """Draw numbers in [0, 1), shape (channels, pairs), for pairs of ``keys`` and ``ordinals`` (broadcast)."""
    seeds = keys ^ (ordinals.astype(np.uint64) * _GOLDEN_RATIO)
    steps = np.arange(1, channels + 1, dtype=np.uint64)[:, None] * _GOLDEN_RATIO
    z = seeds[None, :] + steps
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = (z ^ (z >> np.uint64(31))) * _MIX_1
    drawn: Floats = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


class _RawSeedSequence(ISeedSequence):
    """Passes key material on unchanged: numpy's own seeding mixes it again, which costs more than the draws."""

    def __init__(self, material: bytes) -> None:
        self._material = material

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Return words of key material; SFC64 needs three of 64 bits."""
        return np.frombuffer(self._material, dtype)[:n_words]


def make_generator(*parts: str | int) -> np.random.Generator:
    """Make a generator that depends on ``parts`` only."""
    text = "\x1f".join(map(str, parts)).encode()
    return np.random.Generator(np.random.SFC64(_RawSeedSequence(blake2b(text, digest_size=24).digest())))  # type: ignore[arg-type]
