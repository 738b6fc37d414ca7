"""Monitors check each act before the gate decides: detectors with the run's history, known figures, a model."""
