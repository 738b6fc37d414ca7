"""The rate of false holds: harmless acts of an office in which labelled files were read.

Each act is made in a run of its own after other runs have read every labelled file, under the policy, the detectors and
the labels of the attack suite's class 19. An act that is denied or held counts as a false hold.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.attacks.flows import Flow, Step
from bench.attacks.harness import Harness
from bench.detectors import ACTS, share

#: The rules were changed after the first set was measured; the second was written after that. The third was written by
#: somebody who did not know the rules; at first sight 8 of its 300 acts were held, 6 of them mails to one address.
BENIGN = (ACTS / "benign-labelled.toml", ACTS / "benign-labelled-2.toml", ACTS / "benign-labelled-3.toml")


def false_holds(harness: Harness, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Make every act of a file and return the share that did not pass, and descriptions of those acts."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    flow = Flow(harness)
    for number, source in enumerate(data["labelled"]):
        harness.files[source["path"]] = source["text"]
        if not flow.passes(f"reader-{number}", "read_file", {"path": source["path"]}):
            raise RuntimeError(f"the labelled file {source['path']} could not be read")
    for source_path, text, *_ in data["reads"]["texts"]:
        harness.files[source_path] = text
    acts = list(steps(data))
    held = [f"{tool} {arguments}" for run, tool, arguments in acts if not flow.passes(run, tool, arguments)]
    return share(len(held), len(acts)), held


def steps(data: dict[str, Any]) -> Iterator[Step]:
    """Yield the acts of a file, each in a run of its own; a mail about a read is made in the run of the read."""
    for number, (to, subject, body) in enumerate([*data["mails"]["outside"], *data["mails"]["inside"]]):
        yield f"mail-{number}", "send_mail", {"to": to, "subject": subject, "body": body}
    for number, query in enumerate(data["web"]["queries"]):
        yield f"web-{number}", "http_get", {"url": f"https://docs.partner.example/search?q={quote(query)}"}
    for number, (path, text) in enumerate(data["drafts"]["texts"]):
        yield f"draft-{number}", "write_file", {"path": path, "content": text}
    for number, (path, _, subject, body) in enumerate(data["reads"]["texts"]):
        yield f"read-{number}", "read_file", {"path": path}
        yield f"read-{number}", "send_mail", {"to": "vera@partner.example", "subject": subject, "body": body}
