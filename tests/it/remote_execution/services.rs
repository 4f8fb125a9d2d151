//! The services of the engine.

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::longrunning::Operation;
use tokio::sync::watch;
use tonic::Status;

use super::engine::{Service, digest, state_of, state_with, stream_name};
use crate::support::sha256;

type Reply<T> = Result<tonic::Response<T>, Status>;
type Stream<T> = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

#[expect(clippy::unnecessary_wraps, reason = "the answer of every call")]
fn reply<T>(message: T) -> Reply<T> {
    Ok(tonic::Response::new(message))
}

fn none<T>() -> Reply<T> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl api::capabilities_server::Capabilities for Service {
    async fn get_capabilities(
        &self,
        request: tonic::Request<api::GetCapabilitiesRequest>,
    ) -> Reply<api::ServerCapabilities> {
        self.enter("GetCapabilities", &request).await?;
        reply(self.lock().capabilities.clone())
    }
}

#[tonic::async_trait]
impl api::action_cache_server::ActionCache for Service {
    async fn get_action_result(
        &self,
        request: tonic::Request<api::GetActionResultRequest>,
    ) -> Reply<api::ActionResult> {
        self.enter("GetActionResult", &request).await?;
        let digest = request.into_inner().action_digest.unwrap_or_default();
        let found = self.lock().actions.get(&digest.hash).cloned();
        found.map_or_else(|| Err(Status::not_found("no result")), reply)
    }

    async fn update_action_result(
        &self,
        _request: tonic::Request<api::UpdateActionResultRequest>,
    ) -> Reply<api::ActionResult> {
        none()
    }
}

#[tonic::async_trait]
impl api::content_addressable_storage_server::ContentAddressableStorage for Service {
    type GetTreeStream = Stream<api::GetTreeResponse>;
    type GetChunkMappingStream = Stream<api::GetChunkMappingResponse>;

    async fn find_missing_blobs(
        &self,
        request: tonic::Request<api::FindMissingBlobsRequest>,
    ) -> Reply<api::FindMissingBlobsResponse> {
        self.enter("FindMissingBlobs", &request).await?;
        let state = self.lock();
        let mut missing_blob_digests = request.into_inner().blob_digests;
        missing_blob_digests.retain(|digest| !state.blobs.contains_key(&digest.hash));
        reply(api::FindMissingBlobsResponse { missing_blob_digests })
    }

    async fn batch_update_blobs(
        &self,
        request: tonic::Request<api::BatchUpdateBlobsRequest>,
    ) -> Reply<api::BatchUpdateBlobsResponse> {
        self.enter("BatchUpdateBlobs", &request).await?;
        let mut responses = Vec::new();
        for one in request.into_inner().requests {
            assert_eq!(Some(&digest(&one.data)), one.digest.as_ref());
            *self.lock().uploads.entry(sha256(&one.data)).or_default() += 1;
            let digest = Some(self.put(&one.data));
            responses.push(api::batch_update_blobs_response::Response { digest, status: None });
        }
        reply(api::BatchUpdateBlobsResponse { responses })
    }

    async fn batch_read_blobs(
        &self,
        _request: tonic::Request<api::BatchReadBlobsRequest>,
    ) -> Reply<api::BatchReadBlobsResponse> {
        none()
    }

    async fn get_tree(
        &self,
        _request: tonic::Request<api::GetTreeRequest>,
    ) -> Reply<Self::GetTreeStream> {
        none()
    }

    async fn split_blob(
        &self,
        _request: tonic::Request<api::SplitBlobRequest>,
    ) -> Reply<api::SplitBlobResponse> {
        none()
    }

    async fn get_chunk_mapping(
        &self,
        _request: tonic::Request<api::GetChunkMappingRequest>,
    ) -> Reply<Self::GetChunkMappingStream> {
        none()
    }

    async fn splice_blob(
        &self,
        _request: tonic::Request<api::SpliceBlobRequest>,
    ) -> Reply<api::SpliceBlobResponse> {
        none()
    }

