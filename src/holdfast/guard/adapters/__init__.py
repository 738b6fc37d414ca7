"""Adapters: thin entry points, each of which asks the gate and does nothing else.

`python.guarded` wraps a plain function, `inspect.guard` is an approver for Inspect, and `office` is a small MCP server
to try the relay on.
"""
