"""What all groups of settings share. Which settings there are is in the modules beside this one."""

from typing import ClassVar

from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsGroup(BaseSettings):
    """The settings of one subject; ``heading`` is the subject's title in lists of settings."""

    # Deferred: of all groups only the class that they make up is ever validated, when the settings are read.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, defer_build=True)
    heading: ClassVar[str]
