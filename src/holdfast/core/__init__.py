"""core: the records that rooms exchange, and the shared plumbing.

Records (`Case`, `Transcript`, `Verdict`, `Example`, `RunCard`), the records of `summary.json` (`Summary`), the error
tree, strict TOML and Markdown loading, content hashes, and the append-only run store.  Imports no other room; every
other room may import it.

    from holdfast.core.records import Case
    from holdfast.core.config import load_toml
"""
