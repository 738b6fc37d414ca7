"""study: arms × training seeds × cases, with statistics, claims, and the search for leaks.

A study file (`study_file.py`) becomes a grid of keyed cells (`plan.py`).  One runner (`run.py`) makes what is not
finished, in worker processes, and sums up the stored verdicts (`summary.py`); `measure.py` runs it on one model as it
comes, `wiring.py` with real training.  `leakage.py` is the only place that sees training data and test cases side by
side.  Imports core, stats, models, scenarios, evals, data and train.

    from holdfast.study.wiring import open_study, run_study
    study = open_study(Path("studies/teach-why.toml"))
    run_study(study, Path("results") / study.name)
"""
