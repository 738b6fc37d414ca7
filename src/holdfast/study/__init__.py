"""study: runs arms × training seeds × cases, and computes statistics, claims and the search for leaked test text.

A study file (`study_file.py`) becomes a grid of cells with keys (`plan.py`). One runner (`run.py`) makes the cells
that are not finished, in worker processes, and summarises the stored verdicts (`summary.py`). `measure.py` runs one
model without training, `wiring.py` runs studies with real training. `leakage.py` is the only module that sees
training data and test cases together. Imports core, stats, models, scenarios, evals, data, train and guard.

    from holdfast.study.wiring import open_study, run_study
    study = open_study(Path("studies/teach-why.toml"))
    run_study(study, Path("results") / study.name)
"""
