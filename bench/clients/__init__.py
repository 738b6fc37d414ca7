"""Programs that `bench.guard_clients` runs: clients of other makers, each with one script."""
