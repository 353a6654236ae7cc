"""A fuzz: thousands of seeded odd inputs through the real command line, on a real PostgreSQL and over real HTTP.

Whatever an input does, a command ends with a documented exit code and says in plain words what is wrong; exit code 1,
a traceback, a hang or a secret in the output is a fault of this program. ``make fuzz`` runs it, ``make test`` runs a
few inputs of every family (``acceptance/test_fuzz.py``).
"""
