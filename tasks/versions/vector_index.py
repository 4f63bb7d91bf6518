"""The vector index of a version: its type and parameters, from the settings or as Milvus describes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from roost.tasks.milvus.store import Store
from roost.tasks.settings import Milvus


@dataclass(frozen=True)
class VectorIndex:
    """Type and parameters of a vector index; the parameters are 0 for types that have none."""

    index_type: str
    hnsw_m: int = 0
    hnsw_ef_construction: int = 0

    @classmethod
    def of(cls, settings: Milvus) -> VectorIndex:
        """Take it from the settings."""
        if settings.index_type != "HNSW":
            return cls(settings.index_type)
        return cls("HNSW", settings.hnsw_m, settings.hnsw_ef_construction)

    @property
    def settings(self) -> dict[str, str | int]:
        """The settings that give this index, by name; parameters that the type does not have are left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters as Milvus names them."""
        return {"M": self.hnsw_m, "efConstruction": self.hnsw_ef_construction} if self.index_type == "HNSW" else {}


async def read_vector_index(store: Store, name: str) -> VectorIndex | None:
    """Ask Milvus which vector index a collection has; None when it does not say."""
    described: dict[str, Any] = await store.describe_index(name, "vector")
    facts = {**described, **(described.get("params") or {})}
    if not facts.get("index_type"):
        return None
    return VectorIndex(facts["index_type"], int(facts.get("M") or 0), int(facts.get("efConstruction") or 0))
