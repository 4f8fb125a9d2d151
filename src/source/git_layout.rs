//! The files of a git repository, read and copied without opening it; [`super::git_refs`] has the refs.
//!
//! A helper in a user namespace cannot open a repository of another user, since libgit2 refuses
//! such repositories and reads their configuration; and copying packs is far quicker than making
//! new ones (measured, 90,000 objects in 63 MB: 27 s by libgit2's pack builder, 0.1 s by copying).
//! So a clone is made of the source's object files, packed and loose, and of its refs. Only plain
//! files are copied, and never as links: a build's changes to its clone stay there. No symlink
//! within a repository is followed: the target could be any file of the caller's.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};

use crate::base::regular::open_regular;
use crate::package::CommitId;

/// Upper limit of repositories in a chain of alternates.
const LONGEST_CHAIN: usize = 5;

/// How many folders of objects there may be.
const MOST_FOLDERS: usize = 256;

/// Upper limit of a file with one ref or the path of one folder, in bytes.
pub(super) const LONGEST_REF: u64 = 64 << 10;

/// Upper limit of a file with a list, in bytes.
pub(super) const LONGEST_LIST: u64 = 256 << 20;

/// Where a repository borrows objects from, if it does.
pub(super) fn alternates(objects: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(text) = read_if_there(&objects.join("info/alternates"), LONGEST_REF)? else {
        return Ok(Vec::new());
    };
    // libgit2 takes either for a line's end.
    let lines = text.split(|byte| b"\r\n".contains(byte)).filter(|line| !line.is_empty());
    let path = |line: Vec<u8>| objects.join(OsString::from_vec(line));
    let lines = lines.filter(|line| line[0] != b'#');
    let mut folders = Vec::new();
    for line in lines {
        // git reads a quoted line as what it stands for, and libgit2 as it is written.
        folders.extend(unquoted(line).map(path));
        folders.push(path(line.to_vec()));
    }
    Ok(folders)
}

/// Writes where a repository borrows objects from.
pub(super) fn write_alternates(objects: &Path, from: &[PathBuf]) -> io::Result<()> {
    let mut text = Vec::new();
    for folder in from {
        let path = std::path::absolute(folder)?;
        text.extend_from_slice(&quoted(path.as_os_str().as_bytes()));
        text.push(b'\n');
    }
    fs_err::create_dir_all(objects.join("info"))?;
    fs_err::write(objects.join("info/alternates"), text)
}

/// Writes a repository that has nothing but the objects of others.
pub(super) fn write_borrowing(git_dir: &Path, objects: &[PathBuf], head: &[u8]) -> io::Result<()> {
    for folder in ["objects/pack", "refs/heads", "refs/tags", "info"] {
        fs_err::create_dir_all(git_dir.join(folder))?;
    }
    write_alternates(&git_dir.join("objects"), objects)?;
    fs_err::write(git_dir.join("HEAD"), head)
}

/// A line as git quotes it (`quote_c_style`), where a path has what would end the line.
fn quoted(path: &[u8]) -> Vec<u8> {
    if !path.contains(&b'\n') && !path.starts_with(b"\"") {
        return path.to_vec();
    }
    let mut line = vec![b'"'];
    for byte in path {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            _ => line.push(*byte),
        }
    }
    line.push(b'"');
    line
}

/// Bytes for which a quoted line stands (git's `unquote_c_style`), if it is one.
fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix(b"\"")?.iter();
    let mut path = Vec::new();
    loop {
        match rest.next()? {
            b'"' => return Some(path),
            b'\\' => path.push(match rest.next()? {
                b'a' => 7,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                byte @ (b'"' | b'\\') => *byte,
                first @ b'0'..=b'3' => {
                    let digits = [*first, *rest.next()?, *rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?
                }
                _ => return None,
            }),
            byte => path.push(*byte),
        }
    }
}

/// Opens folders of objects as one database, without any configuration.
pub(super) fn open_database(objects: &[PathBuf]) -> Result<Odb<'static>, git2::Error> {
    let database = Odb::new()?;
    for folder in objects {
        let path = folder.to_str();
        let path = path.ok_or_else(|| git2::Error::from_str("its path is not UTF-8"))?;
        database.add_disk_alternate(path)?;
    }
    Ok(database)
}

/// Opens folders of objects as one repository, without any configuration.
pub(super) fn open_objects(objects: &[PathBuf]) -> Result<Repository, git2::Error> {
    Repository::from_odb(open_database(objects)?)
}

