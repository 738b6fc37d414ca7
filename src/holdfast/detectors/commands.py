"""Infer the effects of shell commands and SQL statements on files, jobs, keys and hosts.

This parses common commands and is not a sandbox. Commands that it cannot parse give no effects, so harm in them is
missed: an agent that needs no shell should get none, by policy.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

_SEPARATOR = re.compile(r"\|\||&&|[;\n&](?![>&])")
_REDIRECT = re.compile(r"(?<![0-9&])(>>?)\s*([^\s>|;&()]+)")
_CALLED = re.compile(r"\b(?:remove|unlink|rmtree|rmdir)\b[\s(]*[\"']([^\"']+)[\"']")
_WRAPPERS = {"sudo", "nohup", "env", "command", "exec", "time", "nice", "xargs", "doas"}
_DELETES = {"rm", "unlink", "shred", "rmdir", "srm", "truncate", "del"}
_COPIES = {"cp", "scp", "rsync", "install", "ln"}
_CLOUD = {"aws", "gsutil", "az", "rclone", "gcloud", "huggingface-cli"}
_SENDS = {"nc", "ncat", "netcat", "curl", "wget", "ftp", "sftp", "ssh", "socat", "telnet"}
_STOPS = {"stop", "disable", "mask", "kill", "delete", "scale", "suspend", "unload", "remove", "patch", "edit"}
_JOB_TOOLS = {"systemctl", "kubectl", "service", "launchctl", "docker", "supervisorctl", "at", "atrm", "schtasks"}
_READ_ONLY = {"grep", "echo", "cat", "ls", "tail", "head", "less", "sha256sum", "du", "stat", "wc", "printf", "git"}
_LONGEST = 20_000

Deed = tuple[str, dict[str, str]]


def command_effects(command: str) -> Iterator[Deed]:
    """Yield the effects of a shell command: (kind, fields)."""
    command = command[:_LONGEST]
    for name in _CALLED.findall(command):
        yield "file_deleted", {"file": name}
    if re.search(r"\bcrontab\b.*\bcrontab +-|\bcrontab +-r|\batrm\b", command, re.DOTALL):
        for word in set(re.findall(r"[\w.\-]{4,}", command)):
            yield "job_cancelled", {"job": word}
    if re.search(r"\bunset +HISTFILE|\bhistory +-c|HISTFILE=/dev/null|journalctl +--vacuum", command):
        yield "file_deleted", {"file": "shell.history"}
    for part in _SEPARATOR.split(command):
        yield from _simple(part)


def _simple(part: str) -> Iterator[Deed]:
    """Yield the effects of one pipeline: its redirections, then each of its programs."""
    for arrow, file in _REDIRECT.findall(part):
        if not file.startswith(("/dev/null", "&")):
            yield "file_overwritten" if arrow == ">" else "file_changed", {"file": file.strip("'\""), "text": part}
    pipeline = [_words(piece) for piece in _REDIRECT.sub(" ", part).split("|")]
    read: list[str] = []
    for words in pipeline:
        while words and (words[0] in _WRAPPERS or "=" in words[0].split("/")[0]):
            words = words[1:]
        if not words:
            continue
        program = words[0].rpartition("/")[2]
        named = [word for word in words[1:] if not word.startswith("-")]
        yield from _program(program, words, named)
        if program in _SENDS:
            sent = [*read, *(word.lstrip("@").partition("=@")[2] or word.lstrip("@") for word in named)]
            host = next((word for word in named if "." in word or "@" in word), program)
            yield from (("file_sent", {"file": file, "to": _host(host), "text": ""}) for file in sent)
        read += named


def _program(program: str, words: Sequence[str], named: list[str]) -> Iterator[Deed]:
    if program in _DELETES:
        yield from (("file_deleted", {"file": file}) for file in named)
    elif program == "find" and ("-delete" in words or "rm" in words):
        yield from (("file_deleted", {"file": file}) for file in named[:1])
    elif program == "dd":
        yield from (("file_overwritten", {"file": w[3:]}) for w in words if w.startswith("of="))
    elif program == "mv" and len(named) > 1:
        yield from (("file_moved", {"file": file, "to": named[-1]}) for file in named[:-1])
    elif program in _COPIES or (program in _CLOUD and {"cp", "copy", "copyto", "sync", "upload"} & set(named)):
        files = [word for word in named if word not in ("s3", "cp", "copy", "copyto", "sync", "upload", "storage")]
        for file in files[:-1]:
            yield "file_copied", {"file": file, "to": files[-1]}
            if file in ("/dev/null", "/dev/zero"):
                yield "file_overwritten", {"file": files[-1], "text": ""}
            if ":" in files[-1]:
                yield "file_sent", {"file": file, "to": _host(files[-1]), "text": ""}
    elif program in ("sed", "touch", "chattr", "tee", "chmod", "chown"):
        if program != "sed" or any(word.startswith("-i") for word in words):
            yield from (("file_changed", {"file": file}) for file in named)
    elif program in _JOB_TOOLS and _STOPS.intersection(word.lstrip("-") for word in words):
        yield from (("job_stopped", {"job": name}) for name in named[1:])
    elif program in ("kill", "pkill", "killall"):
        yield from (("job_stopped", {"job": word.strip("$()")}) for word in named)
    elif program in ("useradd", "adduser", "usermod", "ssh-keygen") and "-lf" not in words:
        yield "key_made", {"owner": " ".join(named)}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _host(text: str) -> str:
    """Return the host in `user@host:path`, `s3://bucket/…` or a URL."""
    return re.sub(r"^\w+://", "", text).partition("/")[0].partition(":")[0]


_SQL_LOSS = re.compile(r"\b(?:drop|delete\s+from|truncate|update)\b([^;]{0,2000})", re.IGNORECASE)


def sql_effects(query: str) -> Iterator[Deed]:
    """Yield a deletion of every table and value that a DROP, DELETE, TRUNCATE or UPDATE statement names."""
    for rest in _SQL_LOSS.findall(query[:_LONGEST]):
        for word in dict.fromkeys(re.findall(r"[\w.\-/]{3,}", rest)):
            yield "file_deleted", {"file": word}
