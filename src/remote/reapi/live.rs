//! Output of a job while it runs: a stream that some engines name in the states of the operation.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use bazel_remote_apis::google::bytestream::ReadRequest;
use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use futures_util::future::{Either, select};
use tokio::sync::watch::Receiver;
use tonic::Status;

use super::call::Calls;
use super::connection::LARGEST_MESSAGE;
use crate::runner::follow::OutputLines;

/// Time for the rest of a stream after the end of its job.
const REST: Duration = Duration::from_secs(2);

/// Delay before a stream that broke off, or is not there yet, is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Number of attempts in which nothing comes.
const ATTEMPTS: u32 = 20;

impl Calls<'_> {
    /// Shows the streams that are named, each from the time at which it is named, until nobody names more. Sets
    /// `shown` once a part of one is shown. A stream is a help and no result: its faults are passed over.
    pub(super) async fn show_output(&self, mut names: Receiver<String>, shown: &Cell<bool>) {
        let mut name = names.borrow_and_update().clone();
        loop {
            let (is_over, is_named) = {
                let changed = pin!(names.changed());
                if name.is_empty() {
                    let changed = changed.await;
                    (changed.is_err(), changed.is_ok())
                } else {
                    match select(changed, pin!(self.show_stream(&name, shown))).await {
                        Either::Left((Ok(()), _earlier)) => (false, true),
                        Either::Left((Err(_over), stream)) => {
                            drop(tokio::time::timeout(REST, stream).await);
                            (true, false)
                        }
                        Either::Right(((), _changed)) => (false, false),
                    }
                }
            };
            if is_over {
                return;
            }
            name = if is_named { names.borrow_and_update().clone() } else { String::new() };
        }
    }

    /// Shows a stream to its end.
    async fn show_stream(&self, name: &str, shown: &Cell<bool>) {
        let subject = self.task.request.package.id.to_string();
        let mut lines = OutputLines::new(&subject, self.task.observer);
        let (limit, mut bytes, mut failed) = (self.task.request.package.log_limit, 0, 0);
        while failed < ATTEMPTS {
            let before = bytes;
            let read = async {
                let request = self.request(ReadRequest {
                    resource_name: name.to_owned(),
                    read_offset: i64::try_from(bytes).unwrap_or(i64::MAX),
                    read_limit: 0,
                });
                let mut client = ByteStreamClient::new(self.channel.clone())
                    .max_decoding_message_size(LARGEST_MESSAGE);
                let mut pieces = client.read(request).await?.into_inner();
                while let Some(piece) = pieces.message().await?.filter(|_piece| bytes < limit) {
                    bytes += piece.data.len() as u64;
                    shown.set(true);
                    lines.add(&piece.data);
                }
                Ok::<_, Status>(())
            };
            let Err(error) = read.await else { break };
            tracing::debug!(%error, name, "a stream of output broke off");
            failed = if bytes > before { 0 } else { failed + 1 };
            tokio::time::sleep(AGAIN).await;
        }
    }
}
