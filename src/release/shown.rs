//! A plan for people, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::artifact::ArtifactContent;
use super::plan::{ReleaseOperation, ReleasePlan, ReleaseStage, ReleaseTarget};
use super::storage::{Storage, Storages};
use crate::store::NO_CACHE;

/// Lines for people: storages, then every object of each stage in order.
pub fn plan_text(plan: &ReleasePlan, storages: &Storages) -> String {
    let mut text =
        format!("release of {} to {}\n", plan.location.commit(), plan.location.channel_path());
    for storage in &storages.all {
        let Storage { name, kind, url, .. } = storage;
        let state = storage.unwritten.map(|why| format!("; nothing is stored: {why}"));
        _ = writeln!(text, "storage {name}: {kind} {url}{}", state.unwrap_or_default());
    }
    for (number, stage) in plan.stages.iter().enumerate() {
        _ = writeln!(text, "stage {}: {} objects", number + 1, stage.operations().count());
        for operation in stage.operations() {
            _ = writeln!(text, "  {}", line(operation));
        }
    }
    text
}

fn line(operation: &ReleaseOperation) -> String {
    let ReleaseOperation { key, content_type, source, .. } = operation;
    let from = match source {
        ArtifactContent::Stored { from, .. } => format!("copy {key} from {from}"),
        ArtifactContent::File(path) => format!("put  {key} from {}", path.display()),
        ArtifactContent::Bytes(bytes) => format!("put  {key} ({} bytes)", bytes.len()),
        ArtifactContent::Signature(signature) => {
            format!("put  {key} ({} bytes)", signature.text.len())
        }
    };
    let kind = content_type.as_ref().map(|kind| format!(", {kind}")).unwrap_or_default();
    let kept = if operation.is_reproducible() { ", unless it is there" } else { ", no-cache" };
    format!("{from}{kind}{kept}")
}

/// The same as JSON.
pub fn plan_json(plan: &ReleasePlan, storages: &Storages) -> Value {
    let storages: Vec<Value> = storages
        .all
        .iter()
        .map(|storage| {
            json!({
                "name": storage.name,
                "kind": storage.kind,
                "url": storage.url,
                "written": storage.unwritten.is_none(),
                "reason": storage.unwritten,
            })
        })
        .collect();
    let stages: Vec<Vec<Value>> = plan
        .stages
        .iter()
        .map(|stage: &ReleaseStage| stage.operations().map(object).collect())
        .collect();
    json!({
        "commit": plan.location.commit(),
        "channel": plan.location.channel_path(),
        "release": plan.location.release_path(),
        "storages": storages,
        "stages": stages,
    })
}

fn object(operation: &ReleaseOperation) -> Value {
    let (copy_from, file, bytes) = match &operation.source {
        ArtifactContent::Stored { from, .. } => (Some(from), None, None),
        ArtifactContent::File(path) => (None, Some(path), None),
        ArtifactContent::Bytes(bytes) => (None, None, Some(bytes.len())),
        ArtifactContent::Signature(signature) => (None, None, Some(signature.text.len())),
    };
    json!({
        "key": operation.key,
        "target": operation.target,
        "method": if copy_from.is_some() { "copy" } else { "put" },
        "copy_from": copy_from,
        "file": file,
        "bytes": bytes,
        "content_type": operation.content_type,
        "cache_control": (operation.target != ReleaseTarget::Repository).then_some(NO_CACHE),
        "if_not_exists": operation.is_reproducible(),
    })
}
