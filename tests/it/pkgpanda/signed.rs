//! Signatures that are required of what comes to a machine.

use std::path::{Path, PathBuf};

use super::Machine;
use super::fetch::nothing_is_left;
use crate::server::Server;
use crate::signing::{Key, beside, halve};

const INFO: &str = "{}";

/// A repository with two signed packages, `a--1` and `b--1`.
struct Offer {
    a: PathBuf,
    b: PathBuf,
    key: Key,
    unknown: Key,
    archive: Vec<u8>,
    signature: Vec<u8>,
}

/// A way in which the signature of `a--1` can be wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Missing,
    UnknownKey,
    OtherContent,
    Replayed,
    CutOff,
    Legacy,
}

const FAULTS: [Fault; 6] = [
    Fault::Missing,
    Fault::UnknownKey,
    Fault::OtherContent,
    Fault::Replayed,
    Fault::CutOff,
    Fault::Legacy,
];

impl Offer {
    fn new(machine: &Machine) -> Self {
        let (a, b) = (machine.offer("a--1", INFO, &["bin/a"]), machine.offer("b--1", INFO, &[]));
        let key = Key::new(&machine.path("."), "good");
        let unknown = Key::new(&machine.path("."), "unknown");
        key.sign(&a, "a--1");
        key.sign(&b, "b--1");
        let (archive, signature) = (std::fs::read(&a).unwrap(), std::fs::read(beside(&a)).unwrap());
        Self { a, b, key, unknown, archive, signature }
    }

    fn restore(&self) {
        std::fs::write(&self.a, &self.archive).unwrap();
        std::fs::write(beside(&self.a), &self.signature).unwrap();
    }

    /// Makes the fault, and gives what is said of it.
    fn spoil(&self, fault: Fault) -> String {
        let Self { a, b, key, unknown, .. } = self;
        let trusted = &key.id;
        self.restore();
        match fault {
            Fault::Missing => {
                std::fs::remove_file(beside(a)).unwrap();
                format!("no signature (.minisig), and one by a trusted key is required: {trusted}")
            }
            Fault::UnknownKey => {
                unknown.sign(a, "a--1");
                format!("signed by key {}, which is not trusted; trusted: {trusted}", unknown.id)
            }
            Fault::OtherContent => {
                std::fs::copy(b, a).unwrap();
                format!("key {trusted} did not sign this file")
            }
            Fault::Replayed => {
                std::fs::copy(b, a).unwrap();
                std::fs::copy(beside(b), beside(a)).unwrap();
                format!("key {trusted} signed it as b--1, and a--1 is expected")
            }
            Fault::CutOff => {
                halve(&beside(a));
                "its signature (.minisig) is not one of minisign".to_owned()
            }
            Fault::Legacy => {
                std::fs::remove_file(beside(a)).unwrap();
                key.sign_legacy(a);
                "legacy form".to_owned()
            }
        }
    }
}

#[test]
fn nothing_is_fetched_that_no_trusted_key_signed() {
    let machine = Machine::new();
    let offer = Offer::new(&machine);
    let (a, key, unknown) = (&offer.a, &offer.key, &offer.unknown);
    let server = Server::files(&machine.path("remote"));
    for url in [machine.url(), server.url("")] {
        for fault in FAULTS {
            let said = offer.spoil(fault);
            let fetch = ["fetch", "--repository-url", &url, &key.option(), "a--1"];
            let ran = machine.run(&fetch).fails(1).says("packages/a/a--1.tar.xz from ").says(&said);
            assert!(ran.stderr.contains("cannot be trusted"), "{}", ran.stderr);
            assert_eq!(machine.says(&["list"]), "");
            nothing_is_left(&machine);
        }
    }
    // What is not there at all is said to be so.
    let fetch = ["fetch", "--repository-url", &machine.url(), &key.option(), "gone--1"];
    machine.run(&fetch).fails(1).says("has no package gone--1");
    offer.restore();
    for url in [machine.url(), server.url("")] {
        let options = [unknown.option(), "--require-signature=good.pub".to_owned()];
        let fetch = ["fetch", "--repository-url", &url, &options[0], &options[1], "a--1", "b--1"];
        machine.run(&fetch).ok();
        assert_eq!(machine.says(&["list"]), "a--1\nb--1\n");
        let verify = ["verify", "--repository-url", &url, &key.option(), "a--1"];
        machine.run(&verify).ok();
        machine.run(&["remove", "a--1", "b--1"]);
        for id in ["a--1", "b--1"] {
            std::fs::remove_dir_all(machine.path("repo").join(id)).unwrap();
        }
    }
    machine.run(&["fetch", "--repository-url", &machine.url(), "a--1"]).ok();
    unknown.sign(a, "a--1");
    let verify = ["verify", "--repository-url", &machine.url(), &key.option(), "a--1"];
    machine.run(&verify).fails(1).says("is not trusted");
    let fetch = ["fetch", "--repository-url=file://remote", "--require-signature=gone", "a--1"];
    machine.run(&fetch).fails(1).says("\"gone\" is neither a public key of minisign");
}

