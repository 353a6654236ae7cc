"""Asks the vendor's other feed about doubtful bars and absent slots, within a budget of its own.

``questions`` finds what to ask, ``request`` what a request covers, ``verdicts`` judges an answer, ``halts`` finds halts
in it, ``answer_writer`` stores what comes of it, and ``run`` puts them together.
"""
