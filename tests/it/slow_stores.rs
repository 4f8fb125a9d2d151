//! Shared caches in a registry on a slow network: progress, descriptions, and runs that are killed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::peers::Registry;
use crate::support::{Place, repository};

/// Number of bytes that a connection passes on at once, and the wait after them.
const PIECE: usize = 16 << 10;
const WAIT: Duration = Duration::from_millis(4);
/// Number of runs that are killed.
const KILLS: u64 = 6;

/// Starts a server that passes connections on to another one, slowly; returns its host and port.
fn slow(host: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, host) = (listener.local_addr().unwrap().to_string(), host.to_owned());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(near), Ok(far)) = (stream, TcpStream::connect(&host)) else { return };
            let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || pass(near, far));
            std::thread::spawn(move || pass(far_again, near_again));
        }
    });
    own
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; PIECE];
    while let Ok(count) = from.read(&mut piece) {
        if count == 0 || to.write_all(&piece[..count]).is_err() {
            break;
        }
        std::thread::sleep(WAIT);
    }
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}

/// A machine with a tree of some packages that do not compress, and a store behind a slow network.
struct Slow {
    place: Place,
    registry: Registry,
    store: String,
}

impl Slow {
    fn new() -> Self {
        let (place, registry) = (Place::new(), Registry::plain());
        place.write("treeinfo.json", "{}");
        for number in 0..6 {
            let script = "head -c 400000 /dev/urandom > $PKG_PATH/data";
            place.package(&format!("p{number}"), "{}", script);
        }
        let host = slow(&registry.host);
        place.user(&format!(
            "[registries.'{host}']\ninsecure = true\n[registries.'{}']\ninsecure = true\n",
            registry.host
        ));
        Self { place, registry, store: format!("oci://{host}/team/cache") }
    }

    /// Checks the store, directly. An archive may lack the files beside it, and nothing else may be
    /// wrong. Returns the number of artifacts and of what is missing.
    fn verify(&self) -> (u64, usize) {
        let store = format!("oci://{}/team/cache", self.registry.host);
        let ran = self.place.run(".", &["cache", "verify", "--format=json", &store]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let result: Value = serde_json::from_str(&ran.stdout).expect(&said);
        let found = &result["stores"][0];
        let findings = found["findings"].as_array().expect(&said);
        assert!(findings.iter().all(|finding| finding["kind"] == "missing"), "{said}");
        assert_eq!(found["strays"], serde_json::json!([]), "{said}");
        assert_eq!(ran.code, i32::from(!findings.is_empty()), "{said}");
        (found["artifacts"].as_u64().expect(&said), findings.len())
    }

    /// Kills a command after a while, and returns true if it was killed.
    fn kill(&self, arguments: &[&str], after: Duration) -> bool {
        let mut command = self.place.command(".", arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let is_done = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        !is_done
    }
}

#[test]
fn a_push_shows_its_uploads_and_describes_packages() {
    let slow = Slow::new();
    let commit = repository(slow.place.packages.parent().unwrap());
    slow.place.run(".", &["tree"]).ok();
    let ran = slow.place.run(".", &["cache", "push", &slow.store, "--progress=json"]).ok();
    let events = ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let uploads = events.filter(|event| event["event"] == "upload_end");
    let sent: u64 = uploads.filter_map(|event| event["bytes"].as_u64()).sum();
    assert!(sent > 6 * 400_000, "{sent} bytes in {}", ran.stderr);
    let id = slow.place.archive("p0");
    let id = id.file_name().unwrap().to_str().unwrap();
    let url = format!("http://{}/v2/team/cache/manifests/packages_p0_{id}", slow.registry.host);
    let manifest = std::process::Command::new("curl")
        .args([
            "-sS",
            "--noproxy",
            "*",
            "-H",
            "accept: application/vnd.oci.image.manifest.v1+json",
            &url,
        ])
        .output()
        .unwrap();
    let manifest: Value = serde_json::from_slice(&manifest.stdout).unwrap();
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["org.mkpanda.tree.commit"], commit.as_str(), "{manifest:#}");
    assert_eq!(annotations["org.mkpanda.package.name"], "p0");
}

#[test]
fn a_push_that_is_killed_leaves_whole_objects_and_the_next_one_ends_it() {
    let slow = Slow::new();
    slow.place.run(".", &["tree", "--mkbootstrap"]).ok();
    let push = ["cache", "push", &slow.store, "-j2"];
    let mut killed = 0;
    for number in 0..KILLS {
        killed += u32::from(slow.kill(&push, Duration::from_millis(150 + 170 * number)));
        slow.verify();
    }
    assert!(killed > 2, "{killed} runs were killed");
    slow.place.run(".", &push).ok();
    assert_eq!(slow.verify(), (7, 0));
}

#[test]
fn a_build_that_is_killed_while_it_uploads_leaves_whole_objects() {
    let slow = Slow::new();
    let cache = format!("--cache={}", slow.store);
    let build = ["tree", "--mkbootstrap", &cache];
    let mut killed = 0;
    for number in 0..KILLS {
        killed += u32::from(slow.kill(&build, Duration::from_millis(150 + 170 * number)));
        slow.verify();
    }
    assert!(killed > 2, "{killed} runs were killed");
    slow.place.run(".", &build).ok();
    // Packages that a killed run has built and not sent are those of the tree's cache: a push sends them.
    slow.place.run(".", &["cache", "push", &slow.store]).ok();
    assert_eq!(slow.verify(), (7, 0));
}
