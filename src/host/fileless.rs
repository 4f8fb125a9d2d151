//! Units that systemd has without a file: built-in ones, slices made on demand, and active mounts
//! and swap space (systemd.slice(5), systemd.special(7), systemd.mount(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Slices that systemd and its services make on demand, with all slices below: for instances of
/// templates, users, machines and capsules; `-.slice` is above all.
const SLICES: [&str; 5] = ["", "system", "user", "machine", "capsule"];

/// Lists of mounts: of systemd, as far as this process may read it, and of this process.
const MOUNTS: [&str; 2] = ["/proc/1/mountinfo", OWN_MOUNTS];
const OWN_MOUNTS: &str = "/proc/self/mountinfo";

/// True if systemd has a unit even without a file.
pub(super) fn is_built_in(unit: &str) -> bool {
    let slice = unit.strip_suffix(".slice");
    let top = slice.and_then(|stem| stem.split('-').next());
    top.is_some_and(|top| SLICES.contains(&top)) || unit == "init.scope"
}

/// Active mounts and swap space.
#[derive(Debug, Default)]
pub(super) struct InUse {
    /// Mount points by the names of their units.
    mounts: BTreeMap<String, PathBuf>,
    /// Swap devices and files.
    swaps: Vec<PathBuf>,
}

impl InUse {
    /// Reads the kernel's lists; an unreadable list counts as empty.
    pub(super) fn read() -> Self {
        let mut all = Self::default();
        for list in MOUNTS {
            all.add_mounts(&fs_err::read(list).unwrap_or_default());
        }
        // Missing from kernels built without swap.
        all.add_swaps(&fs_err::read("/proc/swaps").unwrap_or_default());
        all
    }

    /// Reads the mounts that this process has.
    pub(super) fn mounts() -> Self {
        let mut all = Self::default();
        all.add_mounts(&fs_err::read(OWN_MOUNTS).unwrap_or_default());
        all
    }

    /// True if something is mounted at a path itself; the target of a symlink does not count.
    pub(super) fn is_mount_point(&self, path: &Path) -> bool {
        // The kernel lists mount points by their real paths, and the root may be below a symlink.
        let above = path.parent().and_then(|above| fs_err::canonicalize(above).ok());
        let (Some(above), Some(name)) = (above, path.file_name()) else { return false };
        let place = above.join(name);
        self.mounts.values().any(|point| *point == place)
    }

    /// Adds the mount points of a `mountinfo` (`proc_pid_mountinfo(5)`).
    fn add_mounts(&mut self, list: &[u8]) {
        for line in list.split(|byte| *byte == b'\n') {
            // The fifth field is the mount point; the optional fields, whose number differs, come
            // later.
            if let Some(point) = line.split(|byte| *byte == b' ').nth(4) {
                let point = unquoted(point);
                self.mounts.insert(format!("{}.mount", escaped(&point)), point);
            }
        }
    }

    /// Adds the devices and files of `/proc/swaps` (`proc_swaps(5)`), whose first line is a heading.
    fn add_swaps(&mut self, list: &[u8]) {
        for line in list.split(|byte| *byte == b'\n').skip(1) {
            if let Some(name) = line.split(u8::is_ascii_whitespace).next().filter(|n| !n.is_empty())
            {
                self.swaps.push(unquoted(name));
            }
        }
    }

    /// Finds the mount point or swap space of a unit, if it is in use.
    pub(super) fn find(&self, unit: &str) -> Option<PathBuf> {
        let Some(stem) = unit.strip_suffix(".swap") else { return self.mounts.get(unit).cloned() };
        // systemd has a device under the names of all its symlinks.
        let path = unescaped(stem);
        let real = fs_err::canonicalize(&path).ok();
        let mut swaps = self.swaps.iter();
        swaps.find(|swap| **swap == path || Some(*swap) == real.as_ref()).cloned()
    }
}

/// Decodes a path of a file in `/proc`, in which `\040` stands for a blank.
fn unquoted(name: &[u8]) -> PathBuf {
    let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
    OsString::from_vec(with_escapes(name, octal, |byte| byte)).into()
}

/// Decodes a text in which a backslash and three characters stand for a byte.
fn with_escapes(
    text: &[u8],
    escape: impl Fn(&[u8]) -> Option<u8>,
    plain: impl Fn(u8) -> u8,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..3).filter(|_| *first == b'\\').and_then(&escape);
        bytes.push(escaped.unwrap_or_else(|| plain(*first)));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    bytes
}

