"""Everything at once, under attack, judged at the end: `make soak`."""
