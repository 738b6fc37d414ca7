"""report: draws result files as one self-contained HTML page and a Markdown page with the same content.

It reads only the result files and computes nothing, so every number on a page is in the files.  Imports only `core`.

    from holdfast.report.page import write_report
    write_report(Path("results/demo"))   # → results/demo/report.html, results/demo/report.md

`summary` reads and checks the file · `words` formats numbers and makes hostile text safe · `view` lays out the tables ·
`figures` draws · `page` writes both pages · `curves` draws a trained folder from `metrics.jsonl` and `safety.jsonl`.
"""
