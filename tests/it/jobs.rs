//! Portable jobs: made in a tree, carried out anywhere, and refused where they were changed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::schema_check::check_schema;
use crate::support::{Place, Ran, copy_folder, files_below, git, repository, sha1};

const JOB: &str = include_str!("../../docs/schemas/job.json");
const RECORD: &str = include_str!("../../docs/schemas/job-record.json");

/// Requirements and sources of the package `top`: a package, a file, an archive and a repository with a tag, of which git
/// converts a file.
struct Sources(tempfile::TempDir);

impl Sources {
    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("mkpanda-it-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("file.txt"), "file\n").unwrap();
        let repo = folder.path().join("repo");
        std::fs::create_dir(&repo).unwrap();
        std::fs::write(repo.join("a.txt"), "a\n").unwrap();
        std::fs::write(repo.join(".gitattributes"), "*.txt text eol=crlf\n").unwrap();
        repository(&repo);
        for number in 0..30 {
            // Alike, so that packs have deltas.
            let text = format!("{}{number}\n", "line\n".repeat(200));
            std::fs::write(repo.join("long"), text).unwrap();
            git(&repo, &["add", "-A"]);
            git(&repo, &["commit", "-q", "-m", "next"]);
        }
        git(&repo, &["tag", "-a", "-m", "one", "v1"]);
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_packages(&self, place: &Place) {
        let commit = git(&self.path("repo"), &["rev-parse", "main"]);
        let file = self.path("file.txt").display().to_string();
        let sum = sha1(&std::fs::read(&file).unwrap());
        let repo = self.path("repo").display().to_string();
        let info = json!({
            "requires": ["base"],
            "sources": {
                "file": {"kind": "url", "url": format!("file://{file}"), "sha1": sum},
                "repo": {"kind": "git", "git": format!("file://{repo}"), "ref": commit, "ref_origin": "main"},
            },
        });
        place.package("base", "{}", "echo base > $PKG_PATH/base");
        let script = "cp /pkg/src/file/file.txt /pkg/src/repo/a.txt /pkg/extra/x /opt/mesosphere/packages/base--*/base $PKG_PATH
ls -l /pkg/build /pkg/src/repo | grep -v total > $PKG_PATH/list
echo \"it says $PKG_NAME\"";
        place.package("top", &info.to_string(), script);
        place.write("top/extra/x", "x\n");
        place.write("top/sub/data", "data\n");
        std::os::unix::fs::symlink("sub/data", place.packages.join("top/link")).unwrap();
    }
}

/// Exports a package to a folder of the place.
#[track_caller]
pub fn export(place: &Place, name: &str, to: &str) -> PathBuf {
    let target = place.path().join(to);
    let shown = place.run("", &["job", "export", name, target.to_str().unwrap()]).ok().stdout;
    assert_eq!(shown, format!("{}\n", target.display()));
    target
}

pub fn carry_out(place: &Place, job: &Path) -> Ran {
    place.run("", &["job", "run", job.to_str().unwrap()])
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| {
        let content = std::fs::read(&path).unwrap();
        (path.strip_prefix(folder).unwrap().to_owned(), content)
    };
    files_below(folder).into_iter().map(read).collect()
}

#[track_caller]
pub fn record(out: &Path) -> Value {
    let record: Value =
        serde_json::from_slice(&std::fs::read(out.join("record.json")).unwrap()).unwrap();
    check_schema(&serde_json::from_str(RECORD).unwrap(), &record, "record");
    record
}

pub fn edit(job: &Path, change: impl FnOnce(&mut Value)) {
    let path = job.join("job.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut document);
    std::fs::write(path, document.to_string()).unwrap();
}

/// Words of the refusal, and a change of `job.json`.
type TamperedCase = (&'static str, &'static str, fn(&mut Value));

#[test]
fn a_job_has_the_same_bytes_whoever_makes_it_and_so_has_its_package() {
    let sources = Sources::make();
    let (one, other) = (Place::new(), Place::new());
    sources.write_packages(&one);
    let job = export(&one, "top", "job");
    // Other packs, other branches, other modes and times.
    let repo = sources.path("repo");
    git(&repo, &["checkout", "-q", "-b", "later"]);
    git(&repo, &["commit", "-q", "--allow-empty", "-m", "later"]);
    git(&repo, &["repack", "-q", "-a", "-d", "-f"]);
    sources.write_packages(&other);
    for file in ["top/build", "top/extra/x", "top/buildinfo.json"] {
        let path = other.packages.join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o111;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644 | mode)).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
    let same = export(&other, "top", "job2");
    assert_eq!(contents(&job), contents(&same));
    let text = std::fs::read_to_string(job.join("job.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    check_schema(&serde_json::from_str(JOB).unwrap(), &document, "job");
    let bundle = &document["sources"][1]["file"];
    let bundle = job.join("sources").join(bundle.as_str().unwrap()).display().to_string();
    let bare = sources.path("bare");
    std::fs::create_dir(&bare).unwrap();
    git(&bare, &["init", "-q", "--bare"]);
    git(&bare, &["bundle", "verify", "-q", &bundle]);
    git(&bare, &["fetch", "-q", &bundle, "refs/*:refs/*"]);
    assert_eq!(git(&bare, &["cat-file", "-t", "v1"]), "tag");
    let [tagged, commit] = [(&bare, "v1^{}"), (&repo, "main")]
        .map(|(repository, name)| git(repository, &["rev-parse", name]));
    assert_eq!(tagged, commit);
    assert_eq!(git(&bare, &["rev-list", "--count", "v1"]), "31");
    for place in [&one, &other] {
        assert!(!text.contains(&place.path().display().to_string()), "{text}");
    }
    // URLs of sources are the package's, and these name the test's folder.
    let own = text.replace(&sources.path("").display().to_string(), "");
    let user = std::env::var("USER").unwrap_or_default();
    assert!(user.is_empty() || !own.contains(&format!("/{user}/")), "{own}");

    // As a tar, in a place without a tree.
    let tar = export(&one, "top", "job.tar");
    let elsewhere = Place::bare();
    let named = format!("mkdir DIR && tar -xf {} -C DIR", tar.display());
    carry_out(&elsewhere, &tar).fails(1).says(&named);
    let unpacked = elsewhere.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let status =
        Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&unpacked).status().unwrap();
    assert!(status.success());
    assert_eq!(contents(&job), contents(&unpacked));
    let shown = carry_out(&elsewhere, &unpacked).ok().says("built top--").stdout;
    let package = unpacked.join("out/package.tar.xz");
    assert_eq!(shown, format!("{}\n", package.display()));
    one.run("top", &[]).ok();
    assert_eq!(std::fs::read(&package).unwrap(), std::fs::read(one.archive("top")).unwrap());
    assert_eq!(one.file_of("top", "a.txt"), "a\r\n");
    assert_eq!(std::fs::read_to_string(unpacked.join("out/log")).unwrap(), "it says top\n");
    let found = record(&unpacked.join("out"));
    assert_eq!(found["outcome"], "built");
    assert_eq!(found["package"]["sha1"], sha1(&std::fs::read(&package).unwrap()));
    let shown = elsewhere.run("", &["job", "show", unpacked.to_str().unwrap()]).ok().stdout;
    assert!(shown.contains("requires") && shown.contains("built"), "{shown}");
    let shown = elsewhere.run("", &["job", "show", "--format", "json", unpacked.to_str().unwrap()]);
    assert_eq!(shown.ok().stdout, text);
    elsewhere.assert_clean();
}

#[test]
fn a_job_that_was_tampered_with_is_refused_by_name() {
    let sources = Sources::make();
    let place = Place::new();
    sources.write_packages(&place);
    let whole = export(&place, "top", "job");
    let names: Vec<String> = contents(&whole)
        .into_iter()
        .filter_map(|(path, _)| path.to_str().map(str::to_owned))
        .filter(|name| name != "job.json")
        .collect();
    assert_eq!(names.len(), 7, "{names:?}");
    let secret = place.path().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let bare = Place::bare();
    let tampered = bare.path().join("job");
    let fresh = || {
        drop(std::fs::remove_dir_all(&tampered));
        copy_folder(&whole, &tampered);
    };
    let refused = |name: &str, words: &str| {
        let refused = carry_out(&bare, &tampered).fails(1);
        let said = &refused.stderr;
        assert!(said.contains(name) && said.contains(words), "{name}, {words}: {said}");
        assert!(!tampered.join("out/record.json").exists(), "{name}");
        assert!(!said.contains("secret\n"), "{said}");
    };
    for name in &names {
        fresh();
        let path = tampered.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        refused(name, "was changed");
        std::fs::remove_file(&path).unwrap();
        refused(name, "missing");
        // The same content, but elsewhere.
        std::os::unix::fs::symlink(whole.join(name), &path).unwrap();
        refused(name, "symbolic link");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        refused(name, "symbolic link");
    }
    for folder in ["packages", "sources", "image", "layers"] {
        fresh();
        std::fs::remove_dir_all(tampered.join(folder)).unwrap();
        std::os::unix::fs::symlink(whole.join(folder), tampered.join(folder)).unwrap();
        refused(folder, "symbolic link");
    }
    fresh();
    std::os::unix::fs::symlink(place.path(), tampered.join("out")).unwrap();
    refused("out", "not a folder");
    // Links in place of results are removed, and not followed.
    fresh();
    std::fs::create_dir(tampered.join("out")).unwrap();
    for name in ["log", "record.json"] {
        std::os::unix::fs::symlink(&secret, tampered.join("out").join(name)).unwrap();
    }
    carry_out(&bare, &tampered).ok();
    assert_eq!(record(&tampered.join("out"))["outcome"], "built");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret\n");
    let changes: [TamperedCase; 16] = [
        ("version 2", "version 1", |job| job["version"] = json!(2)),
        ("network", "unknown field", |job| job["network"] = json!("host")),
        ("the id", "contradicts", |job| job["id"] = json!(format!("top--{}", "0".repeat(40)))),
        ("../top", "package name", |job| job["id"] = json!("../top--1")),
        ("buildinfo_full.name is \"x\"", "and \"top\" by its files", |job| {
            job["buildinfo_full"]["name"] = json!("x");
        }),
        ("pkginfo", "contradicts", |job| job["pkginfo"]["x"] = json!("x")),
        ("environment", "contradicts", |job| job["environment"]["PATH"] = json!("/x")),
        ("environment", "contradicts", |job| job["source_date_epoch"] = json!(1)),
        ("source_date_epoch", "9999", |job| job["source_date_epoch"] = json!(u64::MAX)),
        ("limits", "0", |job| job["limits"]["memory"] = json!(0)),
        ("nothing", "unknown variant", |job| job["tier"] = json!("nothing")),
        ("list of sources", "contradicts", |job| job["sources"] = json!([])),
        ("sources", "has converted files", |job| {
            job["sources"][0]["converted"] = job["sources"][1]["converted"].clone();
        }),
        ("sources", "has a commit", |job| job["sources"][0]["commit"] = json!("1".repeat(40))),
        ("the id", "contradicts", |job| job["dependencies"] = json!([])),
        ("list of layers", "contradicts", |job| {
            let layers = job["image"]["layers"]["layers"].as_array_mut().unwrap();
            layers.push(layers[0].clone());
        }),
    ];
    for (name, words, change) in changes {
        fresh();
        edit(&tampered, change);
        refused(name, words);
    }
    fresh();
    std::fs::remove_file(tampered.join("job.json")).unwrap();
    refused("is not the folder of a portable job", "job.json");
    bare.assert_clean();
    fresh();
    carry_out(&bare, &tampered).ok();
    // Nothing of a job gets into the store of images.
    assert!(
        !bare.home.join("images").exists() || files_below(&bare.home.join("images")).is_empty()
    );
}

#[test]
fn a_failed_build_can_be_handed_on_with_its_log() {
    let place = Place::new();
    place.package("p", "{}", "echo broken; exit 3");
    let target = place.path().join("job").display().to_string();
    let failed = ["job", "export", "p", &target, "--failed"];
    place.run("", &failed).fails(1).says("p--").says("has no failed build here");
    place.run("p", &[]).fails(1);
    place.run("", &failed).ok();
    place.run("", &failed).fails(1).says("is there already");
    let job = Path::new(&target);
    assert_eq!(std::fs::read_to_string(job.join("log")).unwrap(), "broken\n");
    // A build that was interrupted after one that failed is not the failed one, nor is a link its log.
    let builds = place.home.join("builds/p");
    let log = std::fs::read_dir(builds).unwrap().next().unwrap().unwrap().path().join("log");
    let written = std::fs::metadata(&log).unwrap().modified().unwrap();
    let touch = |time| std::fs::File::open(&log).unwrap().set_modified(time).unwrap();
    let other = place.path().join("other").display().to_string();
    let failed = ["job", "export", "p", &other, "--failed"];
    touch(written + Duration::from_secs(60));
    place.run("", &failed).fails(1).says("has no failed build here");
    touch(written);
    std::fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink("record.json", &log).unwrap();
    place.run("", &failed).fails(1).says("cannot copy the log");
    let ran = carry_out(&place, job).fails(1).says("exited with code 3").says("| broken");
    assert!(!ran.stderr.contains("mkpanda log"), "{}", ran.stderr);
    let found = record(&job.join("out"));
    assert_eq!(found["outcome"], "failed");
    assert!(found["message"].as_str().unwrap().contains("exited with code 3"));
    assert_eq!(std::fs::read_to_string(job.join("out/log")).unwrap(), "broken\n");
    assert!(!job.join("out/package.tar.xz").exists());
    place.assert_clean();
}

#[test]
fn a_variant_with_a_source_of_the_tree_itself_and_a_program_go_along() {
    let place = Place::new();
    let source = json!({"kind": "git_local", "rel_path": "../.."});
    let script = "cp /pkg/src/p/packages/text $PKG_PATH";
    place.package("p", &json!({"requires": ["nothing"]}).to_string(), script);
    place.write("p/v.buildinfo.json", &json!({"single_source": source}).to_string());
    place.write("text", "of the tree\n");
    repository(place.packages.parent().unwrap());
    let program = place.path().join("program");
    std::fs::write(&program, "program").unwrap();
    let job = place.path().join("job");
    let arguments =
        ["job", "export", "p:v", job.to_str().unwrap(), "--program", program.to_str().unwrap()];
    place.run("", &arguments).ok();
    let mode = std::fs::metadata(job.join("mkpanda")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let document: Value =
        serde_json::from_slice(&std::fs::read(job.join("job.json")).unwrap()).unwrap();
    assert_eq!(document["variant"], "v");
    let commit = git(&place.packages, &["rev-parse", "HEAD"]);
    assert_eq!(document["sources"][0]["commit"], commit);
    carry_out(&Place::bare(), &job).ok();
    place.run("p", &["--variant", "v"]).ok();
    let built = std::fs::read(job.join("out/package.tar.xz")).unwrap();
    assert_eq!(built, std::fs::read(latest_of_variant(&place)).unwrap());
}

#[test]
fn a_shallow_repository_is_refused_with_the_remedy() {
    let place = Place::new();
    let source = json!({"kind": "git_local", "rel_path": "../.."});
    place.package("p", &json!({"single_source": source}).to_string(), "true");
    let top = place.packages.parent().unwrap();
    repository(top);
    let first = git(top, &["rev-parse", "HEAD"]);
    git(top, &["commit", "-q", "--allow-empty", "-m", "next"]);
    // As if it had been cloned with --depth 1.
    let head = git(top, &["rev-parse", "HEAD"]);
    std::fs::write(top.join(".git/shallow"), format!("{head}\n")).unwrap();
    std::fs::remove_file(top.join(".git/objects").join(&first[..2]).join(&first[2..])).unwrap();
    let job = place.path().join("job");
    let refused = place.run("", &["job", "export", "p", job.to_str().unwrap()]).fails(1);
    refused.says("is shallow").says("git fetch --unshallow");
    assert!(!job.exists());
}

#[test]
fn a_repository_counts_in_the_size_of_a_job() {
    let mut place = Place::host();
    let repo = place.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    // Digests, which no compression makes smaller than half.
    let text: String = (0..60_000_u32).map(|number| sha1(&number.to_le_bytes())).collect();
    std::fs::write(repo.join("text"), text).unwrap();
    let commit = repository(&repo);
    let source = json!({
        "kind": "git", "git": format!("file://{}", repo.display()), "ref": commit, "ref_origin": "main",
    });
    place.package("p", &json!({"single_source": source}).to_string(), "true");
    export(&place, "p", "whole");
    place.variables.push(("MKPANDA_LIMITS_UNPACKED".to_owned(), "1M".to_owned()));
    let job = place.path().join("job");
    let refused = place.run("", &["job", "export", "p", job.to_str().unwrap()]).fails(1);
    refused.says("the job is too large").says("1048576 bytes").says("limits.unpacked");
    assert!(!job.exists());
}

/// Archive of the only package that the cache has.
fn latest_of_variant(place: &Place) -> PathBuf {
    let files = files_below(&place.packages.join("cache/packages/p"));
    files.into_iter().find(|file| file.extension().is_some_and(|end| end == "xz")).unwrap()
}
