"""data: teaching recipes that turn principles into Examples.

    from holdfast.data.sets import build_set
    examples = build_set("difficult-advice", tokens=50_000, seed=0, tokenizer_path=checkpoint)

A recipe is a folder in `prompts/` with named stages. Each stage is a Markdown prompt that is sent to a teacher
(`models.Model`). The offline teacher is `pocket/author`; any other model can answer the same prompts. The charter is a
folder of Markdown files and can be replaced by another folder of the same format.

`engine` runs many items through the stages concurrently, `response_cache` stores every answer, `plan` estimates the
cost, `cluster` sends requests from the nodes of a Ray cluster, and `assemble` builds examples from the answers.

Imports core, models, detectors and stats, and never `scenarios` or `evals`, so that test material cannot reach the
training data.
"""
