//! An engine, and what all packages of a run share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, watch};
use tonic::transport::Channel;

use super::call::Calls;
use super::capabilities::Capabilities;
use super::connection;
use super::error::ReapiError;
use super::inputs::ProgramSlot;
use super::runtime;
use super::settings::ReapiSettings;
use super::storage::Storage;
use crate::container::helper::Interrupt;
use crate::remote::shared::SharedFolder;
use crate::runner::home::Home;

/// Engine of the Remote Execution API.
#[derive(Debug)]
pub struct Reapi {
    pub(super) settings: ReapiSettings,
    pub(super) storage: Storage,
    pub(super) program: ProgramSlot,
    pub(super) away: AtomicBool,
    capabilities: OnceCell<Capabilities>,
    opened: OnceLock<OpenedEngine>,
}

/// Executions on one connection: servers permit a hundred streams or so, and each execution holds one to its end.
const TOGETHER: usize = 50;

/// Most connections for executions.
const CONNECTIONS: usize = 64;

/// Connections, and the folder of the jobs.
#[derive(Debug)]
pub(super) struct OpenedEngine {
    /// Threads of the connection; `None` once the engine is dropped.
    runtime: Option<Runtime>,
    /// Connection of all calls to the engine but executions.
    pub(super) channel: Channel,
    /// Connection to the storage and the cache.
    pub(super) storage: Channel,
    pub(super) folder: SharedFolder,
    /// True once the run is interrupted.
    pub(super) interrupted: watch::Receiver<bool>,
    /// Connections of executions, which are not established before they are used.
    executions: Vec<Channel>,
    running: AtomicUsize,
}

/// Place of an execution on a connection.
#[derive(Debug)]
pub(super) struct ExecutionPlace<'a> {
    pub(super) channel: Channel,
    running: &'a AtomicUsize,
}

impl Drop for ExecutionPlace<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenedEngine {
    pub(super) fn runtime(&self) -> &Runtime {
        let Some(runtime) = &self.runtime else { unreachable!("it is there until the drop") };
        runtime
    }

    /// A place for an execution.
    pub(super) fn execution(&self) -> ExecutionPlace<'_> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let channel = self.executions[(before / TOGETHER) % CONNECTIONS].clone();
        ExecutionPlace { channel, running: &self.running }
    }
}

impl Drop for OpenedEngine {
    fn drop(&mut self) {
        // A connection that hangs is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Reapi {
    /// Prepares builds; nothing is read, written or asked before the first one.
    pub fn new(settings: ReapiSettings) -> Self {
        Self {
            settings,
            storage: Storage::default(),
            program: ProgramSlot::default(),
            away: AtomicBool::new(false),
            capabilities: OnceCell::new(),
            opened: OnceLock::new(),
        }
    }

    /// The connection and the folder, made on the first call.
    pub(super) fn opened(
        &self,
        home: &Home,
        interrupt: &Arc<Interrupt>,
    ) -> Result<&OpenedEngine, ReapiError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let failed = |doing| move |source: io::Error| ReapiError::File { doing, source };
        let folder =
            SharedFolder::open(home.remote_jobs()).map_err(failed("make a folder for jobs"))?;
        let runtime = runtime::start().map_err(failed("start threads"))?;
        let entered = runtime.enter();
        let open = |address: &str| connection::open(&self.settings, address);
        let channel = open(&self.settings.address)?;
        let storage = self.settings.cache.as_deref().map(open).transpose()?;
        let storage = storage.unwrap_or_else(|| channel.clone());
        let executions = (0..CONNECTIONS).map(|_| open(&self.settings.address));
        let executions = executions.collect::<Result<_, _>>()?;
        drop(entered);
        let interrupted = runtime::watch(&runtime, Arc::clone(interrupt));
        let (runtime, running) = (Some(runtime), AtomicUsize::new(0));
        let opened =
            OpenedEngine { runtime, channel, storage, folder, interrupted, executions, running };
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Capabilities, asked once.
    pub(super) async fn capabilities(&self, calls: &Calls<'_>) -> Result<Capabilities, ReapiError> {
        self.capabilities.get_or_try_init(|| calls.ask_capabilities()).await.copied()
    }
}
