//! Calls of an engine for one package: repeated until it answers, each with a deadline.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::longrunning::operations_client::OperationsClient;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::connection::LARGEST_MESSAGE;
use super::error::{CallError, ReapiError};
use super::settings::ReapiSettings;
use crate::base::event::Event;
use crate::build::elsewhere::ElsewhereTask;

/// Deadline of a call that moves few bytes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Longest time without progress of a call that moves many.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// First delay before another attempt.
const FIRST: Duration = Duration::from_millis(100);

/// Longest delay.
const LONGEST: Duration = Duration::from_secs(5);

/// Attempts of a call that is answered, with an error that may pass.
const ATTEMPTS: u32 = 6;

/// Attempts of a call that is not answered, whatever time they take: an upload may take long.
const ATTEMPTS_AWAY: u32 = 3;

/// Calls for one package.
pub(super) struct Calls<'a> {
    pub(super) channel: Channel,
    /// Connection to the storage and the cache.
    pub(super) storage: Channel,
    /// Connection of the execution.
    pub(super) executing: Channel,
    pub(super) settings: &'a ReapiSettings,
    pub(super) task: &'a ElsewhereTask<'a>,
    pub(super) metadata: MetadataMap,
    /// True while the engine is away: said once.
    pub(super) away: &'a AtomicBool,
}

/// Patience with a call: the attempts so far.
pub(super) struct Attempts {
    /// Time of the first failure.
    since: Option<Instant>,
    failed: u32,
    answered: u32,
    delay: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { since: None, failed: 0, answered: 0, delay: FIRST }
    }
}

impl Attempts {
    /// Begins to count anew.
    pub(super) fn progressed(&mut self) {
        *self = Self::default();
    }
}

impl Calls<'_> {
    pub(super) fn cas(
        &self,
    ) -> api::content_addressable_storage_client::ContentAddressableStorageClient<Channel> {
        api::content_addressable_storage_client::ContentAddressableStorageClient::new(
            self.storage.clone(),
        )
        .max_decoding_message_size(LARGEST_MESSAGE)
    }

    pub(super) fn cache(&self) -> api::action_cache_client::ActionCacheClient<Channel> {
        api::action_cache_client::ActionCacheClient::new(self.storage.clone())
            .max_decoding_message_size(LARGEST_MESSAGE)
    }

    /// Address for a call.
    fn address(&self, call: &str) -> &str {
        let of_engine = ["Execute", "WaitExecution", "GetCapabilities"].contains(&call);
        let cache = self.settings.cache.as_ref().filter(|_address| !of_engine);
        cache.unwrap_or(&self.settings.address)
    }

    pub(super) fn execution(&self) -> api::execution_client::ExecutionClient<Channel> {
        api::execution_client::ExecutionClient::new(self.executing.clone())
            .max_decoding_message_size(LARGEST_MESSAGE)
    }

    pub(super) fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    pub(super) fn bytes(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.storage.clone()).max_decoding_message_size(LARGEST_MESSAGE)
    }

    /// A request with the metadata of the package.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), tonic::Extensions::default(), message)
    }

    /// Reports a warning on the package.
    pub(super) fn warn(&self, message: String) {
        let subject = self.task.request.package.id.to_string();
        self.task.observer.event(Event::Warning { subject, message });
    }

    /// Calls until the engine answers.
    pub(super) async fn call<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        call: &'static str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ReapiError> {
        let mut attempts = Attempts::default();
        loop {
            let answer = tokio::time::timeout(DEADLINE, attempt()).await;
            let status = match answer {
                Ok(Ok(answer)) => {
                    self.answered();
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => stalled(DEADLINE),
            };
            self.again(&mut attempts, CallError::of(call, &status)).await?;
        }
    }

    /// Notes that the engine answers.
    pub(super) fn answered(&self) {
        self.away.store(false, Ordering::Relaxed);
    }

    /// Waits before another attempt; an error if there is none.
    pub(super) async fn again(
        &self,
        attempts: &mut Attempts,
        error: CallError,
    ) -> Result<(), ReapiError> {
        if !error.may_pass() {
            self.answered();
            return Err(error.into());
        }
        let after = attempts.since.get_or_insert_with(Instant::now).elapsed();
        attempts.failed += 1;
        if !error.is_away() {
            attempts.answered += 1;
            if attempts.answered >= ATTEMPTS {
                return Err(error.into());
            }
        } else if after > self.settings.patience && attempts.failed >= ATTEMPTS_AWAY {
            return Err(ReapiError::Away { after, source: error });
        } else if after > LONGEST.min(self.settings.patience / 4)
            && !self.away.swap(true, Ordering::Relaxed)
        {
            self.warn(format!(
                "the engine at {} does not answer ({error}); it is asked again until it answers",
                self.address(error.call)
            ));
        }
        tokio::time::sleep(attempts.delay.min(self.settings.patience / 4)).await;
        attempts.delay = (attempts.delay * 2).min(LONGEST);
        Ok(())
    }
}

/// Status of a call that comes to no end.
pub(super) fn stalled(after: Duration) -> Status {
    Status::new(Code::DeadlineExceeded, format!("nothing came for {} s", after.as_secs()))
}

/// Waits for a call that moves bytes, as long as it moves some.
pub(super) async fn by_progress<T>(
    moved: &AtomicU64,
    call: impl Future<Output = T>,
) -> Result<T, Status> {
    let mut call = std::pin::pin!(call);
    loop {
        let before = moved.load(Ordering::Relaxed);
        match tokio::time::timeout(STALL, call.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_elapsed) if moved.load(Ordering::Relaxed) == before => return Err(stalled(STALL)),
            Err(_elapsed) => {}
        }
    }
}
