// A session of the TypeScript SDK's client: `node typescript_client.mjs PLAN PACKAGE`, where PLAN is JSON and PACKAGE is
// the folder of the SDK (1.x: @modelcontextprotocol/sdk, 2.x: @modelcontextprotocol/client); prints what it got.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , text, folder] = process.argv;
const plan = JSON.parse(text);
const require = createRequire(`${folder}/package.json`);
const load = async (...names) => {
  for (const name of names) {
    try { return await import(pathToFileURL(require.resolve(name)).href); } catch (error) { if (name === names.at(-1)) throw error; }
  }
};
const { Client } = await load("@modelcontextprotocol/client", "@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio", "@modelcontextprotocol/client", "@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client", "@modelcontextprotocol/sdk/client/streamableHttp.js");

const transport = plan.command
  ? new StdioClientTransport({ command: plan.command[0], args: plan.command.slice(1), stderr: "ignore", env: process.env })
  : new StreamableHTTPClientTransport(new URL(plan.url));
const client = new Client({ name: "holdfast-bench", version: "1" });
await client.connect(transport);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const answers = [];
for (const [name, args] of plan.calls) {
  try {
    const result = await client.callTool({ name, arguments: args });
    answers.push(result.content.map((block) => block.text ?? "").join(" "));
  } catch (error) {
    answers.push(`error: ${error.message}`);
  }
}
const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null;
console.log(JSON.stringify({ tools, answers, version }));
await client.close();
