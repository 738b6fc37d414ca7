"""The Python API: what a notebook needs, as `import holdfast as hf`.

`functions.py` has one function per task, `results.py` what they return.  It may import every room but the command line;
`holdfast/__init__.py` loads its names when they are first used.
"""
