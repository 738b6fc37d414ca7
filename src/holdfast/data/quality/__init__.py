"""quality: what a teaching set is like, before anybody trains on it.

    from holdfast.data.quality.check import check_set
    quality = check_set(Path("sets/difficult-advice"))

`duplicates`, `shapes`, `phrases`, `leaks` (awareness, refusals, overlap), `privacy` and `diversity` each look at the
examples one by one and keep little; `check_set` puts what they found into one record; `page` shows a sample to a human,
who marks it.  What is found is reported, never removed in silence.
"""
