"""A session of the official Python client: `python python_client.py PLAN`, where PLAN is JSON; prints what it got."""

import asyncio
import json
import sys
from typing import Any

from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Connect, list the tools and make the calls of a plan."""
    command = plan.get("command")
    target: Any = plan.get("url")
    if command:
        target = stdio_client(StdioServerParameters(command=command[0], args=command[1:]))
    async with Client(target, mode=plan["mode"]) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answers = []
        for name, arguments in plan["calls"]:
            try:
                result = await client.call_tool(name, arguments)
                answers.append(" ".join(getattr(block, "text", "") for block in result.content))
            except Exception as error:
                answers.append(f"error: {error}")
        return {"tools": tools, "answers": answers, "version": client.session.protocol_version}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
