"""The table of clients and servers: its rows are true, and the documentation has one for each pair."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.guard_clients import CLIENTS, SERVERS, Programs, row, table

DOCS = Path("docs/guard-clients.md")
PYTHON = {client.name: client for client in CLIENTS}
DEMO = SERVERS[0]


@pytest.mark.parametrize("name", ["mcp (Python), handshake", "mcp (Python), automatic"])
def test_the_official_client_works_through_the_guard(name: str) -> None:
    found = row(PYTHON[name], DEMO, Programs(None))
    assert found["state"] == "passed", found
    assert found["version"] == ("2025-11-25" if "handshake" in name else "2026-07-28")


def test_a_program_that_is_not_installed_has_a_row_that_says_so() -> None:
    found = row(PYTHON["FastMCP"], DEMO, Programs(None))
    assert found["state"] == "not installed" and "--install" in found["why"]
    assert "| not installed |" in table([found])


@pytest.mark.parametrize(
    ("guarded", "failure"),
    [
        ({"tools": ["read_note", "send_mail", "raise_concern"]}, "lists"),
        ({"answers": ["", "There is no tool 'send_mail' for you."]}, "allowed"),
        ({"answers": ["Move the archive on Friday.", "Sent to eve@evil.example."]}, "denied"),
    ],
)
def test_a_guard_that_does_not_do_its_work_fails_the_row(guarded: dict[str, Any], failure: str) -> None:
    good = {"tools": ["read_note", "raise_concern"], "version": None}
    good["answers"] = ["Move the archive on Friday.", "There is no tool 'send_mail' for you."]

    def run(_: Programs, plan: dict[str, Any]) -> dict[str, Any]:
        return good if len(plan["calls"]) == 1 else {**good, **guarded}

    found = row(replace(PYTHON["FastMCP"], package="", run=run), DEMO, Programs(None))
    assert found["state"] == "failed" and found[failure] is False


def test_a_server_that_fails_directly_counts_neither_way() -> None:
    broken = replace(DEMO, command=lambda *_: ["false"])
    assert row(PYTHON["mcp (Python), automatic"], broken, Programs(None))["state"] == "does not work directly"


def test_the_documentation_has_a_row_for_each_pair() -> None:
    rows = [line.split(" | ") for line in DOCS.read_text().splitlines() if line.startswith("| ")][1:]
    for client in CLIENTS:
        for server in SERVERS:
            transport = "http" if server.http else "stdio"
            mine = [
                r
                for r in rows
                if r[0][2:].startswith(client.name) and r[1].startswith(server.name) and r[2] == transport
            ]
            assert len(mine) == 1, (client.name, server.name, transport)
    assert len(rows) == len(CLIENTS) * len(SERVERS)


@pytest.mark.slow
@pytest.mark.parametrize("client", [client for client in CLIENTS if client.package], ids=lambda client: client.name)
def test_clients_of_other_makers_work_with_the_filesystem_server(
    client: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm and node are not installed")
    folder = tmp_path_factory.getbasetemp() / "programs"
    [filesystem] = [server for server in SERVERS if server.name == "filesystem"]
    found = row(client, filesystem, Programs(folder))
    if found["state"] == "not installed":
        pytest.skip(found["why"])
    assert found["state"] == "passed", found
