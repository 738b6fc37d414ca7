"""core: the nouns that cross rooms and the plumbing under them.

Records (`Case`, `Transcript`, `Verdict`, `Example`, `RunCard`), the error tree, strict TOML and Markdown loading,
content hashes, and the append-only run store.  Imports nothing of ours; every other room may import it.

    from holdfast.core.records import Case
    from holdfast.core.config import load_toml
"""
