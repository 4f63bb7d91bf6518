"""What an index of a million chunks costs: `make bench-scale`."""
