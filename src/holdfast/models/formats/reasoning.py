"""The marks of thoughts: what stands between them is reasoning, and nothing in it is done."""

from __future__ import annotations

import re

#: What opens and what closes a thought, as models and prompts write it.
PAIRS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<scratchpad_reasoning>", "</scratchpad_reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<think:opensource>", "</think:opensource>"),
    ("<mm:think>", "</mm:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|think|>", "<|end|>"),
    ("◁think▷", "◁/think▷"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)
_CLOSES = {opens.lower(): closes for opens, closes in PAIRS}
#: Any opening mark.
OPENS = re.compile("|".join(re.escape(opens) for opens, _ in PAIRS[:-1]), re.IGNORECASE)
_ANY_OPEN = re.compile("|".join(re.escape(opens) for opens, _ in PAIRS), re.IGNORECASE)
#: A closing mark that no text but a thought's end has.
LONE = re.compile("|".join(re.escape(closes) for _, closes in PAIRS if closes != "<|end|>"), re.IGNORECASE)


def closing(opens: str) -> re.Pattern[str]:
    """What closes a thought that this mark opens."""
    return re.compile(re.escape(_CLOSES[opens.lower()]), re.IGNORECASE)


def open_mark(prompt: str) -> str | None:
    """The mark of a thought that a prompt opens and does not close: what follows it is reasoning from the start.

    Args:
        prompt: the prompt's end, from after what was said last.
    """
    marks = list(_ANY_OPEN.finditer(prompt))
    return marks[-1][0] if marks and not prompt[marks[-1].end() :].strip() else None


def unclosed(text: str) -> str | None:
    """What stands in a thought that a text opens and never closes; None where it closes all of them."""
    at = 0
    while opened := OPENS.search(text, at):
        closed = closing(opened[0]).search(text, opened.end())
        if closed is None:
            return text[opened.end() :]
        at = closed.end()
    return None
