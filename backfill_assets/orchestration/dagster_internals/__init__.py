"""The only modules that rely on ``dagster._*``: internals that may change with any release of Dagster.

This is why pyproject.toml pins one version of Dagster. Each module documents what it relies on, since when Dagster has
it, and which upstream issue would make it unnecessary. Before raising the pin, read the docstrings and run the
tests in orchestration/.
"""
