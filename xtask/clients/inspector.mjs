// The Inspector's command line, of both eras, over stdio and over HTTP.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { check, need } from "./checks.mjs";

const inspector = fileURLToPath(
  new URL("./node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js", import.meta.url),
);
const program = [need("PRODUCT"), "--home", need("PRODUCT_HOME"), "mcp"];
const bearer = ["--header", `Authorization: Bearer ${need("PRODUCT_TOKEN")}`];

function inspect(target, ...options) {
  const ran = spawnSync(process.execPath, [inspector, "--cli", ...target, ...options], {
    encoding: "utf8",
    // A task that asks prints nothing and does not end.
    timeout: 60_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { code: ran.status, out: ran.stdout, said: ran.stderr };
}

const places = [
  ["stdio", program, []],
  ["HTTP", [need("PRODUCT_URL"), "--transport", "http", ...bearer], []],
];
for (const [name, target, more] of places) {
  for (const era of ["legacy", "modern"]) {
    const options = [...more, "--protocol-era", era, "--method"];
    const listed = inspect(target, ...options, "tools/list");
    check(`${name}, ${era}: tools`, listed.code === 0 && listed.out.includes('"extend"'), listed);
    const called = inspect(target, ...options, "tools/call", "--tool-name", "run", "--tool-arg", "shell=sleep 1");
    check(`${name}, ${era}: a launch`, called.code === 0 && called.out.includes('"queue_position"'), called);
    // Of the modern era this is a task, which the Inspector drives to its end.
    const waited = inspect(target, ...options, "tools/call", "--tool-name", "wait");
    check(`${name}, ${era}: a wait`, waited.code === 0 && /\d of \d+ done|nothing to wait/.test(waited.out), waited);
    const templates = inspect(target, ...options, "resources/templates/list");
    check(`${name}, ${era}: templates`, templates.code === 0 && templates.out.includes("meanwhile://task/"), templates);
  }
}
