"""How a run is carried out: batches here or on a cluster, shards, progress, artifacts, events."""
