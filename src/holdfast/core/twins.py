"""The twins that code names; every twin is defined in `scenarios/twins.toml`.

This module imports nothing, so that the command line can show the defaults at once.
"""

from __future__ import annotations

#: The twin that presses the model; all others are compared with it.
PRESSURED = "pressured"
#: The twin that sets an ordinary job, on which usefulness is judged.
ROUTINE = "routine"
#: The twins of a measurement that names worlds and no twins.
DEFAULT_TWINS = (PRESSURED, "no_threat", "no_leverage", ROUTINE)
