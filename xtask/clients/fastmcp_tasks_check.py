"""fastmcp-tasks over stdio: first against the fixtures (input, failure, cancel), then against the product."""

import asyncio
import os

import fastmcp_tasks  # Makes the client declare the extension.
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from fastmcp_tasks import call_tool_task

PATIENCE_SECONDS = 180


def check(name, holds, seen=None):
    assert holds, f"{name}: {seen!r}"
    print(f"ok {name}", flush=True)


async def accept(message, response_type, params, context):
    return ElicitResult(action="accept", content={"confirm": True})


async def fixtures():
    server = StdioTransport(os.environ["FIXTURES"], ["stdio"])
    async with Client(server, elicitation_handler=accept) as client:
        task = await call_tool_task(client, "slow_compute", {"seconds": 1, "label": "a"})
        check("create", task.create_result.status == "working" and task.create_result.poll_interval_ms)
        check("poll", (await task.status()).status == "working")
        check("result", "done" in (await task.result()).content[0].text)
        task = await call_tool_task(client, "confirm_delete", {"filename": "f"})
        asking = await task.wait(state="input_required", timeout=60)
        check("input_required", asking.input_requests, asking)
        check("a question is answered", "accept" in (await task.result()).content[0].text)
        task = await call_tool_task(client, "slow_compute", {"seconds": 60})
        await task.cancel()
        check("cancel", (await task.wait(timeout=60)).status == "cancelled")
        ended = await (await call_tool_task(client, "failing_job")).wait(timeout=60)
        check("work that failed is completed", ended.status == "completed" and ended.result["isError"] is True, ended)
        ended = await (await call_tool_task(client, "protocol_error_job")).wait(timeout=60)
        check("a protocol error is failed", ended.status == "failed" and ended.result is None, ended)


async def product():
    server = StdioTransport(os.environ["PRODUCT"], ["--home", os.environ["PRODUCT_HOME"], "mcp"])
    async with Client(server) as client:
        launched = await client.call_tool("run", {"shell": "sleep 2; echo the end; exit 7"})
        id = launched.structured_content["id"]
        task = await call_tool_task(client, "wait", {"ids": [id]})
        check("a wait is a task whose id names the work", id in task.create_result.task_id, task.create_result)
        ended = await task.wait(timeout=60)
        check("it ends with the digest", "exit 7" in ended.result["content"][0]["text"], ended)
        check("work that failed is an error", ended.status == "completed" and ended.result["isError"] is True, ended)
        launched = await client.call_tool("run", {"shell": "sleep 300"})
        id = launched.structured_content["id"]
        task = await call_tool_task(client, "wait", {"ids": [id]})
        await task.cancel()
        check("a cancelled wait ends", (await task.wait(timeout=60)).status == "cancelled")
        listed = await client.call_tool("list", {"state": "active"})
        check("the work goes on", id in listed.content[0].text, listed)
        ended = await client.call_tool("cancel", {"ids": [id]})
        check("until it is cancelled", ended.structured_content["all_ended"] is True, ended)


async def main():
    await fixtures()
    await product()


asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