    async fn register_chunk_mapping(
        &self,
        _request: tonic::Request<tonic::Streaming<api::RegisterChunkMappingRequest>>,
    ) -> Reply<api::RegisterChunkMappingResponse> {
        none()
    }
}

#[tonic::async_trait]
impl bazel_remote_apis::google::bytestream::byte_stream_server::ByteStream for Service {
    type ReadStream = Stream<bazel_remote_apis::google::bytestream::ReadResponse>;

    async fn read(
        &self,
        request: tonic::Request<bazel_remote_apis::google::bytestream::ReadRequest>,
    ) -> Reply<Self::ReadStream> {
        self.enter("ByteStream.Read", &request).await?;
        let request = request.into_inner();
        if request.resource_name.starts_with("streams/") {
            return reply(self.stream(request.resource_name));
        }
        let hash = request.resource_name.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let Some(bytes) = self.lock().blobs.get(&hash).cloned() else {
            return Err(Status::not_found("no such blob"));
        };
        let from = usize::try_from(request.read_offset).unwrap();
        let pieces: Vec<_> = bytes[from..]
            .chunks(10_000)
            .map(|piece| {
                Ok(bazel_remote_apis::google::bytestream::ReadResponse { data: piece.to_vec() })
            })
            .collect();
        reply(Box::pin(futures_util::stream::iter(pieces)))
    }

    async fn write(
        &self,
        request: tonic::Request<
            tonic::Streaming<bazel_remote_apis::google::bytestream::WriteRequest>,
        >,
    ) -> Reply<bazel_remote_apis::google::bytestream::WriteResponse> {
        self.enter("ByteStream.Write", &request).await?;
        let mut pieces = request.into_inner();
        let (mut name, mut bytes, mut is_whole) = (String::new(), Vec::new(), false);
        while let Some(piece) = pieces.message().await? {
            if name.is_empty() {
                name = piece.resource_name;
            }
            assert_eq!(usize::try_from(piece.write_offset).unwrap(), bytes.len());
            bytes.extend(piece.data);
            is_whole |= piece.finish_write;
        }
        let hash = name.rsplit('/').nth(1).unwrap_or_default();
        if !is_whole || sha256(&bytes) != hash {
            return Err(Status::invalid_argument("other bytes than the name says"));
        }
        *self.lock().uploads.entry(hash.to_owned()).or_default() += 1;
        let committed_size = self.put(&bytes).size_bytes;
        reply(bazel_remote_apis::google::bytestream::WriteResponse { committed_size })
    }

    async fn query_write_status(
        &self,
        _request: tonic::Request<bazel_remote_apis::google::bytestream::QueryWriteStatusRequest>,
    ) -> Reply<bazel_remote_apis::google::bytestream::QueryWriteStatusResponse> {
        none()
    }
}

