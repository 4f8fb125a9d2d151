//! The machine as an image, from trees made by hand.

use std::os::unix::fs::symlink;

use super::*;

const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n\
    Description: a shell\n of sorts\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";

/// A tree like a Debian's; its files are empty where their content doesn't count.
fn debian() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["usr/bin", "usr/lib", "usr/local", "home/me", "root", "etc/ssl/private", "lib32"]
    {
        fs_err::create_dir_all(root.path().join(folder)).unwrap();
    }
    for (file, content) in [
        ("usr/bin/bash", ""),
        ("usr/lib/os-release", "NAME=Debian\nPRETTY_NAME=\"Debian 12\"\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/shadow", ""),
        ("etc/ssl/certs/ca.pem", ""),
        ("etc/java-17-openjdk/x", ""),
        ("etc/resolv.conf", ""),
        ("etc/zone", ""),
        ("var/lib/dpkg/status", STATUS),
    ] {
        fs_err::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
        fs_err::write(root.path().join(file), content).unwrap();
    }
    for (path, target) in [
        ("bin", "usr/bin"),
        ("lib", "/usr/lib"),
        ("etc/os-release", "../usr/lib/os-release"),
        ("etc/localtime", "/usr/share/zoneinfo/UTC"),
        ("etc/rpc", "zone"),
        ("etc/services", "nowhere"),
    ] {
        symlink(target, root.path().join(path)).unwrap();
    }
    root
}

#[test]
fn what_programs_need_is_mounted_and_nothing_else() {
    let root = debian();
    let host = HostImage::detect(root.path()).unwrap();
    let real = fs_err::canonicalize(root.path()).unwrap();
    let targets: Vec<_> =
        host.root.binds.iter().map(|bind| bind.target.to_str().unwrap()).collect();
    let expected = ["/usr", "/lib32", "/etc/java-17-openjdk", "/etc/rpc", "/etc/ssl/certs"];
    assert_eq!(targets, expected);
    assert_eq!(host.root.binds[0].source, real.join("usr"));
    assert_eq!(host.root.binds[3].source, real.join("etc/zone"), "through the link");
    let links: Vec<_> = host
        .root
        .symlinks
        .iter()
        .map(|link| (link.path.to_str().unwrap(), link.target.to_str().unwrap()))
        .collect();
    assert_eq!(
        links,
        [("/bin", "usr/bin"), ("/lib", "/usr/lib"), ("/etc/os-release", "../usr/lib/os-release"),]
    );
    assert_eq!(host.root.hidden, [Path::new("/usr/local")]);
    assert_eq!(host.system, "Debian 12");
    assert_eq!(
        host.config.words(&["x".into()]).join(" "),
        "/bin/bash -o nounset -o pipefail -o errexit x"
    );
    let json = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<HostImage>(&json).unwrap(), host);
}

#[test]
fn the_id_follows_the_packages_and_nothing_else() {
    let (a, b) = (debian(), debian());
    let id = |root: &tempfile::TempDir| HostImage::detect(root.path()).unwrap().id;
    let first = id(&a);
    assert_eq!(first, id(&b), "the same system elsewhere");
    let status = |text: &str| fs_err::write(a.path().join("var/lib/dpkg/status"), text).unwrap();
    status(&STATUS.replace("of sorts", "of another sort"));
    fs_err::write(a.path().join("usr/local/x"), "").unwrap();
    fs_err::write(a.path().join("etc/passwd"), "").unwrap();
    assert_eq!(id(&a), first);
    status(&STATUS.replace("5.2", "5.3"));
    assert_ne!(id(&a), first);
    status(STATUS);
    fs_err::write(a.path().join("usr/lib/os-release"), "NAME=Debian\n").unwrap();
    assert_ne!(id(&a), first);
    for (file, content) in [
        ("lib/apk/db/installed", "P:musl\nV:1\n"),
        ("var/lib/pacman/local/bash-5/desc", ""),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", "db"),
        ("var/lib/dpkg/status.d/base", "Package: base\nVersion: 1\n"),
    ] {
        let root = debian();
        fs_err::remove_file(root.path().join("var/lib/dpkg/status")).unwrap();
        if file.starts_with("lib/") {
            fs_err::remove_file(root.path().join("lib")).unwrap();
        }
        assert!(
            matches!(HostImage::detect(root.path()), Err(HostBuilderError::NoPackages)),
            "{file}"
        );
        fs_err::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
        fs_err::write(root.path().join(file), content).unwrap();
        assert_ne!(id(&root), first, "{file}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let detect = |missing: &str| {
        let root = debian();
        fs_err::remove_file(root.path().join(missing)).unwrap();
        HostImage::detect(root.path()).unwrap_err()
    };
    assert!(matches!(detect("usr/bin/bash"), HostBuilderError::Program("/bin/bash")));
    assert!(matches!(detect("usr/lib/os-release"), HostBuilderError::NoRelease));
    assert!(matches!(detect("var/lib/dpkg/status"), HostBuilderError::NoPackages));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(HostImage::detect(empty.path()), Err(HostBuilderError::NoUsr(_))));
}

#[test]
fn this_machine_can_be_described() {
    let host = HostImage::detect(Path::new("/")).unwrap();
    assert_eq!(host.id, HostImage::detect(Path::new("/")).unwrap().id);
    assert!(host.root.binds.iter().any(|bind| bind.target == Path::new("/usr")));
}
