"""A session of FastMCP's client: `python fastmcp_client.py PLAN`, where PLAN is JSON; prints what it got."""

import asyncio
import json
import sys
from typing import Any

from fastmcp import Client  # type: ignore[import-not-found]
from fastmcp.client.transports import StdioTransport  # type: ignore[import-not-found]


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Connect, list the tools and make the calls of a plan."""
    command = plan.get("command")
    target = StdioTransport(command[0], command[1:]) if command else plan["url"]
    async with Client(target) as client:
        tools = [tool.name for tool in await client.list_tools()]
        answers = []
        for name, arguments in plan["calls"]:
            try:
                result = await client.call_tool(name, arguments, raise_on_error=False)
                answers.append(" ".join(getattr(block, "text", "") for block in result.content))
            except Exception as error:
                answers.append(f"error: {error}")
        opened = client.initialize_result
        return {"tools": tools, "answers": answers, "version": getattr(opened, "protocolVersion", None)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
