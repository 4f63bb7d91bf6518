"""Where the server spends the time of a search: its own counters, which it publishes for Prometheus."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

#: Milvus' counter of the milliseconds of searches -> its name in a result.
_PARTS = {
    "milvus_proxy_sq_latency": "total",
    "milvus_querynode_sq_wait_tsafe_latency": "waits_for_clock",
    "milvus_querynode_sq_queue_latency": "queued",
    "milvus_querynode_sq_core_latency": "computes",
}


class ServerTimes:
    """Mean milliseconds of a search in the server since this object was made, and its parts.

    `waits_for_clock`: until the server has seen all writes that the search must see. `queued`: until a core is free for
    it. `computes`: in the index and in the rows without one.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._before = self._read()

    def mean_ms(self) -> dict[str, float]:
        """Give the means; empty when no search was made."""
        now = self._read()
        searches = now["total", "count"] - self._before["total", "count"]
        if not searches:
            return {}
        spent = {part: now[part, "sum"] - self._before[part, "sum"] for part in _PARTS.values()}
        return {part: round(value / searches, 1) for part, value in spent.items()}

    def _read(self) -> dict[tuple[str, str], float]:
        found = {(part, what): 0.0 for part in _PARTS.values() for what in ("sum", "count")}
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        for sample in (sample for family in families for sample in family.samples):
            name, _, what = sample.name.rpartition("_")
            if name in _PARTS and what in ("sum", "count") and sample.labels.get("query_type") == "search":
                found[_PARTS[name], what] += sample.value
        return found
