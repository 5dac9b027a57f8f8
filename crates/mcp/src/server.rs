//! The server as the MCP library drives it: the one place that knows both.
//!
//! What it is for: requests of MCP in, tools and waits out. What it owns: what we say we are, and the wrapping of a
//! library whose interface changes often. What it never does: keep a wait in memory (the library's own task manager
//! would: its tasks end with the process).

use std::sync::{Arc, OnceLock};

use meanwhile_api::caller::CallerContext;
use meanwhile_api::inbox::{DeliverRequest, Route};
use meanwhile_api::{ApiError, Timestamp};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, GetTaskParams, GetTaskResult,
    Implementation, ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::sync::watch;

use crate::patience::Patience;
use crate::receipts::Receipts;
use crate::session::Sessions;
use crate::setup::Setup;
use crate::shelf::Shelf;
use crate::waits::Cancelled;
use crate::{listing, resources, subscriptions, tool, waits, words};

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) sessions: Sessions,
    pub(crate) caller: CallerContext,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) shelf: Shelf,
    pub(crate) patience: Patience,
    pub(crate) cancelled: Cancelled,
    pub(crate) receipts: Receipts,
    /// Whether the one client has closed its end; not set of a server for anybody.
    pub(crate) left: OnceLock<watch::Receiver<bool>>,
    /// Under which word this process takes notices.
    pub(crate) holder: String,
}

/// Serves MCP. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Server(Arc<Shared>);

impl Server {
    /// For the client that started this process.
    pub(crate) fn for_one_client(setup: Setup) -> Result<Server, ApiError> {
        let Setup { connect, claim, caller, client_is_there, shelf, clock } = setup;
        let receipts = Receipts::of_one_client(client_is_there);
        Server::new(Sessions::of_one_client(connect, claim)?, receipts, caller, shelf, clock)
    }

    /// For whoever connects.
    pub(crate) fn for_anybody(setup: Setup) -> Result<Server, ApiError> {
        let Setup { connect, claim, caller, client_is_there: _, shelf, clock } = setup;
        Server::new(Sessions::of_anybody(connect, claim), Receipts::default(), caller, shelf, clock)
    }

    fn new(
        sessions: Sessions,
        receipts: Receipts,
        caller: CallerContext,
        shelf: Shelf,
        clock: fn() -> Timestamp,
    ) -> Result<Server, ApiError> {
        let holder = DeliverRequest::new(Route::Mcp)?.holder;
        let (patience, cancelled) = (Patience::default(), Cancelled::default());
        let left = OnceLock::new();
        let shared =
            Shared { sessions, caller, clock, shelf, patience, cancelled, receipts, left, holder };
        Ok(Server(Arc::new(shared)))
    }

    /// The wall clock.
    #[cfg(feature = "fixtures")]
    pub(crate) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// What outlives the library's hold on the server.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0)
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_resources().enable_tasks().build();
        let ours =
            Implementation::new("meanwhile", env!("CARGO_PKG_VERSION")).with_title("Meanwhile");
        ServerConfig::new(capabilities)
            .with_server_info(ours)
            .with_instructions(listing::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(listing::tools().to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        listing::tools().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let answer = tool::call(&self.0, &context, &request.name, arguments).await;
        answer.ok_or_else(|| {
            let names: Vec<&str> = listing::tools().iter().map(|tool| tool.name.as_ref()).collect();
            let name = words::short(&meanwhile_api::sanitise::line(&request.name), 80);
            ErrorData::invalid_params(
                format!("no tool `{name}`; there are {}", names.join(", ")),
                None,
            )
        })
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        waits::get(&self.0, &request.task_id).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        waits::update(&request.task_id)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        waits::cancel(&self.0, &request.task_id).await
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        // The library leaves of it what is declared: nothing but tasks, which it does not know of.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        subscriptions::listen(&self.0, &context).await;
        Ok(())
    }

    // What is not declared is not answered either; the library would answer with empty lists.
    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(&self.0, &context).await
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.0, &context, &request.uri).await.map(ReadResourceResponse::from)
    }
}
