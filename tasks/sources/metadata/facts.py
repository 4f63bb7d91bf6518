"""The record `FieldFacts`: what an index knows of the fields that rules gave to its documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.tasks.sources.metadata.choices import Metadata
from roost.tasks.sources.metadata.kinds import Kind


@dataclass(frozen=True)
class FieldFacts:
    """Kinds of fields, and the rules that are in force.

    kinds: Name of a field -> its kind.
    rules: Key of a source -> the choices with which its documents last got fields, as JSON.
    are_fixed: Whether a kind that is written beside a name must be the index's; not so in a rebuild.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    are_fixed: bool = True

    def __bool__(self) -> bool:
        return bool(self.kinds or self.rules)

    def encode(self) -> str:
        """Write the facts as a property of a collection; empty without any."""
        if not self:
            return ""
        return json.dumps({"kinds": dict(self.kinds), "rules": dict(self.rules)}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> FieldFacts:
        """Read what `encode` wrote."""
        return cls(**json.loads(text)) if text else cls()

    def choices_for(self, source: str, asked: Metadata) -> Metadata:
        """Give the choices that apply to a source: those asked for, else those that are in force."""
        return Metadata.model_validate(self.rules.get(source, {})) if asked.is_empty else asked
