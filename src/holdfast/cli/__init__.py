"""cli: the `holdfast` command, with one module per verb and no logic.

`main` has the table of verbs.  It imports a verb's module only when the verb is called, so `holdfast --help` is fast.
"""
