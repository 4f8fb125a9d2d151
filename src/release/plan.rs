//! Plan of a release: every object to store, in order. Planning stores nothing.
//!
//! Stage 1 stores reproducible artifacts, and artifacts of the channel under the commit. Stage 2 copies the
//! latter to the channel, within each storage. `metadata.json` is the last of each stage.

use std::collections::BTreeSet;

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact, content_type};
use super::layout::{LayoutError, ReleaseLocation};
use super::metadata::{METADATA, Metadata};
use crate::store::{About, ObjectKey};

/// Part of a repository that has an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseTarget {
    /// In the repository, for all channels.
    Repository,
    /// Under the commit.
    Release,
    /// In the channel.
    Channel,
}

/// Storing of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseOperation {
    /// Key of the object.
    pub key: ObjectKey,
    /// Part of the repository that has the object.
    pub target: ReleaseTarget,
    /// Content.
    pub source: ArtifactContent,
    /// Content type, if stated.
    pub content_type: Option<String>,
    /// Meaning of an existing object.
    pub existing: ExistingObject,
}

impl ReleaseOperation {
    /// True if an existing object is left alone.
    pub fn is_reproducible(&self) -> bool {
        self.target == ReleaseTarget::Repository
    }

    /// True if an object of the name serves, with any content.
    pub fn serves(&self) -> bool {
        self.is_reproducible() && self.existing == ExistingObject::Serves
    }

    /// Description for the store.
    pub fn about(&self) -> About<'_> {
        About {
            content_type: self.content_type.as_deref(),
            is_uncached: !self.is_reproducible(),
            ..About::default()
        }
    }
}

/// Stage of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseStage {
    /// Operations of each artifact, in order of execution.
    pub artifacts: Vec<Vec<ReleaseOperation>>,
    /// The last operation.
    pub metadata: ReleaseOperation,
}

impl ReleaseStage {
    /// All operations in order.
    pub fn operations(&self) -> impl Iterator<Item = &ReleaseOperation> {
        self.artifacts.iter().flatten().chain([&self.metadata])
    }
}

/// Plan of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePlan {
    /// Place of the release.
    pub location: ReleaseLocation,
    /// Text of `metadata.json`.
    pub metadata: String,
    /// The stages.
    pub stages: [ReleaseStage; 2],
}

/// Artifacts do not make a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A path is not valid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Two artifacts have the same path.
    #[error("two artifacts of the release have the path {0}")]
    SamePath(ObjectKey),
    /// The path of an artifact is that of a folder.
    #[error("{0} would be an artifact of the release, and the folder of another one")]
    Folder(ObjectKey),
    /// An artifact of a channel lies in a folder for other files.
    #[error("the artifact {0} would lie in a folder of the repository for other files")]
    Shared(ObjectKey),
}

impl ReleasePlan {
    /// Makes the plan of artifacts that `metadata` describes, in their order.
    pub fn new(
        location: ReleaseLocation,
        metadata: &Metadata,
        artifacts: &[ReleaseArtifact],
    ) -> Result<Self, PlanError> {
        let text = metadata.text();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, artifact) in artifacts.iter().enumerate() {
            // Two trees may have one bootstrap.
            if artifact.channel_path.is_none() && artifacts[..number].contains(artifact) {
                continue;
            }
            let (operations, copies) = operations(&location, artifact)?;
            // In one piece: the copies of an artifact come after the object that they are copied
            // from.
            first.push(operations);
            second.extend(copies.map(|copy| vec![copy]));
        }
        let path = METADATA.parse().map_err(LayoutError::from)?;
        let source = ArtifactContent::Bytes(text.clone().into_bytes());
        let artifact = ReleaseArtifact::of_channel(path, Some(content_type::JSON), source);
        let (mut operation, copy) = operations(&location, &artifact)?;
        let (Some(last), Some(copy)) = (operation.pop(), copy) else {
            unreachable!("an artifact of a channel has two objects")
        };
        let stages = [
            ReleaseStage { artifacts: first, metadata: last },
            ReleaseStage { artifacts: second, metadata: copy },
        ];
        let plan = Self { location, metadata: text, stages };
        plan.check_keys()?;
        Ok(plan)
    }

    /// Refuses duplicate keys, and keys that are folders of others.
    fn check_keys(&self) -> Result<(), PlanError> {
        let mut keys = BTreeSet::new();
        for operation in self.stages.iter().flat_map(ReleaseStage::operations) {
            if !keys.insert(operation.key.as_str()) {
                return Err(PlanError::SamePath(operation.key.clone()));
            }
        }
        let all = || {
            self.stages.iter().flat_map(ReleaseStage::operations).map(|operation| &operation.key)
        };
        for key in all() {
            // In a folder on disk, one name cannot be a file and a folder; in a bucket it could,
            // and the storages would differ.
            let folder = format!("{key}/");
            let below = keys.range(folder.as_str()..).next();
            if below.is_some_and(|other| other.starts_with(&folder)) {
                return Err(PlanError::Folder(key.clone()));
            }
        }
        Ok(())
    }
}

