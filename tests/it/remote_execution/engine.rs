//! An engine of the Remote Execution API in this process, which runs jobs with the executable under test, and has every
//! fault that it is told to have.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_server::ActionCacheServer;
use bazel_remote_apis::build::bazel::remote::execution::v2::capabilities_server::CapabilitiesServer;
use bazel_remote_apis::build::bazel::remote::execution::v2::content_addressable_storage_server::ContentAddressableStorageServer;
use bazel_remote_apis::build::bazel::remote::execution::v2::execution_server::ExecutionServer;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStreamServer;
use bazel_remote_apis::google::longrunning::operations_server::OperationsServer;
use bazel_remote_apis::google::longrunning::{Operation, operation};
use bazel_remote_apis::google::protobuf::Any;
use bazel_remote_apis::google::rpc;
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

use super::simulation::Simulation;
use crate::support::{binary, sha256};

/// Files of a result by their paths, and the exit code: a hook changes them before they are stored.
pub struct Results {
    pub files: BTreeMap<String, Vec<u8>>,
    pub exit_code: i32,
    /// Fault of the whole execution.
    pub status: Option<rpc::Status>,
}

type Hook = Box<dyn FnMut(&mut Results) + Send>;

/// State of an engine.
#[derive(Default)]
pub struct Inner {
    pub blobs: HashMap<String, Vec<u8>>,
    pub actions: HashMap<String, api::ActionResult>,
    pub operations: HashMap<String, watch::Receiver<Operation>>,
    /// Number of each call.
    pub calls: BTreeMap<&'static str, u32>,
    /// Number of uploads of each blob.
    pub uploads: HashMap<String, u32>,
    /// Headers of the last request, and the last command.
    pub headers: BTreeMap<String, String>,
    pub command: api::Command,
    pub cancelled: Vec<String>,
    /// Calls that fail: with what code, and how many more times.
    pub failing: BTreeMap<&'static str, (Code, u32)>,
    /// Changes each result.
    pub hook: Option<Hook>,
    /// Number of executions that stay in the queue for ever.
    pub stuck: u32,
    /// Number of streams that end before the operation does.
    pub short_streams: u32,
    /// True to name lost inputs in the details of the status.
    pub names_missing: bool,
    /// True to keep results of failures.
    pub caches_failures: bool,
    /// Number of executions before which everything that is stored is forgotten.
    pub forgets: u32,
    /// Files of a build that each execution gives again.
    pub replay: Option<BTreeMap<String, Vec<u8>>>,
    /// Properties of the last action.
    pub platform: api::Platform,
    pub capabilities: api::ServerCapabilities,
    pub token: Option<String>,
    /// True to name a stream with the output of each execution.
    pub names_streams: bool,
    /// Output of executions so far, by the names of the streams, and true at the end.
    pub streams: HashMap<String, (Vec<u8>, bool)>,
    /// Time that passes before each answer.
    pub latency: Duration,
    /// Workers in place of the executable under test.
    pub simulation: Option<Arc<Simulation>>,
    /// Number of actions that simulated workers have or are asked for, and the most at once.
    pub in_flight: (usize, usize),
    /// Time of the first simulated execution.
    pub began: Option<Instant>,
    pub(super) count: u32,
}

#[derive(Clone)]
pub struct Service {
    inner: Arc<Mutex<Inner>>,
    folder: PathBuf,
}

/// A running engine.
pub struct Engine {
    pub service: Service,
    pub address: String,
    /// Address of the storage and the cache alone, which the engine itself then has not.
    pub storage: Option<String>,
    _runtime: Runtime,
}

/// Capabilities of an engine that can do everything.
fn able() -> api::ServerCapabilities {
    let version = |minor| {
        let version = bazel_remote_apis::build::bazel::semver::SemVer::default();
        Some(bazel_remote_apis::build::bazel::semver::SemVer { major: 2, minor, ..version })
    };
    api::ServerCapabilities {
        cache_capabilities: Some(api::CacheCapabilities {
            digest_functions: vec![1],
            // Small, so that most files go as streams.
            max_batch_total_size_bytes: 100_000,
            ..api::CacheCapabilities::default()
        }),
        execution_capabilities: Some(api::ExecutionCapabilities {
            digest_function: 1,
            exec_enabled: true,
            ..api::ExecutionCapabilities::default()
        }),
        low_api_version: version(0),
        high_api_version: version(3),
        ..api::ServerCapabilities::default()
    }
}

impl Engine {
    pub fn start(folder: &Path) -> Self {
        Self::of(folder, false)
    }

    /// An engine whose storage and cache have an address of their own.
    pub fn apart(folder: &Path) -> Self {
        Self::of(folder, true)
    }

