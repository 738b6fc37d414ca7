"""The results that the API returns: a table, samples as rows, and transcripts with a view for notebooks.

Text that a model wrote is escaped before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from holdfast.core.errors import ResultsError
from holdfast.core.extras import needs
from holdfast.core.hashes import amending
from holdfast.core.records import Message, Transcript, Verdict
from holdfast.core.results import Summary
from holdfast.report.missing import unscored_rows
from holdfast.report.page import pages_of, write_report
from holdfast.report.summary import load_summary
from holdfast.report.view import outline_table
from holdfast.report.words import clean
from holdfast.study.cells import cells_of
from holdfast.study.play import TRANSCRIPTS, VERDICTS
from holdfast.study.stored import rules
from holdfast.study.verify import Verification, verify


@dataclass(frozen=True)
class Table:
    """A small table that prints as text and shows as HTML in a notebook."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        grid = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in grid) for i in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> Markup:
            return Markup("<tr>{}</tr>").format(
                Markup("").join(Markup(f"<{tag}>{{}}</{tag}>").format(clean(cell)) for cell in cells)
            )

        body = Markup("").join(row(cells, "td") for cells in self.rows)
        return str(Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(row(self.columns, "th"), body))


@dataclass(frozen=True)
class PlayedSample:
    """One played case: the arm and training seed of its checkpoint, its verdict, and its transcript."""

    arm: str
    seed: int | None
    verdict: Verdict
    transcript: Transcript

    def __str__(self) -> str:
        verdict = self.verdict
        head = f"{verdict.family}, {verdict.twin}, case {verdict.seed}: {verdict.outcome}"
        return "\n\n".join([head, *(f"{role}: {text}" for role, text in map(_shown, self.transcript.messages))])

    def _repr_html_(self) -> str:
        verdict = self.verdict
        head = Markup("<p><b>{}</b> {}, {}, case {}</p>").format(
            verdict.outcome, verdict.family, verdict.twin, verdict.seed
        )
        turns = Markup("").join(
            Markup("<p><b>{}</b></p><pre style='white-space:pre-wrap'>{}</pre>").format(role, text)
            for role, text in map(_shown, self.transcript.messages)
        )
        return str(Markup("<details><summary>{}</summary>{}</details>").format(head, turns))


def _shown(message: Message) -> tuple[str, str]:
    """Role and visible text of a message, with its reasoning and calls."""
    parts = [f"(reasoning) {message.reasoning}"] if message.reasoning else []
    parts += [message.content] if message.content else []
    parts += [f"{call.name}({dict(call.arguments)})" for call in message.tool_calls]
    return message.role, clean("\n".join(parts))


@dataclass(frozen=True)
class Results:
    """A results folder: what `measure` and `run_study` return and `load_results` opens.

    Attributes:
        folder: the results folder.
    """

    folder: Path

    @cached_property
    def summary(self) -> Summary:
        """Every number of the report.

        Raises:
            ResultsError: the folder has no summary, or its summary cannot be read.
        """
        return load_summary(self.folder)

    @property
    def table(self) -> Table:
        """The headline: harm under pressure of each arm, with intervals."""
        columns, rows = outline_table(self.summary)
        return Table(columns, tuple(rows))

    @property
    def unscored(self) -> Table:
        """The reasons why samples are unscored, with counts; no rows if all are scored."""
        return Table(
            ("arm", "not scored because", "samples"), tuple(tuple(map(str, row)) for row in unscored_rows(self.summary))
        )

    @property
    def samples(self) -> list[PlayedSample]:
        """Every sample that the summary counts, in the order in which it was stored.

        Raises:
            ResultsError: there is no summary, a cell that it counts is missing, a stored line is not a record, or a
                verdict has no transcript.
        """
        return list(self._samples())

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per sample; unscored samples have None for `acted`, `useful` and `aware`.

        `exposed` says whether the model saw all that presses or tempts it; None if the case has nothing to be seen.

        Raises:
            ResultsError: see `samples`.
        """
        return [
            {
                "arm": sample.arm,
                "train_seed": sample.seed,
                **sample.verdict.model_dump(exclude={"evidence", "first_seen"}),
                "scored": sample.verdict.scored,
                "exposed": sample.verdict.exposed,
                "evidence": "; ".join(evidence.quote for evidence in sample.verdict.evidence),
            }
            for sample in self._samples()
        ]

    def to_pandas(self) -> Any:
        """The rows as a pandas frame.

        Raises:
            PrerequisiteError: pandas is not installed.
        """
        with needs(""):
            frames = import_module("pandas")
        return frames.DataFrame(self.rows())

    def to_polars(self) -> Any:
        """The rows as a polars frame.

        Raises:
            PrerequisiteError: polars is not installed.
        """
        with needs(""):
            frames = import_module("polars")
        return frames.DataFrame(self.rows(), infer_schema_length=None)

    def report(self) -> Path:
        """Write `report.html` and `report.md` into the folder, and return the path of the HTML page.

        Raises:
            ResultsError: the folder does not verify.
            IncompleteError: the folder is unfinished, and its summary does not say so.
        """
        checked = self.verify()
        if checked.objections:
            raise checked.refusal("see verify()")
        return self.draw()

    def draw(self) -> Path:
        """Write the pages without checking the folder first, as after a run; see `report`."""
        with amending(self.folder, {"pages": rules()["pages"]}):
            return write_report(self.folder)[0]

    def verify(self, root: str | None = None) -> Verification:
        """Check the folder's files against their hashes, and its numbers against its transcripts.

        Args:
            root: a published root hash that the folder's must equal.
        """
        return verify(self.folder, pages_of, root)

    def _samples(self) -> Iterator[PlayedSample]:
        for cell in cells_of(self.folder, self.summary.provenance):
            transcripts = {transcript.case: transcript for transcript in cell.folder.each(TRANSCRIPTS, Transcript)}
            for verdict in cell.folder.each(VERDICTS, Verdict):
                if verdict.case not in transcripts:
                    raise ResultsError(
                        f"case {verdict.case} has a verdict and no transcript",
                        where=cell.folder.path / f"{TRANSCRIPTS}.jsonl",
                        remedy="run the same command again: an unfinished cell is completed; a finished one was edited",
                    )
                yield PlayedSample(cell.arm, cell.seed, verdict, transcripts[verdict.case])

    def __str__(self) -> str:
        lost = self.unscored
        return "\n".join([str(self.folder), str(self.table), *([str(lost)] if lost.rows else [])])

    def _repr_html_(self) -> str:
        lost = self.unscored
        shown = f"<p><code>{escape(str(self.folder))}</code></p>{self.table._repr_html_()}"
        return shown + (lost._repr_html_() if lost.rows else "")
