"""study: arms × training seeds × cases, with statistics, claims, and the search for leaks.

A study file (`spec.py`) is laid out as a grid of keyed cells (`plan.py`), run in worker processes that resume
(`run.py`), and summed up from the stored verdicts alone (`summary.py`).  `stats.py` knows nothing of models;
`leakage.py` is the only place that sees training data and test cases side by side.  Imports core, models, scenarios,
evals, data and train; the other rooms are wired in one file (`wiring.py`).

    from holdfast.study.wiring import ROOMS
    study = load_study(Path("studies/teach-why.toml"), ROOMS.known(), ROOMS.config)
    run(study, Path("results") / study.name, ROOMS)
"""
