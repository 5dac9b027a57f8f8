// The official TypeScript client of either generation, over stdio and over HTTP, for plain tools and resources. It does
// not know tasks, so a wait must block.
import { Client as NewClient, StreamableHTTPClientTransport as NewHttp } from "@modelcontextprotocol/client";
import { StdioClientTransport as NewStdio } from "@modelcontextprotocol/client/stdio";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as OldStdio } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as OldHttp } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { check, need, text } from "./checks.mjs";

const info = { name: "official-client-check", version: "1" };
const program = { command: need("PRODUCT"), args: ["--home", need("PRODUCT_HOME"), "mcp"] };
const url = new URL(need("PRODUCT_URL"));
const http = { requestInit: { headers: { authorization: `Bearer ${need("PRODUCT_TOKEN")}` } } };

async function plain(name, client, transport) {
  await client.connect(transport);
  const { tools } = await client.listTools();
  check(`${name}: tools`, tools.length >= 7 && tools.every((tool) => tool.annotations), tools.length);
  const call = (tool, args) => client.callTool({ name: tool, arguments: args });
  const launched = await call("run", { shell: "echo hello from a task", name: `plain-${Date.now()}` });
  const { id } = launched.structuredContent;
  check(`${name}: a launch`, text(launched).includes(id), launched);
  const waited = await call("wait", { ids: [id] });
  check(`${name}: a wait blocks`, text(waited).includes("1 of 1 done"), waited);
  const read = await call("output", { id });
  check(`${name}: output`, text(read).includes("hello from a task"), read);
  const wrong = await call("output", { id: "nosuchtask" });
  check(`${name}: what a model can correct is an answer`, wrong.isError === true, wrong);
  const { resourceTemplates } = await client.listResourceTemplates();
  check(`${name}: templates`, resourceTemplates.length > 0, resourceTemplates);
  const resource = await client.readResource({ uri: `meanwhile://task/${id}/output` });
  check(`${name}: a resource`, resource.contents[0].text.includes("hello from a task"), resource);
  const { resources } = await client.listResources();
  check(`${name}: resources`, resources.some((one) => one.uri.includes(id)), resources);
  await client.close();
}

const modern = () => new NewClient(info, { versionNegotiation: { mode: "auto" } });
await plain("new client, stdio", modern(), new NewStdio(program));
await plain("new client, HTTP", modern(), new NewHttp(url, http));
await plain("old client, stdio", new OldClient(info), new OldStdio(program));
await plain("old client, HTTP", new OldClient(info), new OldHttp(url, http));
