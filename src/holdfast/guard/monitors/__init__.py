"""Monitors that look at each act before the gate: detectors with a memory, known figures, a model."""
