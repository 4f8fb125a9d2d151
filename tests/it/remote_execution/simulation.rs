//! Workers that build nothing: each takes the time of a package, and answers with one that passes all checks.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::longrunning::Operation;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::engine::{Results, Service, state_of};
use crate::support::{sha1, sha256};

/// Simulated workers.
pub struct Simulation {
    workers: Semaphore,
    /// Time of each package's build.
    takes: HashMap<String, Duration>,
}

impl Simulation {
    pub fn new(workers: usize, takes: HashMap<String, Duration>) -> Self {
        Self { workers: Semaphore::new(workers), takes }
    }
}

/// A package with nothing but its descriptions and a file.
fn package(job: &Value) -> (Vec<u8>, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        header.set_mtime(1);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    };
    add("./", tar::EntryType::Directory, 0o755, "");
    for (path, text) in [
        ("./buildinfo.full.json", job["buildinfo_full"].to_string()),
        ("./name", job["id"].to_string()),
        ("./pkginfo.json", job["pkginfo"].to_string()),
    ] {
        add(path, tar::EntryType::Regular, 0o644, &text);
    }
    let tar = tar.into_inner().unwrap();
    let mut packer = xz2::write::XzEncoder::new(Vec::new(), 0);
    packer.write_all(&tar).unwrap();
    (packer.finish().unwrap(), tar)
}

/// Results of a job.
fn results(text: &[u8]) -> Results {
    let job: Value = serde_json::from_slice(text).unwrap();
    let (archive, tar) = package(&job);
    let dependencies: Vec<&Value> =
        job["dependencies"].as_array().unwrap().iter().map(|needed| &needed["id"]).collect();
    let (sha1, sha256_of, bytes) = (sha1(&archive), sha256(&archive), archive.len());
    let built = json!({
        "sha1": sha1, "sha256": sha256_of, "bytes": bytes, "unpacked": tar.len(),
        "tar_sha256": sha256(&tar), "notes": [],
    });
    let record = json!({
        "version": 1, "id": job["id"], "job": sha256(text), "outcome": "built",
        "package": { "sha1": sha1, "sha256": sha256_of, "bytes": bytes },
        "build": {
            "version": 1, "id": job["id"], "buildinfo": job["buildinfo_full"], "tier": "single",
            "conditions": [], "root": "overlay", "network": "none", "dependencies": dependencies,
            "source_date_epoch": job["source_date_epoch"], "cores": 1, "began": 1, "phases": {},
            "ending": { "built": built },
        },
    });
    let files = [
        ("out/log", b"simulated\n".to_vec()),
        ("out/package.tar.xz", archive),
        ("out/record.json", record.to_string().into_bytes()),
    ];
    let files: BTreeMap<_, _> = files.map(|(path, bytes)| (path.to_owned(), bytes)).into();
    Results { files, exit_code: 0, status: None }
}

impl Service {
    fn folder(&self, digest: Option<&api::Digest>) -> Result<api::Directory, api::Digest> {
        Ok(api::Directory::decode(self.blob(digest)?.as_slice()).unwrap())
    }

    /// Description of the job of an action. All files of the job have to be there.
    fn job(&self, action: &api::Digest) -> Result<Vec<u8>, api::Digest> {
        let action = api::Action::decode(self.blob(Some(action))?.as_slice()).unwrap();
        let mut folders = vec![self.folder(action.input_root_digest.as_ref())?];
        let mut job = Vec::new();
        while let Some(folder) = folders.pop() {
            for below in &folder.directories {
                folders.push(self.folder(below.digest.as_ref())?);
            }
            for file in &folder.files {
                let digest = file.digest.clone().unwrap_or_default();
                if file.name == "job.json" {
                    job = self.blob(Some(&digest))?;
                } else if !self.lock().blobs.contains_key(&digest.hash) {
                    return Err(digest);
                }
            }
        }
        Ok(job)
    }

    /// Has a simulated worker carry an action out.
    pub(super) async fn simulate(
        self,
        action: api::Digest,
        name: String,
        number: u32,
        states: watch::Sender<Operation>,
    ) {
        let Some(simulation) = self.lock().simulation.clone() else { return };
        let count = |change: isize| {
            let mut state = self.lock();
            let (now, most) = &mut state.in_flight;
            *now = now.checked_add_signed(change).unwrap();
            *most = (*most).max(*now);
            state.began.get_or_insert_with(Instant::now);
        };
        count(1);
        let job = {
            let _worker = simulation.workers.acquire().await.unwrap();
            states.send_replace(state_of(&name, 3));
            let job = self.job(&action);
            let name = |text: &[u8]| {
                let job: Value = serde_json::from_slice(text).unwrap();
                let id = job["id"].as_str().unwrap();
                id.split("--").next().unwrap().to_owned()
            };
            if let Ok(text) = &job {
                tokio::time::sleep(simulation.takes[&name(text)]).await;
            }
            job
        };
        count(-1);
        let results = job.map(|text| results(&text));
        states.send_replace(self.end(&action, &name, number, results));
        self.lock().operations.remove(&name);
    }
}
