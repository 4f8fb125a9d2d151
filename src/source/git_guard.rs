//! Refusal of git repositories in which a reader would wait or read without an end: at a FIFO or a device in place
//! of a file, in a file of any size, through a link to such a one, or by a setting that includes one. libgit2 and git open whatever has the name of one of their files.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::git_layout;
use super::local_repository::LocalRepository;
use crate::base::regular::open_regular;

/// Upper limit of entries of a repository's folders.
const MOST: usize = 4_000_000;

/// Upper limit of folders that are looked through because a link leads to them.
const MOST_LINKED: usize = 64;

/// Largest number of files of configuration that include one another.
const MOST_INCLUDED: usize = 64;

/// Upper limit of a file of configuration in bytes.
pub(super) const LONGEST_CONFIG: u64 = 1 << 20;

/// Upper limit of an index in bytes, and of the packed refs.
pub(super) const LONGEST_INDEX: u64 = 1 << 30;

/// Names of files that are read whole, and upper limits of their sizes in bytes.
const LIMITS: [(&str, u64); 8] = [
    ("HEAD", git_layout::LONGEST_REF),
    ("commondir", git_layout::LONGEST_REF),
    ("gitdir", git_layout::LONGEST_REF),
    ("config", LONGEST_CONFIG),
    ("config.worktree", LONGEST_CONFIG),
    ("index", LONGEST_INDEX),
    ("packed-refs", git_layout::LONGEST_LIST),
    ("shallow", git_layout::LONGEST_LIST),
];

/// Folders of a repository that are looked through also where they are links.
const FOLDERS: [&str; 5] = ["objects", "refs", "info", "modules", "worktrees"];

/// Reason for which a repository is not read.
pub(super) type RepositoryRefusal = String;

/// Folders of a repository as git finds them, without its configuration. After this, what is there can be
/// opened by libgit2 and git, and is read with an end.
pub(super) fn find(path: &Path) -> Result<Option<LocalRepository>, RepositoryRefusal> {
    let found = folders(path);
    match &found {
        Some(repository) => check(repository)?,
        None => check_unknown(path)?,
    }
    Ok(found)
}

fn folders(path: &Path) -> Option<LocalRepository> {
    let dot_git = path.join(".git");
    let (git_dir, work_tree) = match fs_err::metadata(&dot_git) {
        Ok(data) if data.is_dir() => (dot_git, Some(path.to_owned())),
        Ok(_) => {
            let text = read(&dot_git)?;
            let folder = text.strip_prefix(b"gitdir: ")?;
            (path.join(OsStr::from_bytes(folder)), Some(path.to_owned()))
        }
        Err(_) if path.file_name() == Some(OsStr::new(".git")) => {
            (path.to_owned(), path.parent().map(Path::to_owned))
        }
        Err(_) => (path.to_owned(), None),
    };
    let common_dir = match read(&git_dir.join("commondir")) {
        Some(text) => git_dir.join(OsStr::from_bytes(&text)),
        None => git_dir.clone(),
    };
    (git_dir.join("HEAD").is_file() && common_dir.join("objects").is_dir())
        .then_some(LocalRepository { git_dir, common_dir, work_tree })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = open_regular(path).ok()?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, git_layout::LONGEST_REF), &mut text).ok()?;
    Some(text.trim_ascii_end().to_vec())
}

/// Refuses a repository that cannot be read with an end.
fn check(repository: &LocalRepository) -> Result<(), RepositoryRefusal> {
    let mut walk = GuardWalk { left: VecDeque::new(), seen: Vec::new(), entries: 0 };
    walk.add(&repository.git_dir);
    walk.add(&repository.common_dir);
    while let Some(folder) = walk.left.pop_front() {
        walk.look(&folder)?;
    }
    let objects = git_layout::object_folders(&repository.common_dir);
    for folder in objects.map_err(|error| error.to_string())?.iter().skip(1) {
        walk.add(folder);
        while let Some(folder) = walk.left.pop_front() {
            walk.look(&folder)?;
        }
    }
    let [common, own] = [&repository.common_dir, &repository.git_dir];
    check_configuration(&[common.join("config"), own.join("config.worktree")])
}

