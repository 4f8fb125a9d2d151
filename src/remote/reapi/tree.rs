//! Input files of an action as a Merkle tree: a message per folder, named by its digest.

use std::collections::BTreeMap;

use bazel_remote_apis::build::bazel::remote::execution::v2::{Directory, DirectoryNode, FileNode};
use prost::Message as _;

use super::blob::{Blob, BlobDigest, Content};

/// File of the input root.
#[derive(Debug, Clone)]
pub(super) struct InputFile {
    /// Path below the root, with plain names between slashes.
    pub(super) path: String,
    /// Digest.
    pub(super) digest: BlobDigest,
    /// Bytes.
    pub(super) content: Content,
    /// True if the file can be executed.
    pub(super) is_executable: bool,
}

/// Input root: folders and files as blobs.
#[derive(Debug)]
pub(super) struct InputTree {
    /// Digest of the root folder.
    pub(super) root: BlobDigest,
    /// Messages of the folders, and the files, each once.
    pub(super) blobs: BTreeMap<BlobDigest, Blob>,
}

/// Node of a tree under construction. A map keeps names sorted by their bytes, as the API demands.
enum Node {
    File(FileNode),
    Folder(BTreeMap<String, Self>),
}

impl InputTree {
    /// Makes the tree of some files.
    pub(super) fn of(files: Vec<InputFile>) -> Self {
        let mut blobs = BTreeMap::new();
        let mut top = BTreeMap::new();
        for file in files {
            let InputFile { path, digest, content, is_executable } = file;
            let mut folder = &mut top;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_none() {
                    let (name, digest) = (name.to_owned(), Some(digest.message()));
                    let node = FileNode {
                        name: name.clone(),
                        digest,
                        is_executable,
                        ..FileNode::default()
                    };
                    folder.insert(name, Node::File(node));
                    break;
                }
                let below = folder.entry(name.to_owned());
                let Node::Folder(below) = below.or_insert_with(|| Node::Folder(BTreeMap::new()))
                else {
                    break;
                };
                folder = below;
            }
            blobs.entry(digest.clone()).or_insert(Blob { digest, content });
        }
        let root = write(top, &mut blobs);
        Self { root, blobs }
    }
}

/// Writes the message of a folder, after those of the folders in it.
fn write(nodes: BTreeMap<String, Node>, blobs: &mut BTreeMap<BlobDigest, Blob>) -> BlobDigest {
    let mut message = Directory::default();
    for (name, node) in nodes {
        match node {
            Node::File(file) => message.files.push(file),
            Node::Folder(below) => {
                let digest = Some(write(below, blobs).message());
                message.directories.push(DirectoryNode { name, digest });
            }
        }
    }
    let blob = Blob::of(message.encode_to_vec());
    let digest = blob.digest.clone();
    blobs.insert(digest.clone(), blob);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> InputFile {
        let content = path.as_bytes().to_vec();
        InputFile {
            path: path.to_owned(),
            digest: BlobDigest::of(&content),
            content: Content::Memory(content),
            is_executable: path == "run",
        }
    }

    fn folder(tree: &InputTree, digest: &BlobDigest) -> Directory {
        let Content::Memory(bytes) = &tree.blobs[digest].content else { unreachable!() };
        Directory::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn names_are_sorted_and_the_order_of_the_files_does_not_count() {
        let paths = ["run", "b/z", "b/a", "b.x", "a/b/c"];
        let tree = InputTree::of(paths.map(file).into());
        let mut other = paths.map(file).to_vec();
        other.reverse();
        assert_eq!(InputTree::of(other).root, tree.root);
        let top = folder(&tree, &tree.root);
        let names = |nodes: &[FileNode]| -> Vec<String> {
            nodes.iter().map(|node| node.name.clone()).collect()
        };
        assert_eq!(names(&top.files), ["b.x", "run"]);
        assert_eq!(
            top.files.iter().map(|file| file.is_executable).collect::<Vec<_>>(),
            [false, true]
        );
        let folders: Vec<&str> = top.directories.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(folders, ["a", "b"]);
        let below = BlobDigest::read(top.directories[1].digest.as_ref()).unwrap();
        assert_eq!(names(&folder(&tree, &below).files), ["a", "z"]);
        // Four folders and five files.
        assert_eq!(tree.blobs.len(), 9);
    }

    #[test]
    fn one_content_under_two_names_is_one_blob() {
        let mut two = file("b");
        two.path = "c".to_owned();
        assert_eq!(InputTree::of(vec![file("b"), two]).blobs.len(), 2);
        // The digest of an empty folder is that of no bytes.
        assert_eq!(InputTree::of(Vec::new()).root, BlobDigest::of(b""));
    }
}
