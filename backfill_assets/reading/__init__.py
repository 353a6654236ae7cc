"""Safe reads of the store, for other people's code: the public interface of this project.

What is imported from here keeps its name and meaning (docs/reading.md). The rest of the project may change.
"""
