"""Garbage collection at the start and end of a process.

Objects that imports create live until the process ends. Python's collector walks through them again and again while a
command loads its libraries; a quarter of the time of ``report`` and of loading the Dagster definitions goes there.
"""

import gc

_GENERATION_THRESHOLDS = (50_000, 20, 100)  # CPython's own defaults are (700, 10, 10)


def collect_less_often() -> None:
    """Let the collector run rarely; for a process that is about to import large libraries.

    It still runs for every 50,000 objects that were made and not given up, so a process may live long.
    """
    gc.set_threshold(*_GENERATION_THRESHOLDS)


def exclude_loaded_objects() -> None:
    """Take every object that exists now out of later collections, the one at the end of the process included."""
    gc.freeze()
