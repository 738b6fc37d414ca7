"""stats: intervals, paired effects, agreement, calibration and sequential plans, over plain arrays.

Imports only `core`.
"""
