//! The tools that the protocol's conformance suite calls, beside ours. For tests alone: no build that anybody uses has
//! them.
//!
//! What it is for: the suite knows its own tools only, and what it shows (framing, headers, the gate, the tasks
//! extension) is what ours go through. What it owns: those tools, with tasks in memory. What it never does: ship.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    ContentBlock, CreateTaskResult, DetailedTask, GetTaskParams, GetTaskResult, InputRequest,
    InputRequests, InputRequiredResult, JsonObject, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ServerConfig,
    SubscriptionFilter, Task, TaskPayload, TaskStatus, Tool, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::server::Server;
use crate::waits::may_be_a_task;

const NAMES: [&str; 7] = [
    "greet",
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
];

/// Resources that are always there.
const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";

/// How long the jobs take that take no argument.
const JOB: Duration = Duration::from_secs(1);

/// The server with the fixtures beside its tools.
#[derive(Clone)]
pub(crate) struct Fixtures {
    server: Server,
    tasks: Arc<Mutex<HashMap<String, Fixture>>>,
}

/// A task in memory.
struct Fixture {
    payload: TaskPayload,
    answers: BTreeMap<String, Value>,
    created: String,
}

impl Fixtures {
    pub(crate) fn beside(server: Server) -> Fixtures {
        Fixtures { server, tasks: Arc::default() }
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<String, Fixture>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, payload: TaskPayload) -> String {
        let created = self.server.now().to_string();
        let mut tasks = self.tasks();
        let id = format!("fixture-{}", tasks.len() + 1);
        tasks.insert(id.clone(), Fixture { payload, answers: BTreeMap::new(), created });
        id
    }

    fn created(&self, id: &str) -> CallToolResponse {
        CallToolResponse::Task(CreateTaskResult::new(self.frame(id)))
    }

    fn frame(&self, id: &str) -> Task {
        let tasks = self.tasks();
        let made = tasks.get(id).map(|task| task.created.clone()).unwrap_or_default();
        Task::new(id, TaskStatus::Working, made.clone(), made).with_poll_interval_ms(200)
    }

    /// A task that ends by itself, unless it was cancelled before.
    fn later(&self, after: Duration, end: TaskPayload) -> CallToolResponse {
        let id = self.make(TaskPayload::Working);
        let (all, ended) = (self.clone(), id.clone());
        tokio::spawn(async move {
            sleep(after).await;
            if let Some(task) = all.tasks().get_mut(&ended)
                && matches!(task.payload, TaskPayload::Working)
            {
                task.payload = end;
            }
        });
        self.created(&id)
    }

    async fn fixture(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).unwrap_or_default();
        let tasks = may_be_a_task(context);
        match request.name.as_ref() {
            "greet" => Ok(words(&format!("Hello, {}!", text("name"))).into()),
            "slow_compute" => {
                let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or(1.0);
                let time = Duration::try_from_secs_f64(seconds).unwrap_or(JOB);
                let done = words(&format!("{} done", text("label")));
                if tasks {
                    return Ok(self.later(time, completed(&done)));
                }
                sleep(time).await;
                Ok(done.into())
            }
            "failing_job" if !tasks => Err(ErrorData::missing_required_client_capability(
                ClientCapabilities::builder().enable_tasks().build(),
            )),
            "failing_job" => {
                let failed = CallToolResult::error(vec![ContentBlock::text("the job failed")]);
                Ok(self.later(JOB, completed(&failed)))
            }
            "protocol_error_job" => {
                let error = json!({"code": -32603, "message": "the job broke"});
                Ok(self.later(JOB, TaskPayload::Failed { error: object(error) }))
            }
            "confirm_delete" => Ok(self.asking(&["confirm"])),
            "multi_input" => Ok(self.asking(&["first", "second"])),
            _ => match request.input_responses.as_ref().and_then(|all| all.get("who")) {
                None => Ok(InputRequiredResult::from_input_requests(questions(&["who"])).into()),
                Some(answer) => Ok(self.later(JOB, completed(&words(&answer.to_string())))),
            },
        }
    }

    fn asking(&self, keys: &[&str]) -> CallToolResponse {
        let id = self.make(TaskPayload::InputRequired { input_requests: questions(keys) });
        self.created(&id)
    }

    fn answer(&self, id: &str, given: BTreeMap<String, Value>) -> Option<()> {
        let mut tasks = self.tasks();
        let task = tasks.get_mut(id)?;
        let TaskPayload::InputRequired { input_requests } = &mut task.payload else {
            return Some(());
        };
        for (key, answer) in given {
            if input_requests.remove(&key).is_some() {
                task.answers.insert(key, answer);
            }
        }
        if input_requests.is_empty() {
            let answers = json!(task.answers).to_string();
            task.payload = completed(&words(&answers));
        }
        Some(())
    }
}

/// Of an address `test://template/ID/data` the id.
fn template_id(uri: &str) -> Option<&str> {
    uri.strip_prefix("test://template/")?.strip_suffix("/data")
}

fn words(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn completed(result: &CallToolResult) -> TaskPayload {
    TaskPayload::Completed { result: object(json!(result)) }
}

fn object(value: Value) -> JsonObject {
    value.as_object().cloned().unwrap_or_default()
}

fn questions(keys: &[&str]) -> InputRequests {
    let question = |key: &&str| {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "confirm": {"type": "boolean"}}});
        let request = json!({"method": "elicitation/create", "params": {
            "mode": "form", "message": format!("{key}?"), "requestedSchema": schema}});
        let request = serde_json::from_value::<InputRequest>(request);
        ((*key).to_owned(), request.expect("it is one by the schema of the protocol"))
    };
    keys.iter().map(question).collect()
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        self.server.get_info()
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = self.server.list_tools(page, context).await?;
        let schema = Arc::new(object(json!({"type": "object", "properties": {}})));
        listed.tools.extend(NAMES.map(|name| Tool::new(name, "a fixture", Arc::clone(&schema))));
        Ok(listed)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.server.get_tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if NAMES.contains(&request.name.as_ref()) {
            return self.fixture(request, &context).await;
        }
        self.server.call_tool(request, context).await
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = [TEXT, BINARY].map(|uri| Resource::new(uri, uri)).to_vec();
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        self.server.list_resource_templates(page, context).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (uri, id) = (request.uri.as_str(), template_id(&request.uri));
        let contents = match (uri, id) {
            (TEXT, _) => {
                let text = "This is the content of the static text resource.";
                ResourceContents::text(text, uri).with_mime_type("text/plain")
            }
            // One byte is enough of a picture.
            (BINARY, _) => ResourceContents::blob("iQ==", uri).with_mime_type("image/png"),
            (_, Some(id)) => {
                let data =
                    json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
            }
            _ => return self.server.read_resource(request, context).await,
        };
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.server.accepted_subscription_filter(requested)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.server.listen(context).await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let payload = self.tasks().get(&request.task_id).map(|task| task.payload.clone());
        match payload {
            Some(payload) => {
                let task = self.frame(&request.task_id);
                Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
            }
            None => self.server.get_task(request, context).await,
        }
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match self.answer(&request.task_id, request.input_responses.clone()) {
            Some(()) => Ok(()),
            None => self.server.update_task(request, context).await,
        }
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let Some(task) = self.tasks().get_mut(&request.task_id) {
            if !task.payload.status().is_terminal() {
                task.payload = TaskPayload::Cancelled;
            }
            return Ok(());
        }
        self.server.cancel_task(request, context).await
    }
}
