"""The base class of models that a person fills in: the Prefect UI shows them as forms, the command line as options."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict


def _number_fields(schema: JsonDict) -> None:
    """Add the key by which the Prefect UI sorts the fields of a form: their order in the class."""
    properties = schema.get("properties", {})
    assert isinstance(properties, dict)  # noqa: S101  by the JSON schema's definition
    for position, field in enumerate(properties.values()):
        if isinstance(field, dict):
            field["position"] = position


class FormModel(BaseModel):
    """Values that a person enters: frozen, no unknown fields, shown in a form in the order of the class."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_number_fields)