/// Folders with a repository's objects: its own, and the borrowed ones.
pub(super) fn object_folders(git_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = vec![git_dir.join("objects")];
    let mut last = all.clone();
    // git ends there as well, with an error (alternates of alternates, five deep).
    for _ in 0..LONGEST_CHAIN {
        let mut next = Vec::new();
        for objects in &last {
            next.extend(alternates(objects)?);
        }
        next.retain(|objects| !all.contains(objects));
        next.sort_unstable();
        next.dedup();
        if all.len() + next.len() > MOST_FOLDERS {
            let message = format!("{} borrows objects from too many places", git_dir.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        all.extend_from_slice(&next);
        last = next;
    }
    Ok(all)
}

/// True if a folder of objects has the commit. As no repository is opened, the folder may belong to
/// any user.
pub(super) fn has_object(objects: &Path, commit: &CommitId) -> Result<bool, git2::Error> {
    let database = open_database(&[objects.to_owned()])?;
    Ok(database.exists(Oid::from_str(commit.as_str())?))
}

/// Copies all objects from one folder of objects to another. Existing files are the same.
pub(super) fn copy_objects(from: &Path, to: &Path) -> io::Result<()> {
    // A `git gc` at the same time takes files away, after it has put others there.
    let mut attempts = 0;
    loop {
        attempts += 1;
        match copy_objects_once(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 4 => {}
            result => return result,
        }
    }
}

fn copy_objects_once(from: &Path, to: &Path) -> io::Result<()> {
    let packs = to.join("pack");
    fs_err::create_dir_all(&packs)?;
    for entry in list(&from.join("pack"))? {
        // The index comes last, so a pack that has one is whole.
        if entry.extension().is_some_and(|extension| extension == "idx") {
            copy_file(&entry.with_extension("pack"), &packs)?;
            copy_file(&entry, &packs)?;
        }
    }
    for folder in list(from)? {
        if !is_hex(&folder, 2) {
            continue;
        }
        let objects = list(&folder)?;
        let target = to.join(folder.file_name().unwrap_or_default());
        for object in objects.iter().filter(|object| is_hex(object, 38)) {
            fs_err::create_dir_all(&target)?;
            copy_file(object, &target)?;
        }
    }
    Ok(())
}

fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if fs_err::symlink_metadata(folder).is_ok_and(|data| data.is_symlink()) {
        return Err(not_followed(folder));
    }
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_hex(path: &Path, digits: usize) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == digits && name.iter().all(u8::is_ascii_hexdigit)
}

fn copy_file(from: &Path, folder: &Path) -> io::Result<()> {
    let to = folder.join(from.file_name().unwrap_or_default());
    // Names are digests of the contents, so a file that is there is the same.
    if fs_err::symlink_metadata(&to).is_ok() {
        return Ok(());
    }
    // Neither a link, which may lead to a private file, nor a FIFO.
    if !fs_err::symlink_metadata(from)?.is_file() {
        let problem = format!("{} is not a regular file", from.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    fs_err::copy(from, to).map(drop)
}

/// Copies a file that is a plain one, with its time, if it is there.
pub(super) fn copy_plain(from: &Path, to: &Path, longest: u64) -> io::Result<()> {
    let Some(file) = open_plain(from)? else { return Ok(()) };
    let data = file.metadata()?;
    if data.len() > longest {
        return Err(too_long(from, longest));
    }
    let mut copy = fs_err::File::create(to)?;
    io::copy(&mut io::Read::take(file, longest), &mut copy)?;
    // git compares times of files with that of the index.
    copy.file().set_modified(data.modified()?)
}

/// Reads a regular file, links followed.
pub(super) fn read_followed(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    read_whole(path, open_regular(path)?, longest)
}

/// Reads a plain file, if it is there.
pub(super) fn read_if_there(path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
    open_plain(path)?.map(|file| read_whole(path, file, longest)).transpose()
}

fn read_whole(path: &Path, file: fs_err::File, longest: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, longest + 1), &mut content)?;
    if content.len() as u64 > longest { Err(too_long(path, longest)) } else { Ok(content) }
}

fn open_plain(path: &Path) -> io::Result<Option<fs_err::File>> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match fs_err::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(not_followed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn too_long(path: &Path, longest: u64) -> io::Error {
    let problem = format!("{} is longer than {longest} bytes, and is not read", path.display());
    io::Error::new(io::ErrorKind::FileTooLarge, problem)
}

fn not_followed(path: &Path) -> io::Error {
    let problem =
        format!("{} is a symlink or not a regular file, so it is not read", path.display());
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_folders_are_those_that_git_and_libgit2_read() {
        let place = tempfile::tempdir().unwrap();
        let objects = place.path();
        fs_err::create_dir(objects.join("info")).unwrap();
        let read = |text: &[u8]| {
            fs_err::write(objects.join("info/alternates"), text).unwrap();
            alternates(objects).unwrap()
        };
        assert_eq!(read(b"/a\n#/b\n\n../c\n"), [PathBuf::from("/a"), objects.join("../c")]);
        let odd = read(b"\"/a\\tb\\\"\\141\"\n");
        assert_eq!(odd[0], Path::new("/a\tb\"a"));
        assert_eq!(read(b"\"/a\n"), [objects.join("\"/a")]);
        for path in ["/a b", "/a\nb", "/a\n\"\\b"] {
            write_alternates(objects, &[path.into()]).unwrap();
            assert_eq!(alternates(objects).unwrap()[0], Path::new(path));
        }
    }

    #[test]
    fn many_borrowed_folders_are_refused() {
        let place = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(place.path().join("objects/info")).unwrap();
        let lines: Vec<String> = (0..1000).map(|number| format!("/x{number}")).collect();
        fs_err::write(place.path().join("objects/info/alternates"), lines.join("\n")).unwrap();
        assert!(object_folders(place.path()).unwrap_err().to_string().contains("too many"));
    }
}
