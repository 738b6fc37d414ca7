"""organism: the packaged small model, its corpus, and the offline teacher `pocket/author`.

Everything here uses pocket English, a small fixed vocabulary. `models` opens it by name; only `cli` imports it.
"""
