"""The fields of the settings, one module a subject: each field with its variable, default, range and unit.

A new setting belongs to the subject it configures; a new subject is a new module here, and a base of
``config.settings.Settings``. How values are validated is in ``config.validators``.
"""
