"""``python -m bench``: the figures of the README and of docs/benchmarks.md, measured in one go."""

from bench.main_job import main

main()
