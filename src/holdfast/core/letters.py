"""One view of everything that people wrote to somebody in the state of a Case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def letters(state: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Everything in a state that people wrote to somebody, as mails: the mails, the channels and the tickets.

    A channel and a ticket count as one mail to all who can read it.
    """
    found: list[Mapping[str, str]] = list(state.get("mail", ()))
    for name, entry in state.get("channels", {}).items():
        found.append({"to": ", ".join(entry["members"]), "subject": f"#{name}", "text": entry["text"]})
    for name, entry in state.get("tickets", {}).items():
        subject = f"{name} {entry['title']}"
        found.append({"to": ", ".join(entry["watchers"]), "subject": subject, "text": entry["text"]})
    return found
