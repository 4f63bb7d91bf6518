"""A passage as an answer is made of it: free of how it was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A passage. `place` says where it stands, for people: document and page."""

    id: str
    place: str
    text: str
    score: float
