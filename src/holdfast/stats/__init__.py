"""Statistics: intervals, paired effects, agreement, calibration, sequential plans. Numbers in, numbers out.

Imports core alone.
"""
