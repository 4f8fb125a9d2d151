//! Paths in images: texts with slashes, which never lead out of the root.

/// `path` as seen from the absolute folder `from`, absolute and without `.`, `..` and double
/// slashes; `..` at the root stays there. A trailing slash is dropped.
pub(super) fn joined(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { from };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// As [`joined`], with a trailing slash if the path is written as a folder: `x/`, `x/.`, `.`.
pub(super) fn joined_place(from: &str, path: &str) -> String {
    let place = joined(from, path);
    let folder = path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == ".";
    if folder && place != "/" { place + "/" } else { place }
}

/// A path below a root: relative, without anything that leads out.
pub(super) fn below(path: &str) -> String {
    joined("/", path)[1..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_root() {
        for (from, path, result) in [
            ("/", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a/b", "..", "/a"),
            ("/a", "../../../x", "/x"),
            ("/a", "/b//c/./d/", "/b/c/d"),
            ("/a", ".", "/a"),
            ("/", "..", "/"),
        ] {
            assert_eq!(joined(from, path), result);
        }
        for (path, result) in [
            ("x/", "/a/x/"),
            ("x", "/a/x"),
            (".", "/a/"),
            ("", "/a/"),
            ("/", "/"),
            ("x/.", "/a/x/"),
        ] {
            assert_eq!(joined_place("/a", path), result);
        }
        assert_eq!(below("../x/./y/"), "x/y");
    }
}
