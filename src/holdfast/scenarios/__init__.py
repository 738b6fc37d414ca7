"""scenarios: builds Cases from worlds and conditions, and executes them as Episodes.

A world is a folder of Markdown and TOML, under `worlds/` or anywhere; a condition sets each of its factors to a
level; a twin is a named condition.  Imports core, models and detectors only.

    from holdfast.scenarios.catalogue import cases
    [case] = cases(["pocket-blackmail"], ["pressured"], [0])
"""
