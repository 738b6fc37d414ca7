"""cli: one command, `holdfast`; one small file per noun, no logic.

`main` holds the table of verbs and loads a verb's file only when it is called, so that `holdfast --help` stays quick.
"""
