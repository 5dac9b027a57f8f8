// Made by `meanwhile install opencode`; `meanwhile uninstall opencode` takes it away again.
//
// What ends in the background reaches the session that launched it: beside the next prompt or tool while it works, by a
// turn of its own while it is idle. This file decides nothing: it asks `meanwhile hook opencode EVENT`, which says
// nothing where there is nothing to say. Whatever goes wrong here, OpenCode goes on as if the file were not there.

import { spawn } from "node:child_process"

const PROGRAM = "meanwhile"

/** Tools of our MCP server are known to OpenCode by names that begin like this. */
const OUR_TOOLS = "meanwhile_"

/** Says in a call of such a tool whose it is: one MCP server serves all sessions. */
const SESSION_ARGUMENT = "meanwhile_session"

/** A hook answers in milliseconds; what takes longer than this (in ms) is given up. */
const PATIENCE = 5_000

/** How long (in ms) an accepted prompt may take to be stored. */
const STORING = 10_000

/** A session that could not be woken is tried again after this (in ms), so many times. */
const AGAIN = 60_000
const TRIES = 3

/** `opencode run` ends with its turn: there is nobody to wake. */
const ONE_PROMPT = process.argv[2] === "run"

const nothing = () => {}

/** A hook of ours that fails is a hook that says nothing. */
const quietly = (hook) => async (input, output) => {
  try {
    await hook(input, output)
  } catch {}
}

/** What `meanwhile hook` has to say, from a line that it printed. */
const saidIn = (line) => {
  try {
    const said = JSON.parse(line).say
    return typeof said === "string" ? said : undefined
  } catch {
    return undefined
  }
}

const start = (event, session) => {
  const child = spawn(PROGRAM, ["hook", "opencode", event], { stdio: ["pipe", "pipe", "ignore"] })
  child.on("error", nothing)
  child.stdin.on("error", nothing)
  child.stdin.write(JSON.stringify({ session_id: session }) + "\n")
  return child
}

/** Asks once; undefined where there is nothing to say. */
const ask = (event, session) =>
  new Promise((done) => {
    try {
      const child = start(event, session)
      const over = setTimeout(() => child.kill(), PATIENCE)
      let text = ""
      child.stdout.on("data", (some) => (text += some))
      child.on("error", () => done(undefined))
      child.on("close", () => {
        clearTimeout(over)
        done(saidIn(text))
      })
      child.stdin.end()
    } catch {
      done(undefined)
    }
  })

