// The official tasks client over HTTP: first against the fixtures (input, failure, cancel), then against the product.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { createTaskSessionFromClient } from "@modelcontextprotocol/ext-tasks/client";
import { check, need, text } from "./checks.mjs";

const TASKS = "io.modelcontextprotocol/tasks";
const clientInfo = { name: "ext-tasks-check", version: "1" };
const clientCapabilities = { elicitation: { form: {} }, extensions: { [TASKS]: {} } };
const protocolVersion = "2026-07-28";

async function session(url, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const client = new Client(clientInfo, { versionNegotiation: { mode: "auto" } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  let id = 0;
  // The client cannot carry answers that are tasks, so these requests go beside it.
  const rawDispatch = async (request) => {
    const name = request.params?.taskId ?? request.params?.name;
    const reply = await fetch(url, {
      method: "POST",
      headers: {
        ...headers,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": protocolVersion,
        "mcp-method": request.method,
        ...(name ? { "mcp-name": name } : {}),
      },
      body: JSON.stringify({ ...request, jsonrpc: "2.0", id: `raw-${++id}` }),
    });
    const body = await reply.text();
    const data = body.split("\n").filter((line) => line.startsWith("data:") && line.length > 6);
    return JSON.parse(data.length ? data.at(-1).slice(5) : body);
  };
  const tasks = createTaskSessionFromClient(client, {
    endpointId: url,
    rawDispatch,
    v2RequestFraming: { protocolVersion, clientInfo, clientCapabilities },
    onInputRequest: async () => ({ action: "accept", content: { confirm: true } }),
  });
  return { client, tasks };
}

async function fixtures() {
  const { client, tasks } = await session(need("FIXTURES_URL"));
  const settled = async (name, args) => {
    const execution = await tasks.callTool(name, args);
    return { kind: execution.kind, ...(await execution.settle()).outcome };
  };
  const hello = await settled("greet", { name: "Ann" });
  check("an answer at once", hello.kind === "immediate" && text(hello.result) === "Hello, Ann!", hello);
  const slow = await settled("slow_compute", { seconds: 1, label: "a" });
  check("create and poll", slow.kind === "task" && text(slow.result) === "a done", slow);
  const bad = await settled("failing_job", {});
  check("work that failed is completed", bad.status === "completed" && bad.result.isError === true, bad);
  const broken = await settled("protocol_error_job", {});
  check("a protocol error is failed", broken.status === "failed", { status: broken.status });
  const asked = await settled("confirm_delete", { filename: "f" });
  check("a question is answered", asked.status === "completed" && text(asked.result).includes("accept"), asked);
  const held = await tasks.callTool("slow_compute", { seconds: 60 });
  await held.cancel();
  const { outcome } = await held.settle();
  check("cancel", outcome.status === "cancelled", outcome);
  await tasks.close();
  await client.close();
}

async function product() {
  const { client, tasks } = await session(need("PRODUCT_URL"), need("PRODUCT_TOKEN"));
  const settled = async (name, args) => (await (await tasks.callTool(name, args)).settle()).outcome;
  const launched = await tasks.callTool("run", { shell: "sleep 2; echo the end; exit 7" });
  check("a launch is answered at once", launched.kind === "immediate", launched.kind);
  const { id } = (await launched.settle()).outcome.result.structuredContent;
  const wait = await tasks.callTool("wait", { ids: [id] });
  check("a wait is a task whose id names the work", wait.kind === "task" && wait.handle.taskId.includes(id), wait.handle);
  const { outcome } = await wait.settle();
  check("it ends with the digest", outcome.status === "completed" && text(outcome.result).includes("exit 7"), outcome);
  check("work that failed is an error", outcome.result.isError === true, outcome.result);
  const ids = Array.from({ length: 20 }, () => ({ shell: "sleep 3" }));
  const batch = await settled("run", { tasks: ids });
  const many = await tasks.callTool("wait", { ids: batch.result.structuredContent.tasks.map((task) => task.id) });
  check("a wait for twenty is one task", many.kind === "task", many.kind);
  await many.cancel();
  check("its cancel ends the waiting", (await many.settle()).outcome.status === "cancelled", many.kind);
  const ended = await settled("cancel", { all: true });
  check("the work itself is ended by the tool", ended.result.structuredContent.all_ended === true, ended);
  await tasks.close();
  await client.close();
}

await fixtures();
await product();
