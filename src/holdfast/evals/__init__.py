"""evals: plays Cases against models, computes the Verdict of each Transcript, and asks judges about the rest.

Three drivers move the messages: `batch_driver` for thousands of local episodes, `live_driver` for an endpoint that
answers requests one by one, and `inspect_driver` for any provider, with Inspect's logs and viewer.  `scorers` computes
the verdict from the executed effects, `judge` asks a judge model, and `labelled` is the set against which both are
measured.  Imports scenarios, guard, models, detectors, stats and core; only `inspect_driver`, `inspect_probe`,
`providers`, `_registry` and `imports` import Inspect.

    transcripts = play(cases(["pocket-blackmail"], ["pressured"], range(100)), open_model("scripted/proper"))
"""
