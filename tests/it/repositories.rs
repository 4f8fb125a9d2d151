//! Git repositories that a Dockerfile adds: their submodules, and what is meant of them.

use std::path::PathBuf;

use crate::dockerfile::{build, context, listing, write};
use crate::server::Server;
use crate::support::{Place, git};

/// Repositories below one folder, served as files.
struct Repositories {
    place: Place,
    folder: PathBuf,
    served: PathBuf,
    server: Server,
}

impl Repositories {
    fn new() -> Self {
        let (place, folder) = context(&[]);
        let served = place.path().join("served");
        std::fs::create_dir(&served).unwrap();
        let server = Server::files(&served);
        Self { place, folder, served, server }
    }

    /// Adds a commit to a repository's `main`, with files and submodules (path, commit); gives it.
    fn commit(&self, name: &str, files: &[(&str, &str)], links: &[(&str, &str)]) -> String {
        let work = self.place.path().join(name);
        if !work.exists() {
            std::fs::create_dir(&work).unwrap();
            git(&work, &["init", "-q", "-b", "main"]);
        }
        write(&work, files);
        git(&work, &["add", "."]);
        for (path, commit) in links {
            git(
                &work,
                &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")],
            );
        }
        git(&work, &["commit", "-q", "-m", "m"]);
        self.publish(name);
        git(&work, &["rev-parse", "HEAD"])
    }

    fn publish(&self, name: &str) {
        let bare = self.served.join(format!("{name}.git"));
        if !bare.exists() {
            let bare = bare.display().to_string();
            git(self.place.path(), &["init", "-q", "--bare", "-b", "main", &bare]);
        }
        let bare_path = bare.display().to_string();
        git(&self.place.path().join(name), &["push", "-q", &bare_path, "main"]);
        git(&bare, &["update-server-info"]);
    }

    fn add(&self, source: &str) -> crate::support::Ran {
        let url = self.server.url(source);
        let flags = if source.starts_with("kept") { "--keep-git-dir " } else { "" };
        write(&self.folder, &[("Dockerfile", &format!("FROM tiny\nADD {flags}{url} /r/\n"))]);
        build(&self.place, &self.folder, &[])
    }
}

fn modules(submodules: &[(&str, &str)]) -> String {
    let one = |(path, url): &(&str, &str)| {
        format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
    };
    submodules.iter().map(one).collect()
}

#[track_caller]
fn assert_has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|found| found == line), "no {line} in {lines:#?}");
    }
}

#[test]
fn submodules_are_added_at_their_commits_and_with_their_own() {
    let them = Repositories::new();
    let deep = them.commit("deep", &[("file", "deep")], &[]);
    let declared = modules(&[("sub/deep", &them.server.url("deep.git"))]);
    let lib =
        them.commit("lib", &[("file", "lib"), (".gitmodules", &declared)], &[("sub/deep", &deep)]);
    them.commit("lib", &[("later", "")], &[]);
    let declared = modules(&[("lib", "../lib.git")]);
    let top = [("file", "top"), ("dir/one", ""), (".gitmodules", &declared)];
    let commit = them.commit("kept", &top, &[("lib", &lib)]);
    std::fs::rename(them.served.join("kept.git"), them.served.join("top.git")).unwrap();
    them.add("top.git").ok();
    let lines = listing(&them.place);
    assert_has(&lines, &["-rw-r--r-- 0/0 r/file", "-rw-r--r-- 0/0 r/lib/file"]);
    assert_has(&lines, &["-rw-r--r-- 0/0 r/lib/sub/deep/file"]);
    let extra = |line: &&String| line.ends_with(".git/") || line.contains("later");
    assert_eq!(lines.iter().find(extra), None);
    // It is found again, by its commit without being asked for at all.
    assert_eq!(them.add("top.git").ok().stderr, "");
    let known = format!("top.git#{commit}:lib/sub");
    them.add(&known).ok();
    let lines = listing(&them.place);
    assert_has(&lines, &["-rw-r--r-- 0/0 r/deep/file"]);
    let asked = them.server.targets().len();
    them.add(&known).ok();
    assert_eq!(them.server.targets().len(), asked);
    them.add("top.git?submodules=false&branch=main").ok();
    let lines = listing(&them.place);
    assert_has(&lines, &["-rw-r--r-- 0/0 r/dir/one", "drwxr-xr-x 0/0 r/lib/"]);
    assert!(!lines.iter().any(|line| line.contains("lib/file")), "{lines:#?}");
    std::fs::rename(them.served.join("top.git"), them.served.join("kept.git")).unwrap();
    them.add("kept.git").ok();
    let lines = listing(&them.place);
    assert_has(&lines, &["drwxr-xr-x 0/0 r/.git/", "drwxr-xr-x 0/0 r/lib/sub/deep/.git/"]);
    them.add("kept.git#main:nothing").fails(1).says("has no folder \"nothing\"");
    them.add(&format!("kept.git?branch=main&checksum={deep}")).fails(1).says("is expected");
    them.place.assert_clean();
}

