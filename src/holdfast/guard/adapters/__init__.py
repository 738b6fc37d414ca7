"""Adapters: thin entry points that pass calls to the gate.

`python.ToolGuard` wraps plain functions, `inspect.guard` is an approver for Inspect, and `demo_server` is a small MCP
server to try the relay with.
"""
