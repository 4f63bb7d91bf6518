"""How a run is carried out: batches, clusters, shards, progress, artifacts, events, and the run from the command line."""
