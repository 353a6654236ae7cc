"""Numbers that depend on nothing but what they are drawn for: seed, ticker, session, purpose."""

from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64

Float64: TypeAlias = Floats
Int64: TypeAlias = Int64
UInt64: TypeAlias = NDArray[np.uint64]
Bools: TypeAlias = Bools

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash_parts(*parts: str | int) -> int:
    """64 bits that stand for ``parts``."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def draw_unit(*parts: str | int) -> float:
    """A number in [0, 1) drawn for ``parts``."""
    return hash_parts(*parts) / 2.0**64


def draw_between(bounds: tuple[float, float], *parts: str | int) -> float:
    """A number within ``bounds`` drawn for ``parts``."""
    low, high = bounds
    return low + (high - low) * draw_unit(*parts)


def draw_units(keys: UInt64, ordinals: Int64, channels: int) -> Float64:
    """Numbers in [0, 1), shape (channels, n), for pairs of ``keys`` and ``ordinals`` (broadcast)."""
    seeds = keys ^ (ordinals.astype(np.uint64) * _GOLDEN_RATIO)
    steps = np.arange(1, channels + 1, dtype=np.uint64)[:, None] * _GOLDEN_RATIO
    z = seeds[None, :] + steps
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = (z ^ (z >> np.uint64(31))) * _MIX_1
    drawn: Float64 = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


class _RawSeedSequence(ISeedSequence):
    """Key material as it is: numpy's own seeding would mix it again, for more than the drawing costs."""

    def __init__(self, material: bytes) -> None:
        self._material = material

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Words of key material; SFC64 asks for three of 64 bits."""
        return np.frombuffer(self._material, dtype)[:n_words]


def make_generator(*parts: str | int) -> np.random.Generator:
    """A generator of its own for ``parts``."""
    text = "\x1f".join(map(str, parts)).encode()
    return np.random.Generator(np.random.SFC64(_RawSeedSequence(blake2b(text, digest_size=24).digest())))  # type: ignore[arg-type]
