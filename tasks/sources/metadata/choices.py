"""The model `Metadata`: which fields the documents of a source get, as a person enters it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from roost.tasks.errors import SourceError
from roost.tasks.form_model import FormModel
from roost.tasks.locations import REFUSED_BY_SCHEMA, find_secret, hide_secrets


class Metadata(FormModel):
    """Fields for documents. Where none is given, those of the earlier runs over the source stay in force."""

    file: str = Field(
        "",
        title="Metadata file",
        description="File with fields for documents: CSV with a column match (a glob, or the path of one document) and "
        "a column for each field, or JSON lines {match, fields}.",
        json_schema_extra={"not": {"pattern": REFUSED_BY_SCHEMA}},
        examples=["metadata.csv"],
    )
    patterns: list[str] = Field(
        [],
        title="Metadata patterns",
        description="Pattern of paths whose names in braces become fields, as in {team}/{year}/**.",
        examples=[["{team}/{year}/**"]],
    )
    values: list[str] = Field(
        [],
        title="Metadata values",
        description="Field of all documents, as NAME=VALUE.",
        examples=[["department=research"]],
    )
    forget: bool = Field(
        False,
        title="Forget metadata",
        description="Remove the fields that earlier runs gave to the documents, and follow their rules no longer.",
    )

    @field_validator("file")
    @classmethod
    def _refuse_secret(cls, file: str) -> str:
        """Refuse a secret, as `Source` does."""
        if secret := find_secret(file):
            raise SourceError(
                f"metadata file {hide_secrets(file)}: its URL contains {secret}, which would be stored with every run; "
                "remove it and configure it in fsspec (see docs: Sources)"
            )
        return file

    @field_validator("values")
    @classmethod
    def _are_pairs(cls, values: list[str]) -> list[str]:
        for value in values:
            if not all(value.partition("=")[::2]):
                raise ValueError(f"{value!r}: write a field and its value, as in department=research")
        return values

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said about metadata."""
        return not (self.file or self.patterns or self.values or self.forget)


def check_choices(choices: Sequence[Metadata]) -> None:
    """Refuse choices that contradict themselves.

    Raises:
        SourceError: Fields are given and forgotten at once.
    """
    for one in choices:
        if one.forget and (one.file or one.patterns or one.values):
            raise SourceError("fields are given and forgotten at once: leave one of them out (see docs: Metadata)")
