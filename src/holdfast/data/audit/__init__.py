"""audit: estimates how many passages in a corpus depict rogue AIs and how many depict faithful ones.

    from holdfast.data.audit.scan import scan
    audit = scan(Path("corpus"))

The passages in `passages-*.toml` are labelled by hand. The classifier is fitted to `dev` at its first use, in about a
second. Its precision and recall on the held-out parts `test` and `fresh` are in every report.
"""
