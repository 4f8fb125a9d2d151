//! Copies within a bucket, which the store makes.
//!
//! Azure may answer that a copy is under way. The object has its name then, but not its content, and a
//! copy that fails leaves an empty object. So the object is asked for until `x-ms-copy-status` says that
//! the copy has ended, and no reader takes an object whose copy has not succeeded (`wire`).

use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, GetOptions};

use super::connected::ConnectedStore;
use super::error::CloudError;
use super::operation::{CloudFailure, CloudOperation};

/// Largest object that S3 copies in one request: 5 GiB. Others, too, copy that much at once.
pub(super) const LARGEST_COPY: u64 = 5 << 30;
/// Interval between two questions for the state of a copy.
const POLL: Duration = Duration::from_millis(500);
/// The least time without progress after which a copy is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Result of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// The store has the copy.
    Done,
    /// The store had an object of the new name.
    Taken,
    /// The store cannot copy an object of the size, or under the condition.
    Unsupported,
}

/// Copies an object.
pub(super) fn copy(
    operation: &CloudOperation<'_>,
    store: &ConnectedStore,
    [from, to]: [&Path; 2],
    mode: CopyMode,
) -> Result<Copied, CloudFailure> {
    let options = CopyOptions { mode, ..CopyOptions::default() };
    let copy = async || store.objects.copy_opts(from, to, options.clone()).await;
    let result = match operation.run(operation.ask(copy)) {
        Err(CloudFailure::Copying(progress)) => wait(operation, store, to, progress),
        result => result.map(|()| Copied::Done),
    };
    match result {
        Ok(copied) => Ok(copied),
        // The operation's key is that of the original, which has to stay.
        Err(CloudFailure::Lasting(CloudError::NotCopied { server, reason, .. })) => {
            let left = Some(to.clone());
            Err(CloudFailure::Lasting(CloudError::NotCopied { server, reason, left }))
        }
        Err(CloudFailure::Taken) if mode == CopyMode::Create => Ok(Copied::Taken),
        Err(CloudFailure::Lasting(CloudError::Answer { answer, .. }))
            if mode == CopyMode::Create && answer.is_unknown() =>
        {
            Ok(Copied::Unsupported)
        }
        Err(failure) => Err(failure),
    }
}

/// Waits for the end of a copy.
fn wait(
    operation: &CloudOperation<'_>,
    store: &ConnectedStore,
    to: &Path,
    mut progress: String,
) -> Result<Copied, CloudFailure> {
    let most = operation.options.stall_timeout.max(STALLED);
    let mut changed = Instant::now();
    loop {
        let head = async || {
            tokio::time::sleep(POLL).await;
            let options = GetOptions { head: true, ..GetOptions::default() };
            store.objects.get_opts(to, options).await
        };
        match operation.run(operation.ask(head)) {
            Ok(_) => return Ok(Copied::Done),
            Err(CloudFailure::Copying(now)) if now != progress => {
                (progress, changed) = (now, Instant::now());
            }
            Err(CloudFailure::Copying(_)) if changed.elapsed() < most => {}
            Err(CloudFailure::Copying(_)) => {
                let seconds = most.as_secs();
                let reason = format!("the store made no progress with the copy for {seconds} s");
                return Err(CloudFailure::Lasting(CloudError::GaveUp { attempts: 1, reason }));
            }
            Err(failure) => return Err(failure),
        }
    }
}
