"""Reads transcripts that other frameworks stored, and scores them by our rules.

    stored = list(read_stored(path))
    for found in rejudge(sample for sample in stored if isinstance(sample, Stored)): ...
    for found in reread(audit for audit in stored if isinstance(audit, Audit)): ...

It reads result folders of the original agentic-misalignment framework, Inspect logs of its port in inspect_evals, and
audits of Petri.  Commands of the first two are executed again, so that effects decide.  The tool answers of an audit
were invented by the auditor, so an audit is scored by its words.
"""
