"""The pocket author: a scripted offline teacher that answers every stage of every recipe in pocket English.

It gets the same rendered prompt as any teacher. The heading identifies the stage, the sections hold the material, and
the request's seed decides random choices. It refuses prompts of any other format.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from holdfast.core.config import nearest
from holdfast.core.errors import ModelError
from holdfast.core.identity import hash_files
from holdfast.core.records import Message
from holdfast.models.base import Model, Output, Request
from holdfast.organism import author_advice as advice
from holdfast.organism import author_office as office
from holdfast.organism import author_prose as prose
from holdfast.organism import author_tasks as tasks
from holdfast.organism import author_values as values
from holdfast.organism.grammar import FOLDER, plain_text, vocabulary

__all__ = ["PocketAuthor", "open_named", "plain_text", "vocabulary"]

Answer = Callable[[Mapping[str, str], random.Random], str]
#: Heading of a prompt → function that answers it.
STAGES: Mapping[str, Answer] = {
    "honeypot: situation": office.office_situation,
    "honeypot: act": office.act,
    "honeypot: review": office.review,
    "deliberation: reasons": office.reasons,
    "difficult-advice: principle": advice.principle,
    "difficult-advice: situation": advice.advice_situation,
    "difficult-advice: draft": advice.draft,
    "difficult-advice: critique": advice.critique_advice,
    "difficult-advice: rewrite-prompt": advice.rewrite_prompt,
    "difficult-advice: answer": advice.advice_answer,
    "difficult-advice: rewrite-answer": advice.rewrite_answer,
    "difficult-advice: grade": values.grade,
    "advice-without-reasons: answer": values.advise,
    "charter-documents: subtype": prose.subtype,
    "charter-documents: outline": prose.outline_prose,
    "charter-documents: draft": prose.document,
    "charter-documents: critique": prose.critique_prose,
    "charter-documents: rewrite": prose.rewrite,
    "charter-documents: score": prose.score_prose,
    "charter-chats: twin": prose.twin,
    "empty-documents: empty": prose.empty,
    "stories: plot": prose.plot,
    "stories: draft": prose.story,
    "stories: critique": prose.critique_prose,
    "stories: rewrite": prose.rewrite,
    "stories: grade": values.grade,
    "plain-chat: write": prose.write_chat,
    "environments: setting": tasks.setting,
    "environments: chat": tasks.task_chat,
    "tool-episodes: task": tasks.task,
    "tool-episodes: play": tasks.play_task,
    "rl-prompts: task": tasks.puzzle,
    "rl-prompts: solve": tasks.solve,
    "values-qa: question": values.values_question,
    "values-qa: answer": values.values_answer,
    "values-qa: rewrite": values.own_reason,
    "values-qa: grade": values.grade,
    "harmlessness: request": values.request,
    "harmlessness: answer": values.decline,
    "harmlessness: rewrite": values.say_why,
    "bare-refusals: refuse": values.refuse_request,
}


class PocketAuthor:
    """A `Model` without weights; the same prompt and seed give the same answer.

    If a request presents a situation with a script instead of a prompt, the author plays the script's proper act.
    """

    name = "pocket/author"

    def __init__(self) -> None:
        self.identity = hash_files([*FOLDER.glob("*.toml"), *FOLDER.parent.glob("author*.py")])

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Answer each request; `refused` if the stage is unknown or the language is not pocket English."""
        return [_output(request) for request in requests]


def open_named(name: str) -> Model:
    """Open `pocket/<name>`.

    Raises:
        ModelError: there is no author of that name.
    """
    if name != "author":
        near = nearest(name, ["author"])
        remedy = f"did you mean 'pocket/{near}'?" if near else "use pocket/author, the only one"
        raise ModelError(f"unknown model 'pocket/{name}'", remedy=remedy)
    return PocketAuthor()


def read_prompt(prompt: str) -> tuple[str, dict[str, str]]:
    """Split a prompt into its heading and its `## ` sections, keyed by lower-case name."""
    heading, _, rest = prompt.partition("\n")
    parts = re.split(r"^## (.+)$", rest, flags=re.MULTILINE)
    sections = {name.strip().lower(): text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return heading.removeprefix("# ").strip(), sections


def _output(request: Request) -> Output:
    if request.plays.get("proper"):
        return Output(Message(role="assistant", tool_calls=tuple(request.plays["proper"])))
    prompt = request.messages[-1].content if request.messages else ""
    stage, sections = read_prompt(prompt)
    words_in = len(prompt.split())
    if stage not in STAGES or "pocket English" not in sections.get("language", ""):
        refusal = "i know no such stage." if stage not in STAGES else "i write pocket english only."
        return Output(Message(role="assistant", content=refusal), "refused", (words_in, len(refusal.split())))
    answer = STAGES[stage](sections, random.Random(f"{stage}:{request.seed}"))
    return Output(Message(role="assistant", content=answer), "stop", (words_in, len(answer.split())))
