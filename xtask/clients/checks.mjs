// What a client's script says: a line `ok NAME` for each check that held; the first one that did not ends it. Not to be
// over in time is a failure as well.
import { strict as assert } from "node:assert";

const PATIENCE_MS = 180_000;
setTimeout(() => {
  console.error(`not over after ${PATIENCE_MS} ms`);
  process.exit(3);
}, PATIENCE_MS).unref();

export function check(name, holds, seen) {
  assert(holds, `${name}: ${JSON.stringify(seen)}`);
  console.log(`ok ${name}`);
}

export const text = (result) => result.content.map((part) => part.text ?? "").join("\n");

export function need(name) {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}