export const Meanwhile = async ({ client }) => {
  // An agent that is a task itself belongs to the task: whoever launched that is told.
  if (process.env.MEANWHILE_TASK) return {}

  /** From a session to the one that a person talks to: a subagent has a session of its own. */
  const roots = new Map()
  /** What listens for an idle session, by session. */
  const waiters = new Map()
  /** Agent and model of the last prompt, by session: a session is woken as it was. */
  const manners = new Map()
  /** What is being said to a session, until it is stored. */
  const prompts = new Map()

  const findRoot = async (session) => {
    const answer = await client.session.get({ path: { id: session } })
    const parent = answer?.data?.parentID
    return parent ? rootOf(parent) : session
  }

  const rootOf = (session) => {
    if (!roots.has(session)) {
      const found = findRoot(session).catch(() => {
        roots.delete(session)
        return session
      })
      roots.set(session, found)
    }
    return roots.get(session)
  }

  /** Under which name launches of a session are kept: the user's own word counts more. */
  const nameOf = (root) => process.env.MEANWHILE_SESSION || root

  /** Starts a turn with what there is to say; whether the session has it. */
  const wake = async (session, text) => {
    const stored = new Promise((done) => prompts.set(session, { text, done }))
    try {
      const parts = [{ type: "text", text }]
      const body = { ...manners.get(session), parts }
      const answer = await client.session.promptAsync({ path: { id: session }, body })
      if (!answer || answer.error) return false
      let over
      await Promise.race([stored, new Promise((done) => (over = setTimeout(done, STORING)))])
      clearTimeout(over)
    } catch {
      return false
    } finally {
      prompts.delete(session)
    }
    const body = { title: "Meanwhile", message: text.split("\n", 1)[0], variant: "info" }
    Promise.resolve(client.tui?.showToast({ body })).catch(nothing)
    return true
  }

  /** One waiter for each idle session. It ends when it has told something, when another one listens, or with us. */
  const listen = (session, tries = TRIES) => {
    if (ONE_PROMPT || waiters.has(session)) return
    const child = start("Wait", nameOf(session))
    waiters.set(session, child)
    let text = ""
    let told = false
    child.stdout.on("data", async (some) => {
      text += some
      const end = text.indexOf("\n")
      if (told || end < 0) return
      told = true
      const said = saidIn(text.slice(0, end))
      const woken = said !== undefined && (await wake(session, said))
      // What was not told comes again: only this word makes it read.
      child.stdin.end(woken ? "told\n" : "")
      if (!woken && tries > 1) setTimeout(() => listen(session, tries - 1), AGAIN).unref()
    })
    const gone = () => {
      if (waiters.get(session) === child) waiters.delete(session)
    }
    child.on("error", gone)
    child.on("close", gone)
  }

  const idle = async (session) => {
    if ((await rootOf(session)) !== session) return
    await ask("session.idle", nameOf(session))
    listen(session)
  }

  const stored = (part) => {
    const prompt = prompts.get(part?.sessionID)
    if (prompt && part.type === "text" && part.text === prompt.text) prompt.done()
  }

  const deleted = (session) => {
    waiters.get(session)?.stdin.end()
    roots.delete(session)
    manners.delete(session)
  }

  return {
    event: quietly(async ({ event }) => {
      if (event.type === "session.idle") await idle(event.properties.sessionID)
      else if (event.type === "message.part.updated") stored(event.properties.part)
      else if (event.type === "session.deleted") deleted(event.properties.info?.id)
    }),

    "shell.env": quietly(async (input, output) => {
      if (!input.sessionID || process.env.MEANWHILE_SESSION) return
      output.env.MEANWHILE_SESSION = await rootOf(input.sessionID)
    }),

    "tool.execute.before": quietly(async (input, output) => {
      if (!input.tool.startsWith(OUR_TOOLS)) return
      output.args[SESSION_ARGUMENT] = await rootOf(input.sessionID)
    }),

    "tool.execute.after": quietly(async (input, output) => {
      if (input.tool.startsWith(OUR_TOOLS)) {
        // Our tools say themselves what is unread.
        delete input.args[SESSION_ARGUMENT]
        return
      }
      if ((await rootOf(input.sessionID)) !== input.sessionID) return
      const said = await ask("tool.execute.after", nameOf(input.sessionID))
      if (said === undefined) return
      if (Array.isArray(output.content)) output.content.push({ type: "text", text: said })
      else output.output = `${output.output ?? ""}\n\n${said}`
    }),

    "chat.message": quietly(async (input, output) => {
      const { sessionID } = input
      if ((await rootOf(sessionID)) !== sessionID) return
      const { agent, model } = output.message
      const { providerID, modelID } = model ?? {}
      manners.set(sessionID, { agent, model: model && { providerID, modelID } })
      const ours = prompts.get(sessionID)?.text
      if (ours !== undefined && output.parts.some((part) => part.text === ours)) return
      const said = await ask("chat.message", nameOf(sessionID))
      const last = output.parts.at(-1)
      if (said === undefined || !last) return
      const { messageID } = last
      output.parts.push({ id: `${last.id}m`, sessionID, messageID, type: "text", text: said, synthetic: true })
    }),

    "experimental.session.compacting": quietly(async (input, output) => {
      const said = await ask("experimental.session.compacting", nameOf(await rootOf(input.sessionID)))
      if (said !== undefined) output.context.push(said)
    }),
  }
}
