//! Settings that are told from names of images.

use super::*;

/// Those that serde expects, without the tables.
#[test]
fn settings_are_all_keys_that_are_not_tables() {
    let error = toml::from_str::<ConfigFile>("unknown = 1").unwrap_err();
    let (_, expected) = error.message().split_once("expected one of").unwrap();
    let mut expected: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let tables = ["images", "registries", "builders", "cache", "limits", "credentials", "trust"];
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