/// Refuses a folder whose file `.git` or files of git cannot be read with an end, before anybody looks for a
/// repository in it.
fn check_unknown(path: &Path) -> Result<(), RepositoryRefusal> {
    let mut names = vec![path.join(".git")];
    for folder in [path.to_owned(), path.join(".git")] {
        names.extend(LIMITS.iter().map(|(name, _)| folder.join(name)));
    }
    // Other folders have files of such names and of any size.
    let may_be_bare = ["objects", "commondir"].iter().any(|name| path.join(name).exists());
    names.iter().try_for_each(|name| match fs_err::metadata(name) {
        Ok(data) if is_odd(data.file_type()) => Err(odd(name)),
        Ok(_) if name.parent() == Some(path) && !name.ends_with(".git") && !may_be_bare => Ok(()),
        Ok(data) => check_size(name, data.len()),
        Err(_) => Ok(()),
    })
}

struct GuardWalk {
    left: VecDeque<PathBuf>,
    /// Folders that are or were in `left`, without links.
    seen: Vec<PathBuf>,
    entries: usize,
}

impl GuardWalk {
    fn add(&mut self, folder: &Path) {
        if let Ok(real) = fs_err::canonicalize(folder)
            && !self.seen.iter().any(|seen| real.starts_with(seen))
        {
            self.seen.push(real.clone());
            self.left.push_back(real);
        }
    }

    fn look(&mut self, top: &Path) -> Result<(), RepositoryRefusal> {
        for entry in WalkDir::new(top).min_depth(1) {
            let entry = match entry {
                // git removes what nobody needs at the same time.
                Err(error)
                    if error.io_error().is_some_and(|it| it.kind() == io::ErrorKind::NotFound) =>
                {
                    continue;
                }
                entry => entry.map_err(|error| format!("it cannot be looked through: {error}"))?,
            };
            self.entries += 1;
            if self.entries > MOST {
                return Err(format!("it has more than {MOST} files"));
            }
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.is_symlink() {
                self.link(top, path)?;
            } else if kind.is_file() {
                if limit(path).is_some() && !is_reflog(top, path) {
                    let size = entry.metadata().map_or(0, |data| data.len());
                    check_size(path, size)?;
                }
            } else if is_odd(kind) {
                return Err(odd(path));
            }
        }
        Ok(())
    }

    /// Looks where a link leads.
    fn link(&mut self, top: &Path, path: &Path) -> Result<(), RepositoryRefusal> {
        let Ok(data) = fs_err::metadata(path) else { return Ok(()) };
        if is_odd(data.file_type()) {
            return Err(odd(path));
        }
        if !data.is_dir() {
            return if is_reflog(top, path) { Ok(()) } else { check_size(path, data.len()) };
        }
        let first = path.strip_prefix(top).ok().and_then(|path| path.components().next());
        let is_read = first.is_some_and(|first| {
            FOLDERS.iter().any(|folder| first.as_os_str() == *folder) || is_objects(top)
        });
        if is_read {
            self.add(path);
            if self.seen.len() > MOST_LINKED {
                return Err("it has too many links to folders".to_owned());
            }
        }
        Ok(())
    }
}

fn is_objects(folder: &Path) -> bool {
    folder.ends_with("objects") || folder.ends_with("refs") || folder.ends_with("pack")
}

/// True for a FIFO and a device. A socket cannot be opened; git's own monitor of files has one.
pub(super) fn is_odd(kind: std::fs::FileType) -> bool {
    kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
}

fn odd(path: &Path) -> RepositoryRefusal {
    format!("{} is a FIFO or a device, and is not read", path.display())
}

