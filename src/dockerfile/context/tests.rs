use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

struct ContextFolder(tempfile::TempDir);

impl ContextFolder {
    fn new(files: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for file in files {
            let (name, content) = file.split_once('=').unwrap_or((file, file));
            let path = place.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix("->") {
                Some(target) => fs_err::os::unix::fs::symlink(target, path).unwrap(),
                None if name.ends_with('/') => fs_err::create_dir_all(path).unwrap(),
                None => fs_err::write(path, content).unwrap(),
            }
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn places(&self, source: &str, exclude: &[&str], parents: bool) -> Result<Vec<String>, String> {
        let files =
            ContextFiles::of_context(self.path(), None).map_err(|error| error.to_string())?;
        let exclude = Patterns::new(exclude.iter().copied()).unwrap();
        let choice = FileChoice { exclude, parents };
        let mut places = Vec::new();
        for selected in files.select(source, &choice).map_err(|error| error.to_string())? {
            for entry in files.entries(&selected, &choice) {
                places.push(entry.unwrap().place.display().to_string());
            }
        }
        Ok(places)
    }

    fn sum(&self) -> Sha {
        let files = ContextFiles::of_tree(self.path());
        let choice = FileChoice::default();
        let [all] = <[Selected; 1]>::try_from(files.select("", &choice).unwrap()).unwrap();
        digest(&files, files.entries(&all, &choice), false).unwrap()
    }
}

type Sha = crate::base::digest::Sha256Sum;

#[test]
fn sources_select_files_and_what_folders_hold() {
    let place = ContextFolder::new(&[
        "a/x.txt",
        "a/y.md",
        "a/sub/z.txt",
        "b/x.txt",
        "top",
        "a/link=->x.txt",
    ]);
    for (source, exclude, parents, found) in [
        ("top", &[][..], false, &["top"][..]),
        ("a/x.txt", &[], false, &["x.txt"]),
        ("b", &[], false, &["", "x.txt"]),
        (
            "",
            &[],
            false,
            &[
                "",
                "a",
                "a/link",
                "a/sub",
                "a/sub/z.txt",
                "a/x.txt",
                "a/y.md",
                "b",
                "b/x.txt",
                "top",
            ],
        ),
        ("a/*.txt", &[], false, &["x.txt"]),
        ("*/x.txt", &[], false, &["x.txt", "x.txt"]),
        ("?", &["sub"], false, &["", "link", "x.txt", "y.md", "", "x.txt"]),
        ("nope*", &[], false, &[]),
        ("a", &["*.txt"], false, &["", "link", "sub", "sub/z.txt", "y.md"]),
        ("a", &["**/*.txt", "!sub/z.txt"], false, &["", "link", "sub", "sub/z.txt", "y.md"]),
        ("a/*", &["*.txt"], false, &["link", "", "y.md"]),
        ("a/x.txt", &[], true, &["a/x.txt"]),
        ("a/./sub/z.txt", &[], true, &["sub/z.txt"]),
        ("**/*.txt", &[], true, &["a/sub/z.txt", "a/x.txt", "b/x.txt"]),
        ("a/./**/*.txt", &[], true, &["sub/z.txt", "x.txt"]),
        ("b", &[], true, &["b", "b/x.txt"]),
    ] {
        let got = place.places(source, exclude, parents).unwrap();
        assert_eq!(got, found, "{source} {exclude:?} {parents}");
    }
    for (source, message) in
        [("nope", "there is no \"nope\""), ("a/x.txt/y", "there is no"), ("[", "is not a pattern")]
    {
        let error = place.places(source, &[], false).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn links_in_sources_never_lead_out() {
    let place = ContextFolder::new(&[
        "etc/own",
        "in=->etc",
        "root=->/etc/own",
        "up=->../../../../etc",
        "loop=->loop",
        "out=->/nonexistent-here",
    ]);
    assert_eq!(place.places("in", &[], false).unwrap(), ["", "own"]);
    assert_eq!(place.places("in/own", &[], false).unwrap(), ["own"]);
    assert_eq!(place.places("root", &[], false).unwrap(), ["root"]);
    assert_eq!(place.places("up", &[], false).unwrap(), ["", "own"]);
    assert!(place.places("loop", &[], false).unwrap_err().contains("symlinks"));
    assert!(place.places("out", &[], false).unwrap_err().contains("there is no"));
    assert!(place.places("up/passwd", &[], false).unwrap_err().contains("there is no"));
    let all = place.places("", &[], false).unwrap();
    assert!(all.contains(&"loop".to_owned()) && all.contains(&"out".to_owned()));
}

#[test]
fn what_the_ignore_file_leaves_out_is_not_there() {
    let place = ContextFolder::new(&[
        ".dockerignore=*.o\nnode\n!node/keep/this\nDockerfile\n",
        "Dockerfile",
        "a.o",
        "a.c",
        "node/x",
        "node/keep/this",
        "node/keep/that",
        "link=->a.o",
    ]);
    let all = place.places("", &[], false).unwrap();
    assert_eq!(all, ["", ".dockerignore", "a.c", "link", "node", "node/keep", "node/keep/this"]);
    assert!(place.places("a.o", &[], false).unwrap_err().contains("left out"));
    assert!(place.places("link", &[], false).unwrap_err().contains("left out"));
    assert_eq!(place.places("*.o", &[], false).unwrap(), Vec::<String>::new());
    assert_eq!(place.places("node", &[], false).unwrap(), ["", "keep", "keep/this"]);
    fs_err::write(place.path().join("Dockerfile.dockerignore"), "**\n!a.*\n").unwrap();
    let files =
        ContextFiles::of_context(place.path(), Some(&place.path().join("Dockerfile"))).unwrap();
    assert_eq!(files.select("a.*", &FileChoice::default()).unwrap().len(), 2);
    assert!(files.select("node/keep/this", &FileChoice::default()).is_err());
}

#[test]
fn the_digest_counts_content_names_modes_and_links_alone() {
    let one = ContextFolder::new(&["a/x=1", "l=->a"]);
    let sum = one.sum();
    let same = ContextFolder::new(&["l=->a", "a/x=1"]);
    let old = std::time::SystemTime::UNIX_EPOCH;
    let file = fs_err::File::options().write(true).open(same.path().join("a/x")).unwrap();
    file.file().set_modified(old).unwrap();
    let root = fs_err::metadata(one.path()).unwrap().permissions();
    let root_mode = root.clone();
    fs_err::set_permissions(same.path(), root).unwrap();
    assert_eq!(same.sum(), sum);
    for changed in [
        &["a/x=2", "l=->a"][..],
        &["a/y=1", "l=->a"],
        &["a/x=1", "l=->b"],
        &["a/x=1", "l=1"],
        &["a/x=1", "a/x2", "l=->a"],
    ] {
        assert_ne!(ContextFolder::new(changed).sum(), sum, "{changed:?}");
    }
    // Another name of a file counts where it is copied too, and nowhere else.
    let elsewhere = tempfile::tempdir_in(same.path().parent().unwrap()).unwrap();
    fs_err::hard_link(same.path().join("a/x"), elsewhere.path().join("x")).unwrap();
    assert_eq!(same.sum(), sum);
    let apart = ContextFolder::new(&["l=->a", "a/x=1", "b=1"]);
    fs_err::set_permissions(apart.path(), root_mode.clone()).unwrap();
    fs_err::hard_link(same.path().join("a/x"), same.path().join("b")).unwrap();
    assert_ne!(same.sum(), apart.sum());
    fs_err::remove_file(same.path().join("b")).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(same.path().join("a/x"), executable).unwrap();
    assert_ne!(same.sum(), sum);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn walking_leaves_out_what_the_patterns_do(
        patterns in prop::collection::vec("!?[ab*]{1,2}(/[ab*]{1,2}){0,2}", 0..4),
        names in prop::collection::btree_set("[ab]{1,2}(/f[ab]|/[ab]/f[ab])?", 1..6),
    ) {
        // What is a folder for one name can't be a file for another.
        let files: Vec<String> = names.iter().map(|name| format!("{name}/file=x")).collect();
        let place = ContextFolder::new(&files.iter().map(String::as_str).collect::<Vec<_>>());
        fs_err::write(place.path().join(".dockerignore"), patterns.join("\n")).unwrap();
        let read = Patterns::parse(&patterns.join("\n")).unwrap();
        let found = place.places("", &[], false).unwrap();
        for name in names {
            let path = format!("{name}/file");
            prop_assert_eq!(found.contains(&path), !read.leaves_out(&path), "{} {:?}", path, patterns);
        }
    }
}

#[test]
fn texts_behind_links_that_lead_out_are_not_read() {
    let outside = ContextFolder::new(&["secret=CANARY"]);
    let secret = outside.path().join("secret");
    let place = ContextFolder::new(&["in/Dockerfile=FROM x"]);
    let link = |target: &Path, name: &str| {
        fs_err::os::unix::fs::symlink(target, place.path().join(name)).unwrap();
    };
    link(&secret, "Dockerfile");
    link(Path::new("in/Dockerfile"), "inside");
    let read = |name: &str| read_below(place.path(), &place.path().join(name), "the Dockerfile");
    assert!(matches!(read("Dockerfile"), Err(ContextError::LeadsOut { .. })));
    assert_eq!(read("inside").unwrap(), "FROM x");
    assert!(matches!(read("none"), Err(ContextError::Read { .. })));
    for name in [".dockerignore", "inside.dockerignore"] {
        link(&secret, name);
        let files = ContextFiles::of_context(place.path(), Some(&place.path().join("inside")));
        assert!(matches!(files, Err(ContextError::LeadsOut { .. })), "{name}");
        fs_err::remove_file(place.path().join(name)).unwrap();
    }
}

#[test]
fn long_files_and_those_without_an_end_stop_nothing() {
    let place = ContextFolder::new(&["a=1234", "b=1234", "Dockerfile=FROM scratch"]);
    let interrupt = Arc::<Interrupt>::default();
    let sum = |most| {
        let files = ContextFiles::of_tree(place.path()).within(most, &interrupt);
        let choice = FileChoice::default();
        let [all] = <[Selected; 1]>::try_from(files.select("", &choice).unwrap()).unwrap();
        digest(&files, files.entries(&all, &choice), false)
    };
    sum(20).unwrap();
    let refused = sum(7).unwrap_err();
    assert!(matches!(refused, ContextError::TooLarge { .. }), "{refused}");
    let file = fs_err::OpenOptions::new().write(true).open(place.path().join("b")).unwrap();
    file.set_len(1 << 40).unwrap();
    let refused = sum(64 << 30).unwrap_err();
    assert!(refused.to_string().starts_with("with \"b\", "), "{refused}");
    file.set_len(4).unwrap();
    let beside = place.path().join("Dockerfile.dockerignore");
    nix::unistd::mkfifo(&beside, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let context = ContextFolder::new(&["a=1"]);
    let dockerfile = place.path().join("Dockerfile");
    assert!(ContextFiles::of_context(context.path(), Some(&dockerfile)).is_err());
    fs_err::remove_file(beside).unwrap();
    interrupt.raise();
    assert!(sum(20).is_err());
}
