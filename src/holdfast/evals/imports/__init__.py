"""Transcripts that others stored, read and judged again under our rules.

    stored = list(read_stored(path))
    for found in rejudge(sample for sample in stored if isinstance(sample, Stored)): ...
    for found in reread(audit for audit in stored if isinstance(audit, Audit)): ...

Read are result folders of the original agentic-misalignment framework, Inspect logs of its port in inspect_evals, and
audits of Petri.  The first two are played again, so that effects decide; of an audit only the words can be read again.
"""