#[test]
fn submodules_that_lead_elsewhere_are_refused() {
    let them = Repositories::new();
    let other = them.commit("other", &[("file", "")], &[]);
    let local = format!("file://{}", them.served.join("other.git").display());
    let path = them.served.join("other.git").display().to_string();
    for (number, url) in
        [&local, &path, "ext::sh -c id", "../../other.git", "-u"].iter().enumerate()
    {
        let name = format!("url{number}");
        them.commit(&name, &[(".gitmodules", &modules(&[("sub", url)]))], &[("sub", &other)]);
        let ran = them.add(&format!("{name}.git")).fails(1);
        ran.says("Dockerfile:2: ADD").says("sub of http").says("a submodule may not have the URL");
    }
    them.commit("none", &[("file", "")], &[("sub", &other)]);
    let ran = them.add("none.git").fails(1);
    ran.says("it is a submodule for which .gitmodules has no URL").says("?submodules=false");
    them.add("none.git?submodules=false").ok();
    let included =
        format!("[include]\n\tpath = /etc/passwd\n{}", modules(&[("sub", "../other.git")]));
    them.commit("included", &[(".gitmodules", &included)], &[("sub", &other)]);
    them.add("included.git").fails(1).says("it includes other files");
    // Git itself checks no such name out.
    let work = them.place.path().join("none");
    for (number, name) in ["..", ".git"].iter().enumerate() {
        let tree = them.place.path().join("tree.txt");
        std::fs::write(&tree, format!("160000 commit {other}\t{name}\n")).unwrap();
        let made = std::process::Command::new("git")
            .arg("mktree")
            .current_dir(&work)
            .stdin(std::fs::File::open(&tree).unwrap())
            .output()
            .unwrap();
        let tree = String::from_utf8(made.stdout).unwrap();
        let commit = git(&work, &["commit-tree", "-m", "m", tree.trim()]);
        git(&work, &["update-ref", "refs/heads/main", &commit]);
        let name = format!("odd{number}");
        std::fs::rename(&work, them.place.path().join(&name)).unwrap();
        them.publish(&name);
        std::fs::rename(them.place.path().join(&name), &work).unwrap();
        them.add(&format!("{name}.git")).fails(1).says("invalid path");
    }
    them.place.assert_clean();
}

#[test]
fn submodules_within_submodules_have_an_end() {
    let them = Repositories::new();
    let declared = modules(&[("again", "../loop.git")]);
    let mut commit = them.commit("loop", &[("file", ""), (".gitmodules", &declared)], &[]);
    for number in 0..11 {
        let text = number.to_string();
        commit = them.commit("loop", &[("file", &text)], &[("again", &commit)]);
    }
    let said = "submodules are nested more than 10 deep";
    them.add("loop.git").fails(1).says(said);
    them.add("loop.git#main~1").fails(1);
    them.place.assert_clean();
}