/// Operations of stage 1, and the copy of stage 2.
fn operations(
    location: &ReleaseLocation,
    artifact: &ReleaseArtifact,
) -> Result<(Vec<ReleaseOperation>, Option<ReleaseOperation>), PlanError> {
    let make = |key: ObjectKey, target: ReleaseTarget, source: ArtifactContent| ReleaseOperation {
        key,
        target,
        source,
        content_type: artifact.content_type.clone(),
        existing: artifact.existing,
    };
    let mut stored: Option<ObjectKey> = None;
    // The first object is uploaded, each further one a copy of it within the storage.
    let mut source = |key: &ObjectKey| match stored.get_or_insert_with(|| key.clone()) {
        from if from == key => artifact.source.clone(),
        from => ArtifactContent::Stored {
            from: from.clone(),
            otherwise: Box::new(artifact.source.clone()),
        },
    };
    let (mut first, mut second) = (Vec::new(), None);
    if let Some(path) = &artifact.reproducible_path {
        let key = location.reproducible(path)?;
        let from = source(&key);
        first.push(make(key, ReleaseTarget::Repository, from));
    }
    if let Some(path) = &artifact.channel_path {
        if super::layout::is_shared(path.as_str()) {
            return Err(PlanError::Shared(path.clone()));
        }
        let (release, channel) = (location.of_release(path)?, location.of_channel(path)?);
        let from = source(&release);
        first.push(make(release.clone(), ReleaseTarget::Release, from));
        let from = source(&channel);
        second = Some(make(channel, ReleaseTarget::Channel, from));
    }
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        text.parse().unwrap()
    }

    fn location(channel: Option<&str>) -> ReleaseLocation {
        ReleaseLocation::new("testing", channel, "c0ffee".parse().unwrap()).unwrap()
    }

    fn metadata() -> Metadata {
        let text = include_bytes!("../../tests/data/release/metadata.json");
        Metadata::parse(text).unwrap()
    }

    fn bytes(text: &str) -> ArtifactContent {
        ArtifactContent::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn objects_and_their_order_are_the_originals() {
        let both = ReleaseArtifact {
            reproducible_path: Some(key("packages/c/c--setup.dcos_config")),
            ..ReleaseArtifact::of_channel(key("c"), None, bytes("c"))
        };
        let artifacts = [
            ReleaseArtifact::reproducible(key("bootstrap/b"), bytes("b"), ExistingObject::Serves),
            ReleaseArtifact::of_channel(key("version"), Some(content_type::TEXT), bytes("1")),
            both,
        ];
        let plan = ReleasePlan::new(location(Some("master")), &metadata(), &artifacts).unwrap();
        let shown = |stage: &ReleaseStage| -> Vec<String> {
            let line = |operation: &ReleaseOperation| {
                let from = match &operation.source {
                    ArtifactContent::Stored { from, .. } => format!(" <- {from}"),
                    _ => String::new(),
                };
                let about = operation.about();
                let cached = if about.is_uncached { " no-cache" } else { "" };
                let kind = about.content_type.map(|kind| format!(" {kind}")).unwrap_or_default();
                format!("{}{from}{cached}{kind}", operation.key)
            };
            stage.operations().map(line).collect()
        };
        let release = "testing/master/commit/c0ffee";
        assert_eq!(
            shown(&plan.stages[0]),
            [
                "testing/bootstrap/b".to_owned(),
                format!("{release}/version no-cache text/plain; charset=utf-8"),
                "testing/packages/c/c--setup.dcos_config".to_owned(),
                format!("{release}/c <- testing/packages/c/c--setup.dcos_config no-cache"),
                format!("{release}/metadata.json no-cache application/json; charset=utf-8"),
            ]
        );
        assert_eq!(
            shown(&plan.stages[1]),
            [
                format!(
                    "testing/master/version <- {release}/version no-cache text/plain; charset=utf-8"
                ),
                "testing/master/c <- testing/packages/c/c--setup.dcos_config no-cache".to_owned(),
                format!(
                    "testing/master/metadata.json <- {release}/metadata.json no-cache application/json; charset=utf-8"
                ),
            ]
        );
        let plan = ReleasePlan::new(location(None), &metadata(), &artifacts).unwrap();
        assert_eq!(plan.stages[1].metadata.key.as_str(), "testing/metadata.json");
    }

    #[test]
    fn paths_that_meet_are_refused() {
        let of = |path: &str| ReleaseArtifact::of_channel(key(path), None, bytes("x"));
        let plan = |artifacts: &[ReleaseArtifact]| {
            ReleasePlan::new(location(None), &metadata(), artifacts)
        };
        assert_eq!(
            plan(&[of("a"), of("a")]),
            Err(PlanError::SamePath(key("testing/commit/c0ffee/a")))
        );
        assert!(matches!(plan(&[of("metadata.json")]), Err(PlanError::SamePath(_))));
        let shared = |content: &str| {
            ReleaseArtifact::reproducible(
                key("bootstrap/b"),
                bytes(content),
                ExistingObject::Serves,
            )
        };
        let once = plan(&[shared("b"), shared("b")]).unwrap();
        assert_eq!(once.stages[0].artifacts.len(), 1, "the same artifact of two trees");
        assert!(matches!(plan(&[shared("b"), shared("c")]), Err(PlanError::SamePath(_))));
        assert!(matches!(plan(&[of("a/b"), of("a-"), of("a")]), Err(PlanError::Folder(_))));
        for path in ["commit/x", "packages/x", "bootstrap", "package_lists/x"] {
            assert_eq!(plan(&[of(path)]), Err(PlanError::Shared(key(path))));
        }
    }
}