    fn of(folder: &Path, is_apart: bool) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let inner = Inner { capabilities: able(), ..Inner::default() };
        let service = Service { inner: Arc::new(Mutex::new(inner)), folder: folder.to_owned() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let bind = || {
            let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = format!("grpc://{}", incoming.local_addr().unwrap());
            (incoming, address)
        };
        let stores = |server: tonic::transport::server::Router| {
            server
                .add_service(ActionCacheServer::new(service.clone()))
                .add_service(ContentAddressableStorageServer::new(service.clone()))
                .add_service(ByteStreamServer::new(service.clone()))
        };
        let server = || {
            tonic::transport::Server::builder()
                .add_service(CapabilitiesServer::new(service.clone()))
        };
        let executes = server()
            .add_service(ExecutionServer::new(service.clone()))
            .add_service(OperationsServer::new(service.clone()));
        let (incoming, address) = bind();
        let storage = if is_apart {
            runtime.spawn(executes.serve_with_incoming(incoming));
            let (incoming, address) = bind();
            runtime.spawn(stores(server()).serve_with_incoming(incoming));
            Some(address)
        } else {
            runtime.spawn(stores(executes).serve_with_incoming(incoming));
            None
        };
        drop(entered);
        Self { service, address, storage, _runtime: runtime }
    }

    pub fn state(&self) -> MutexGuard<'_, Inner> {
        self.service.lock()
    }

    pub fn count(&self, call: &str) -> u32 {
        self.state().calls.get(call).copied().unwrap_or(0)
    }

    /// Has each result changed.
    pub fn hook(&self, hook: impl FnMut(&mut Results) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Forgets everything that was stored and computed.
    pub fn clear(&self) {
        let mut state = self.state();
        state.blobs.clear();
        state.actions.clear();
        state.calls.clear();
        state.uploads.clear();
        state.failing.clear();
        state.operations.clear();
        state.hook = None;
    }
}

pub fn status(code: Code, message: &str) -> rpc::Status {
    rpc::Status { code: code as i32, message: message.to_owned(), details: Vec::new() }
}

pub(super) fn digest(bytes: &[u8]) -> api::Digest {
    api::Digest { hash: sha256(bytes), size_bytes: i64::try_from(bytes.len()).unwrap() }
}

fn any(message: &impl prost::Message, name: &str) -> Any {
    let type_url = format!("type.googleapis.com/{name}");
    Any { type_url, value: message.encode_to_vec() }
}

pub(super) fn state_of(name: &str, stage: i32) -> Operation {
    state_with(name, stage, "")
}

/// State of an operation with a stream of output.
pub(super) fn state_with(name: &str, stage: i32, stream: &str) -> Operation {
    let stdout_stream_name = stream.to_owned();
    let metadata =
        api::ExecuteOperationMetadata { stage, stdout_stream_name, ..Default::default() };
    let metadata = any(&metadata, "build.bazel.remote.execution.v2.ExecuteOperationMetadata");
    let metadata = Some(metadata);
    Operation { name: name.to_owned(), metadata, ..Operation::default() }
}

/// Name of the stream of an execution.
pub(super) fn stream_name(number: u32) -> String {
    format!("streams/{number}/stdout")
}

/// Details of a status that name a blob.
#[derive(Clone, PartialEq, prost::Message)]
struct PreconditionFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Violation {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    subject: String,
}

