"""How a run is carried out: preparation, batches here or on a cluster, shards, progress, artifacts, events."""