/// True for a reflog of a git directory, or of a submodule or work tree in the directory: the file grows with each
/// commit, has the name of its reference, and is not read here. A reference may be called `logs`, too.
fn is_reflog(top: &Path, path: &Path) -> bool {
    let below = path.strip_prefix(top).unwrap_or(path);
    let mut folders = below.components().map(std::path::Component::as_os_str);
    folders.find(|name| *name == "logs" || *name == "refs").is_some_and(|name| name == "logs")
}

fn limit(path: &Path) -> Option<u64> {
    let name = path.file_name()?;
    if name.as_bytes().starts_with(b"sharedindex.") {
        return Some(LONGEST_INDEX);
    }
    LIMITS.iter().find(|(known, _)| name == *known).map(|(_, longest)| *longest)
}

fn check_size(path: &Path, size: u64) -> Result<(), RepositoryRefusal> {
    match limit(path) {
        Some(longest) if size > longest => {
            Err(format!("{} is longer than {longest} bytes, and is not read", path.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses files of configuration that include what is not a file, as libgit2 reads all of them.
fn check_configuration(files: &[PathBuf]) -> Result<(), RepositoryRefusal> {
    let mut left: VecDeque<PathBuf> = files.iter().cloned().collect();
    let mut count = 0;
    while let Some(file) = left.pop_front() {
        count += 1;
        if count > MOST_INCLUDED {
            return Err("its configuration includes too many files".to_owned());
        }
        match fs_err::metadata(&file) {
            Err(_) => continue,
            Ok(data) if is_odd(data.file_type()) => return Err(odd(&file)),
            Ok(data) if !data.is_file() => continue,
            Ok(data) if data.len() > LONGEST_CONFIG => {
                let longest = LONGEST_CONFIG;
                return Err(format!("{} is longer than {longest} bytes", file.display()));
            }
            Ok(_) => {}
        }
        let text =
            git_layout::read_followed(&file, LONGEST_CONFIG).map_err(|error| error.to_string())?;
        for path in includes(&String::from_utf8_lossy(&text)) {
            let path = path.ok_or_else(|| {
                format!("{} includes another file by an escaped path", file.display())
            })?;
            // Of the user's home: libgit2 takes it from the environment, and what lies there is the user's.
            if !path.starts_with('~') {
                // A path is relative to the file that includes it (git-config(1), "Includes").
                left.push_back(file.parent().unwrap_or(&file).join(path));
            }
        }
    }
    Ok(())
}

/// Paths that a configuration includes; `None` for one that is escaped.
fn includes(text: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut is_in = false;
    for line in text.lines() {
        let mut rest = line.trim_start();
        if rest.starts_with('[') {
            let section = rest[1..].trim_start().to_ascii_lowercase();
            // `[include]` and `[includeIf "…"]`, whose condition is not judged here: any may hold.
            is_in = section.starts_with("include");
            // A setting may follow on the same line.
            rest = rest.rfind(']').map_or("", |at| &rest[at + 1..]);
        }
        let Some((name, value)) = rest.split_once('=').filter(|_| is_in) else { continue };
        if !name.trim().eq_ignore_ascii_case("path") {
            continue;
        }
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value);
        let is_plain = !value.contains(['\\', '"', '#', ';', ']']);
        found.push(is_plain.then(|| value.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_found() {
        let path = |path: &str| Some(path.to_owned());
        for (text, found) in [
            ("[core]\npath = x\n", vec![]),
            ("[include]\n\tpath = ../x\n", vec![path("../x")]),
            ("[Include] Path=x\n[core]\npath = y\n", vec![path("x")]),
            ("[includeIf \"gitdir:/x/\"]\npath = \"a b\"\n", vec![path("a b")]),
            ("[include]\npath = a\\\nb\n", vec![None]),
            ("[include]\npath = a ; b\n", vec![None]),
            ("[ include ]\npath = x\n", vec![path("x")]),
        ] {
            assert_eq!(includes(text), found, "{text}");
        }
    }
}
