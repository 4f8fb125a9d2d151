//! The action of a job: a command that carries it out in a folder with its files.

use std::collections::BTreeMap;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2::platform::Property;
use bazel_remote_apis::build::bazel::remote::execution::v2::{Action, Command, Platform};
use bazel_remote_apis::google::protobuf;
use prost::Message as _;

use super::blob::{Blob, BlobDigest};
use super::tree::InputTree;
use crate::portable::{LOG, PACKAGE};

/// Name of the program in the action's folder.
pub(super) const PROGRAM: &str = "mkpanda";

/// Folder of the job in the action's folder, which may be the root of a whole filesystem: nothing else is in the job's.
pub(super) const JOB: &str = "job";

/// Paths of the results.
pub(super) struct OutputPaths {
    pub(super) log: String,
    pub(super) package: String,
    pub(super) record: String,
}

/// Paths of the results in the action's folder.
pub(super) fn output_paths() -> OutputPaths {
    OutputPaths {
        log: format!("out/{LOG}"),
        package: format!("out/{PACKAGE}"),
        record: "out/record.json".to_owned(),
    }
}

/// Action with everything that the engine needs for it.
#[derive(Debug)]
pub(super) struct JobAction {
    /// Digest of the action, which is the key of its result.
    pub(super) digest: BlobDigest,
    /// Action, command, folders and files.
    pub(super) blobs: BTreeMap<BlobDigest, Blob>,
}

impl JobAction {
    /// Makes the action of an input root. Its stdout is the output of the build, whether somebody looks or not, so that the
    /// key is the same. The command has no environment: nothing of the caller's can be in it,
    /// and the program needs none. Its scratch folder is in the worker's temporary folder, never in the action's:
    /// a worker that kills the program could not remove it.
    pub(super) fn of(
        tree: InputTree,
        properties: &BTreeMap<String, String>,
        time: Option<Duration>,
    ) -> Self {
        let properties = properties.iter();
        let properties: Vec<Property> = properties
            .map(|(name, value)| Property { name: name.clone(), value: value.clone() })
            .collect();
        let platform = (!properties.is_empty()).then_some(Platform { properties });
        let OutputPaths { log, package, record } = output_paths();
        let program = format!("./{PROGRAM}");
        #[expect(deprecated, reason = "engines before version 2.2 of the API read it there")]
        let command = Command {
            arguments: [
                &program,
                "job",
                "run",
                JOB,
                "--out",
                "out",
                "--progress",
                "plain",
                "--log-to-stdout",
            ]
            .map(str::to_owned)
            .into(),
            // In the order of their bytes.
            output_paths: vec![log, package, record],
            platform: platform.clone(),
            ..Command::default()
        };
        let mut blobs = tree.blobs;
        let mut add = |bytes: Vec<u8>| {
            let blob = Blob::of(bytes);
            let digest = blob.digest.clone();
            blobs.insert(digest.clone(), blob);
            digest
        };
        let command = add(command.encode_to_vec());
        let action = Action {
            command_digest: Some(command.message()),
            input_root_digest: Some(tree.root.message()),
            timeout: time.map(|time| protobuf::Duration {
                seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            platform,
            ..Action::default()
        };
        let digest = add(action.encode_to_vec());
        Self { digest, blobs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::reapi::blob::Content;

    #[test]
    fn properties_and_outputs_are_sorted_and_there_is_no_environment() {
        let properties: BTreeMap<String, String> =
            [("b", "2"), ("a", "1")].map(|(name, value)| (name.into(), value.into())).into();
        let time = Some(Duration::from_secs(90));
        let action = JobAction::of(InputTree::of(Vec::new()), &properties, time);
        let blob = |digest: &BlobDigest| match &action.blobs[digest].content {
            Content::Memory(bytes) => bytes.clone(),
            Content::File(path) => panic!("{}", path.display()),
        };
        let read = Action::decode(blob(&action.digest).as_slice()).unwrap();
        assert_eq!(read.timeout.unwrap().seconds, 90);
        let command = BlobDigest::read(read.command_digest.as_ref()).unwrap();
        let command = Command::decode(blob(&command).as_slice()).unwrap();
        let found = &read.platform.as_ref().unwrap().properties;
        let names: Vec<&str> = found.iter().map(|property| property.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        #[expect(deprecated, reason = "engines before version 2.2 of the API read it there")]
        let of_command = command.platform;
        assert_eq!(of_command, read.platform);
        assert!(command.output_paths.is_sorted() && command.environment_variables.is_empty());
        // Settings that have nothing to do with it give the same key.
        let again = JobAction::of(InputTree::of(Vec::new()), &properties, time);
        assert_eq!(again.digest, action.digest);
        let none = JobAction::of(InputTree::of(Vec::new()), &BTreeMap::new(), None);
        assert_ne!(none.digest, action.digest);
    }
}
