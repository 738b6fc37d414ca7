"""The attack suite: nineteen classes of attacks, each variant with a benign twin, run against the real guard."""