/// Returns a path's unit name without its suffix, as `systemd-escape --path` does.
fn escaped(path: &Path) -> String {
    let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|p| !p.is_empty());
    let plain = parts.collect::<Vec<_>>().join(&b'/');
    if plain.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::with_capacity(plain.len());
    for (place, byte) in plain.into_iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            // A leading dot alone is escaped (systemd.unit(5), "String Escaping for Inclusion in
            // Unit Names").
            b'.' if place > 0 => name.push('.'),
            b'_' | b':' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => _ = write!(name, "\\x{byte:02x}"),
        }
    }
    name
}

/// Returns the path of a unit name, as `systemd-escape --unescape --path` does.
fn unescaped(stem: &str) -> PathBuf {
    let hex = |digits: &[u8]| {
        let digits = digits.strip_prefix(b"x")?;
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let stem = if stem == "-" { "" } else { stem };
    let plain = |byte| if byte == b'-' { b'/' } else { byte };
    let path = [b"/", &*with_escapes(stem.as_bytes(), hex, plain)].concat();
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_that_systemd_makes_are_its_own() {
        for unit in [
            "init.scope",
            "-.slice",
            "system.slice",
            "system-a.slice",
            "system-a-b.slice",
            "user.slice",
            "user-1000.slice",
            "machine.slice",
            "machine-x.slice",
            "capsule.slice",
            "-a.slice",
        ] {
            assert!(is_built_in(unit), "{unit}");
        }
        for unit in
            ["a.slice", "dcos-system.slice", "systemd.slice", "user.service", "system-a.socket"]
        {
            assert!(!is_built_in(unit), "{unit}");
        }
    }

    #[test]
    fn units_of_paths_have_their_names() {
        let table = [
            ("/", "-"),
            ("/var/lib/x", "var-lib-x"),
            ("//var///lib/", "var-lib"),
            ("/mnt/a-b", r"mnt-a\x2db"),
            ("/.hidden/.x", r"\x2ehidden-.x"),
            ("/mnt/a b", r"mnt-a\x20b"),
            ("/mnt/ä", r"mnt-\xc3\xa4"),
            ("/a:b_c.d", "a:b_c.d"),
            ("/a\\b@c", r"a\x5cb\x40c"),
        ];
        for (path, name) in table {
            assert_eq!(escaped(Path::new(path)), name, "{path}");
            let plain = path.replace("//", "/").replace("//", "/");
            let plain = if plain == "/" { &plain } else { plain.trim_end_matches('/') };
            assert_eq!(unescaped(name), Path::new(plain), "{name}");
        }
    }

    #[test]
    fn what_is_mounted_and_what_is_swap_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [device, link] = ["device", "link"].map(|name| folder.path().join(name));
        fs_err::write(&device, "").unwrap();
        fs_err::os::unix::fs::symlink(&device, &link).unwrap();
        let device = fs_err::canonicalize(device).unwrap();
        let mut used = InUse::default();
        used.add_mounts(
            b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
              22 1 0:5 / /mnt/a\\040b rw - tmpfs none rw\n23 1 0:6 /x /srv/n-fs rw - nfs s:/x rw\n",
        );
        used.add_swaps(
            format!(
                "Filename\t\t\tType\t\tSize\n/dev/dm-1   partition\t1\t0\t-2\n\
                 /swap\\040file\tfile 1 0 -3\n{} partition 1 0 -4\n",
                device.display()
            )
            .as_bytes(),
        );
        let name = |path: &Path| format!("{}.swap", escaped(path));
        for (unit, path) in [
            ("-.mount".to_owned(), Path::new("/")),
            (r"mnt-a\x20b.mount".to_owned(), Path::new("/mnt/a b")),
            (r"srv-n\x2dfs.mount".to_owned(), Path::new("/srv/n-fs")),
            (r"dev-dm\x2d1.swap".to_owned(), Path::new("/dev/dm-1")),
            (r"swap\x20file.swap".to_owned(), Path::new("/swap file")),
            (name(&device), &device),
            (name(&link), &device),
        ] {
            assert_eq!(used.find(&unit).as_deref(), Some(path), "{unit}");
        }
        for unit in
            ["srv.mount", "srv-n-fs.mount", "srv.service", "swap.swap", "Filename.swap", "mnt.swap"]
        {
            assert_eq!(used.find(unit), None, "{unit}");
        }
    }
}
