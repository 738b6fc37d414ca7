"""guard.relay: a proxy between any MCP client and any MCP server, over stdio and streamable HTTP.

    bytes → jsonrpc.parse → Session → gate.judge → Session → jsonrpc.dump → bytes

`jsonrpc` parses one message strictly. `methods` lists every method of both protocol eras. `tool_pins` and `tools`
refuse tools whose definitions changed since first sight. `session` holds the state of a conversation without I/O,
`stdio` and `http` move its bytes, and `self_test` shows a denial on every path before the relay serves.
"""
