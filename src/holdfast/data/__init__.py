"""data: teaching recipes that turn principles into Examples.

    from holdfast.data.sets import build_set
    examples = build_set("difficult-advice", tokens=50_000, seed=0, tokenizer_path=checkpoint)

A recipe is a folder of `prompts/`: named stages, each a Markdown prompt, put to a teacher (`models.Model`) in turn.
The offline teacher is `pocket/author`; any other model answers the same prompts.  The charter is a folder of Markdown;
any other folder of that shape works in its place.

`engine` sends items through the stages, many at a time; `asking` treats endpoints as they bear; `ledger` keeps every
answer; `purse` and `plan` know what it costs; `cluster` asks from the nodes of a Ray cluster; `forms` makes examples.

Imports core and models, and never `scenarios` or `evals`: what models are measured on must not reach what they are
taught from.
"""