impl Service {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts a call, lets the latency pass, and fails the call if it is to fail.
    pub(super) async fn enter<T: Sync>(
        &self,
        call: &'static str,
        request: &tonic::Request<T>,
    ) -> Result<(), Status> {
        let latency = self.lock().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut state = self.lock();
        *state.calls.entry(call).or_default() += 1;
        state.headers = request
            .metadata()
            .iter()
            .filter_map(|entry| match entry {
                tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                    Some((key.to_string(), value.to_str().ok()?.to_owned()))
                }
                tonic::metadata::KeyAndValueRef::Binary(..) => None,
            })
            .collect();
        if let Some(token) = &state.token
            && state.headers.get("authorization") != Some(&format!("Bearer {token}"))
        {
            return Err(Status::unauthenticated("no token"));
        }
        match state.failing.get_mut(call) {
            Some((code, left)) if *left > 0 => {
                *left -= 1;
                Err(Status::new(*code, "as planned"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn blob(&self, digest: Option<&api::Digest>) -> Result<Vec<u8>, api::Digest> {
        let digest = digest.cloned().unwrap_or_default();
        self.lock().blobs.get(&digest.hash).cloned().ok_or(digest)
    }

    pub(super) fn put(&self, bytes: &[u8]) -> api::Digest {
        let digest = digest(bytes);
        self.lock().blobs.insert(digest.hash.clone(), bytes.to_vec());
        digest
    }

    fn stage(&self, folder: &Path, directory: &api::Directory) -> Result<(), api::Digest> {
        std::fs::create_dir_all(folder).unwrap();
        for file in &directory.files {
            let path = folder.join(&file.name);
            std::fs::write(&path, self.blob(file.digest.as_ref())?).unwrap();
            let mode = if file.is_executable { 0o755 } else { 0o644 };
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        for below in &directory.directories {
            let message = self.blob(below.digest.as_ref())?;
            let message = api::Directory::decode(message.as_slice()).unwrap();
            self.stage(&folder.join(&below.name), &message)?;
        }
        Ok(())
    }

    /// Runs an action in a folder of its own.
    fn run(&self, action: &api::Digest, number: u32) -> Result<Results, api::Digest> {
        let message = self.blob(Some(action))?;
        let message = api::Action::decode(message.as_slice()).unwrap();
        let command = self.blob(message.command_digest.as_ref())?;
        let command = api::Command::decode(command.as_slice()).unwrap();
        let root = self.blob(message.input_root_digest.as_ref())?;
        let root = api::Directory::decode(root.as_slice()).unwrap();
        self.lock().command = command.clone();
        self.lock().platform = message.platform.unwrap_or_default();
        let folder = self.folder.join(format!("action-{number}"));
        self.stage(&folder, &root)?;
        if let Some(files) = self.lock().replay.clone() {
            std::fs::remove_dir_all(&folder).unwrap();
            return Ok(Results { files, exit_code: 0, status: None });
        }
        // The executable under test, so that no test copies a large one.
        let mut child = Command::new(binary())
            .args(&command.arguments[1..])
            .current_dir(&folder)
            .env_clear()
            .env("MKPANDA_HOME", self.folder.join("node"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.keep_output(&stream_name(number), child.stdout.take().unwrap());
        let ended = child.wait().unwrap();
        let mut files = BTreeMap::new();
        for path in &command.output_paths {
            if let Ok(bytes) = std::fs::read(folder.join(path)) {
                files.insert(path.clone(), bytes);
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let exit_code = ended.code().unwrap_or(137);
        Ok(Results { files, exit_code, status: None })
    }

    /// Takes the output of an execution, to its end.
    fn keep_output(&self, name: &str, mut output: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            let count = output.read(&mut buffer).unwrap();
            let mut state = self.lock();
            let (bytes, is_over) = state.streams.entry(name.to_owned()).or_default();
            bytes.extend(&buffer[..count]);
            *is_over = count == 0;
            if count == 0 {
                return;
            }
        }
    }

    pub(super) fn execute_now(&self, action: &api::Digest, name: &str, number: u32) -> Operation {
        {
            let mut state = self.lock();
            if state.forgets > 0 {
                state.forgets -= 1;
                state.blobs.clear();
            }
        }
        let results = self.run(action, number);
        self.end(action, name, number, results)
    }

    /// End of an operation.
    pub(super) fn end(
        &self,
        action: &api::Digest,
        name: &str,
        number: u32,
        results: Result<Results, api::Digest>,
    ) -> Operation {
        let mut response = api::ExecuteResponse::default();
        match results {
            Err(lost) => {
                let mut said = status(Code::FailedPrecondition, "inputs are missing");
                if self.lock().names_missing {
                    let subject = format!("blobs/{}/{}", lost.hash, lost.size_bytes);
                    let violation = Violation { kind: "MISSING".to_owned(), subject };
                    let failure = PreconditionFailure { violations: vec![violation] };
                    said.details.push(any(&failure, "google.rpc.PreconditionFailure"));
                } else {
                    said.code = Code::Internal as i32;
                }
                response.status = Some(said);
            }
            Ok(mut results) => {
                if let Some(hook) = &mut self.lock().hook {
                    hook(&mut results);
                }
                let files = results.files.iter().map(|(path, bytes)| api::OutputFile {
                    path: path.clone(),
                    digest: Some(self.put(bytes)),
                    ..api::OutputFile::default()
                });
                let result = api::ActionResult {
                    output_files: files.collect(),
                    exit_code: results.exit_code,
                    stderr_raw: b"last words of the worker\n".to_vec(),
                    execution_metadata: Some(api::ExecutedActionMetadata {
                        worker: format!("w{number}"),
                        ..Default::default()
                    }),
                    ..api::ActionResult::default()
                };
                let mut state = self.lock();
                if results.exit_code == 0 || state.caches_failures {
                    state.actions.insert(action.hash.clone(), result.clone());
                }
                response.result = Some(result);
                response.status = results.status;
            }
        }
        let mut operation = state_of(name, 4);
        operation.done = true;
        let response = any(&response, "build.bazel.remote.execution.v2.ExecuteResponse");
        operation.result = Some(operation::Result::Response(response));
        operation
    }
}
