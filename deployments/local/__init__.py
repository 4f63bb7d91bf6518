"""Local servers as child processes, kept running by `roost up`."""
