"""Every setting with its value and where the value comes from; secrets are masked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import SecretStr

from roost.tasks.locations import hide_secrets
from roost.tasks.settings import ENV_FILE, PREFIX, Settings, names_in_environment

#: Stands for the value of a secret.
MASK = "********"


@dataclass(frozen=True)
class SettingValue:
    """A setting.

    name: Name of its environment variable.
    value: As text; `MASK` for a secret that is set.
    origin: Where the value comes from; `.env` is the file in the working directory.
    """

    name: str
    value: str
    origin: Literal["default", "environment", ".env"]

    def as_dict(self) -> dict[str, Any]:
        """Give the setting as a JSON object."""
        return asdict(self)


def list_setting_values(settings: Settings) -> list[SettingValue]:
    """List all settings, group by group, as `Settings` declares them."""
    in_environment = names_in_environment()
    in_file = {name.upper() for name in dotenv_values(ENV_FILE)}
    found = []
    for group in Settings.model_fields:
        values = getattr(settings, group)
        for field in type(values).model_fields:
            name = f"{PREFIX}{group}__{field}".upper()
            spellings = {name, f"{PREFIX}{group}".upper()}  # the second is a group as one JSON object
            origin: Literal["default", "environment", ".env"] = "default"
            if spellings & in_environment:
                origin = "environment"
            elif spellings & in_file:
                origin = ".env"
            found.append(SettingValue(name, _as_text(getattr(values, field)), origin))
    return found


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return "" if value is None else hide_secrets(str(value))