impl Service {
    /// Output of an execution, as it comes.
    fn stream(&self, name: String) -> Stream<bazel_remote_apis::google::bytestream::ReadResponse> {
        let next = |(service, name, from): (Self, String, usize)| async move {
            loop {
                let (bytes, is_over) =
                    service.lock().streams.get(&name).cloned().unwrap_or_default();
                if bytes.len() > from {
                    let data = bytes[from..].to_vec();
                    let piece = bazel_remote_apis::google::bytestream::ReadResponse { data };
                    return Some((Ok(piece), (service, name, bytes.len())));
                }
                if is_over {
                    return None;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        Box::pin(futures_util::stream::unfold((self.clone(), name, 0), next))
    }

    /// States of an operation from now on.
    fn follow(&self, name: &str, states: watch::Receiver<Operation>) -> Stream<Operation> {
        let is_short = {
            let mut state = self.lock();
            let is_short = state.short_streams > 0;
            state.short_streams = state.short_streams.saturating_sub(1);
            is_short
        };
        let next = |(mut states, is_first, is_over): (watch::Receiver<Operation>, bool, bool)| async move {
            if is_over || (!is_first && states.changed().await.is_err()) {
                return None;
            }
            let state = states.borrow_and_update().clone();
            let is_done = state.done;
            Some((Ok(state), (states, false, is_done)))
        };
        let all = futures_util::stream::unfold((states, true, false), next);
        if is_short {
            return Box::pin(futures_util::stream::iter([Ok(state_of(name, 3))]));
        }
        Box::pin(all)
    }
}

#[tonic::async_trait]
impl api::execution_server::Execution for Service {
    type ExecuteStream = Stream<Operation>;
    type WaitExecutionStream = Stream<Operation>;

    async fn execute(
        &self,
        request: tonic::Request<api::ExecuteRequest>,
    ) -> Reply<Self::ExecuteStream> {
        self.enter("Execute", &request).await?;
        let action = request.into_inner().action_digest.unwrap_or_default();
        let (number, is_stuck) = {
            let mut state = self.lock();
            state.count += 1;
            let is_stuck = state.stuck > 0;
            state.stuck = state.stuck.saturating_sub(1);
            (state.count, is_stuck)
        };
        let name = format!("operations/{number}");
        let (sender, states) = watch::channel(state_of(&name, 2));
        self.lock().operations.insert(name.clone(), states.clone());
        let (service, operation) = (self.clone(), name.clone());
        let is_simulated = self.lock().simulation.is_some();
        if is_simulated {
            tokio::spawn(service.simulate(action, operation, number, sender));
            return reply(self.follow(&name, states));
        }
        std::thread::spawn(move || {
            let name = operation;
            if is_stuck {
                while !sender.is_closed() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                return;
            }
            let is_named = service.lock().names_streams;
            let stream = if is_named { stream_name(number) } else { String::new() };
            sender.send_replace(state_with(&name, 3, &stream));
            let end = service.execute_now(&action, &name, number);
            sender.send_replace(end);
            while !sender.is_closed() && service.lock().operations.contains_key(&name) {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        reply(self.follow(&name, states))
    }

    async fn wait_execution(
        &self,
        request: tonic::Request<api::WaitExecutionRequest>,
    ) -> Reply<Self::WaitExecutionStream> {
        self.enter("WaitExecution", &request).await?;
        let name = request.into_inner().name;
        let states = self.lock().operations.get(&name).cloned();
        let states = states.ok_or_else(|| Status::not_found("no such operation"))?;
        reply(self.follow(&name, states))
    }
}

#[tonic::async_trait]
impl bazel_remote_apis::google::longrunning::operations_server::Operations for Service {
    async fn list_operations(
        &self,
        _request: tonic::Request<bazel_remote_apis::google::longrunning::ListOperationsRequest>,
    ) -> Reply<bazel_remote_apis::google::longrunning::ListOperationsResponse> {
        none()
    }

    async fn get_operation(
        &self,
        _request: tonic::Request<bazel_remote_apis::google::longrunning::GetOperationRequest>,
    ) -> Reply<Operation> {
        none()
    }

    async fn delete_operation(
        &self,
        _request: tonic::Request<bazel_remote_apis::google::longrunning::DeleteOperationRequest>,
    ) -> Reply<bazel_remote_apis::google::protobuf::Empty> {
        none()
    }

    async fn cancel_operation(
        &self,
        request: tonic::Request<bazel_remote_apis::google::longrunning::CancelOperationRequest>,
    ) -> Reply<bazel_remote_apis::google::protobuf::Empty> {
        self.enter("CancelOperation", &request).await?;
        self.lock().cancelled.push(request.into_inner().name);
        reply(bazel_remote_apis::google::protobuf::Empty::default())
    }

    async fn wait_operation(
        &self,
        _request: tonic::Request<bazel_remote_apis::google::longrunning::WaitOperationRequest>,
    ) -> Reply<Operation> {
        none()
    }
}