#[test]
fn nothing_is_added_that_no_trusted_key_signed() {
    let machine = Machine::new();
    let offer = Offer::new(&machine);
    let (a, b, key) = (&offer.a, &offer.b, &offer.key);
    let add = |path: &Path| machine.run(&["add", path.to_str().unwrap(), &key.option()]);
    for fault in FAULTS {
        let said = offer.spoil(fault);
        let ran = add(a).fails(1).says(&said);
        assert!(ran.stderr.contains("a--1.tar.xz cannot be trusted"), "{}", ran.stderr);
        assert_eq!(machine.says(&["list"]), "");
        nothing_is_left(&machine);
    }
    // A folder in its place is none.
    std::fs::remove_file(beside(a)).unwrap();
    std::fs::create_dir(beside(a)).unwrap();
    add(a).fails(1).says("it has no signature");
    std::fs::remove_dir(beside(a)).unwrap();
    offer.restore();
    add(a).ok();
    assert_eq!(machine.read("repo/a--1/bin/a"), "a--1 bin/a\n");
    nothing_is_left(&machine);
    add(a).ok().says("there already");
    // Another archive of that name is refused, although nothing would be done with it.
    std::fs::copy(b, a).unwrap();
    add(a).fails(1).says("did not sign this file");
}

#[test]
fn a_machine_is_set_up_from_what_is_signed_alone() {
    let (begin, end) = ("LATE_BIND_PLACEHOLDER_START_", "_LATE_BIND_PLACEHOLDER_END");
    let machine = Machine::with_two_sets();
    super::link("/opt/mesosphere/packages/a--1", &machine.path("root/active/a"));
    machine.write("root/bootstrap", "");
    let key = Key::new(&machine.path("."), "good");
    let new = machine.offer("new--1", INFO, &["bin/new"]);
    let old = machine.offer("old--1", INFO, &["bin/old"]);
    machine.write("conf/setup-flags/repository-url", "file://remote\n");
    machine.write("conf/setup-flags/cluster-package-list", "abc\n");
    machine.write("remote/package_lists/abc.package_list.json", r#"["b--1", "new--1"]"#);
    machine.write("remote/package_lists/old.package_list.json", r#"["b--1", "old--1"]"#);
    machine.write(
        "conf/setup-flags/late-config.yaml",
        "late_bound_package_id: x--setup\nbound_values: {secret: s}\n",
    );
    let template = "remote/packages/x/x--setup.dcos_config";
    machine.write(
        template,
        &format!("package:\n- {{path: etc/late, content: 'it is {begin}secret{end}'}}\n"),
    );
    let (list, older) = (
        machine.path("remote/package_lists/abc.package_list.json"),
        machine.path("remote/package_lists/old.package_list.json"),
    );
    let refused = |said: &[&str]| {
        let ran = machine.run(&["setup", &key.option()]).fails(1);
        for text in said {
            assert!(ran.stderr.contains(text), "no {text} in {}", ran.stderr);
        }
        assert_eq!(machine.says(&["active"]), "a--1\n");
        let list = machine.says(&["list"]);
        assert!(!list.contains("old--1") && !list.contains("new--1"), "{list}");
        assert!(machine.path("root/bootstrap").exists());
        nothing_is_left(&machine);
    };
    refused(&["packages/x/x--setup.dcos_config from", "it has no signature"]);
    key.sign(&machine.path(template), "packages/x/x--setup.dcos_config");
    refused(&["package_lists/abc.package_list.json from", "it has no signature"]);
    // Whoever has the repository gives the list of an older release, with its signature, to have an older
    // package installed.
    key.sign(&older, "package_lists/old.package_list.json");
    key.sign(&old, "old--1");
    let good = std::fs::read(&list).unwrap();
    std::fs::copy(&older, &list).unwrap();
    std::fs::copy(beside(&older), beside(&list)).unwrap();
    refused(&["signed it as package_lists/old.package_list.json"]);
    std::fs::write(&list, good).unwrap();
    key.sign(&list, "package_lists/abc.package_list.json");
    refused(&["packages/new/new--1.tar.xz from", "it has no signature"]);
    std::fs::copy(&old, &new).unwrap();
    std::fs::copy(beside(&old), beside(&new)).unwrap();
    refused(&["signed it as old--1, and new--1 is expected"]);
    machine.offer("new--1", INFO, &["bin/new"]);
    key.sign(&new, "new--1");
    machine.run(&["setup", &key.option()]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\nb--1\nnew--1\nx--setup\n");
    assert_eq!(machine.read("root/etc/late"), "it is s");
}
