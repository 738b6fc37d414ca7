"""quality: checks a training set before it is used.

    from holdfast.data.quality.check import check_set
    quality = check_set(Path("sets/difficult-advice"))

`duplicates`, `shapes`, `phrases`, `leaks` (awareness, refusals, overlap), `privacy` and `diversity` read the examples
as a stream, in little memory. `check_set` collects their results in one record. `page` renders a sample for a human to
mark. Findings are reported; no example is removed.
"""
