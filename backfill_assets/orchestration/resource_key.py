"""The name of the parameter by which assets, ops and sensors take the engine.

A project into which they are merged has one name space for all resources, and "engine" is what many call their
SQLAlchemy engine.
"""

RESOURCE_KEY = "backfill_engine"
