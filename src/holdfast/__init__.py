"""Holdfast: measure whether an agent keeps to its principles under pressure, teach it why, prove it, hold the line.

Importing this package loads neither torch nor Inspect; each room is imported by name when it is used:
`holdfast.core`, `holdfast.models`, `holdfast.scenarios`, `holdfast.guard`, `holdfast.data`, `holdfast.train`,
`holdfast.organism`, `holdfast.evals`, `holdfast.study`, `holdfast.report`, `holdfast.cli`.
"""

__version__ = "0.1.0"
