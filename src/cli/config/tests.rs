//! Settings that are told from names of images.

use super::*;

/// Those that serde expects, without the tables.
#[test]
fn settings_are_all_keys_that_are_not_tables() {
    let error = toml::from_str::<ConfigFile>("unknown = 1").unwrap_err();
    let (_, expected) = error.message().split_once("expected one of").unwrap();
    let mut expected: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let tables = [
        "images",
        "registries",
        "builders",
        "cache",
        "limits",
        "credentials",
        "trust",
        "executor",
        "remote",
    ];
    expected.retain(|key| !tables.contains(key));
    expected.sort_unstable();
    assert_eq!(expected, SETTINGS);
}

#[test]
fn a_setting_below_the_images_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    for (text, line) in [
        ("# jobs = 1\n[images]\na = 'host'\njobs = '2'\n", 4),
        ("# [images]\njobs = 2\n\n[ images ]\n  \"jobs\" = 'host'\n", 5),
        ("images = { a = 'host', jobs = 'host' }\n", 1),
    ] {
        fs_err::write(&path, text).unwrap();
        let error = read_file(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("config.toml:{line}")), "{text}: {error}");
    }
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "[credentials.\"h\"]\nusername = \"u\"\npassword = \"geheim\" x\n",
        "[credentials.\"h\"]\nusername = \"u\"\npasword = \"geheim\"\n",
        "[ credentials ]\nh = { user = \"u\", password = \"geheim\" }\n",
        "credentials = { h = \"geheim\" }\n",
        "credentials.h.password = [\"geheim\"]\n",
        "[credentials.h]\nusername = \"u\"\n\"geheim\" = 1\n",
        "[credentials.h]\npassword = \"\"\"\ngeheim\n\"\"\" x\n",
        "[credentials.h]\nusername = \"u\"\npassword = geheim\n",
        "[remote.headers]\nauthorization = geheim\n",
        "[remote]\nheaders = { x = \"geheim\" y }\n",
        "[remote]\nheaders.x = [\"geheim\"]\n",
    ] {
        let error = parse(Path::new("config.toml"), text).unwrap_err();
        let said = format!("{error} {:?}", error.hint());
        assert!(!said.contains("geheim") && said.contains("config.toml: line "), "{text}: {said}");
    }
    let error = parse(Path::new("config.toml"), "jobs = 'x'\n[credentials]\n").unwrap_err();
    assert!(error.to_string().contains("jobs = 'x'"), "{error}");
}

#[test]
fn a_trees_file_of_any_size_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mkpanda.toml");
    fs_err::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = read_tree_file(&path).unwrap_err();
    assert!(
        matches!(&error, SettingsError::Read { source } if source.kind() == ErrorKind::FileTooLarge)
    );
}

/// Source files below a folder, without tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test {
            found.push(path);
        }
    }
}

/// Text of a literal up to its end, with a word in the place of each argument.
fn literal(rest: &str) -> String {
    let mut text = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some(escaped) => text.push(escaped),
                None => break,
            },
            '{' => {
                letters.by_ref().find(|letter| *letter == '}');
                text.push_str("word");
            }
            letter => text.push(letter),
        }
    }
    text
}

/// Lines of configuration in remedies are on lines of their own, and can be pasted into a file.
#[test]
fn lines_in_remedies_are_configuration() {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let tables =
        ["images", "registries", "credentials", "cache", "limits", "trust", "executor", "remote"];
    let mut pasted = 0;
    for path in files {
        let source = fs_err::read_to_string(&path).unwrap();
        for (at, _) in source.match_indices("\\n    [") {
            let text = literal(&source[at + "\\n".len()..]);
            if !tables.iter().any(|table| text.trim_start_matches([' ', '[']).starts_with(table)) {
                continue;
            }
            let lines: Vec<&str> =
                text.lines().take_while(|line| line.starts_with("    ")).collect();
            let config: Result<ConfigFile, _> = toml::from_str(&lines.join("\n"));
            assert!(config.is_ok(), "{}: {text}\n{:?}", path.display(), config.err());
            pasted += 1;
        }
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let inline = tables.iter().any(|table| {
                let header = line.split(&format!("[{table}")).nth(1);
                let rest = header.and_then(|rest| rest.split_once("] ")).map(|(_, rest)| rest);
                rest.is_some_and(|rest| {
                    rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
                })
            });
            assert!(!inline, "{}: a table and a key in one line: {line}", path.display());
        }
    }
    assert!(pasted >= 8, "{pasted} remedies have lines");
}
