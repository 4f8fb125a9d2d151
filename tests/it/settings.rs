//! `mkpanda config`: each setting with its value and its origin.

use serde_json::{Value, json};

use crate::support::Place;

fn settings(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let ran = place.run("", &[arguments, &["--format", "json"]].concat()).ok();
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    json["settings"].as_array().unwrap().clone()
}

#[test]
fn each_setting_has_the_origin_that_counts() {
    let mut place = Place::bare();
    place.variables.push(("MKPANDA_LIMITS_LOG".to_owned(), "1M".to_owned()));
    place.user("jobs = 1\nisolation = 'ranges'\n\n[limits]\ntime = '2h'\nmemory = '8G'\n");
    place.configure(
        "isolation = 'single'\njobs = 3\n[limits]\ntime = '60m'\n[images]\n\"a:1\" = \"host\"",
    );
    let user = place.path().join(".config/mkpanda/config.toml");
    let tree = place.packages.join("mkpanda.toml");
    let origin = |key: &str, arguments: &[&str]| {
        let found = settings(&place, &[arguments, &["config", key]].concat());
        assert_eq!((found.len(), &found[0]["key"]), (1, &json!(key)));
        (found[0]["value"].clone(), found[0]["origin"].clone())
    };
    let of_user = |line: usize| json!({ "kind": "user", "path": user, "line": line });
    let of_tree = |line: usize| json!({ "kind": "tree", "path": tree, "line": line });
    // The user's word on isolation counts, and a tree cannot have more jobs than the user allows.
    assert_eq!(origin("isolation", &[]), (json!("ranges"), of_user(2)));
    assert_eq!(origin("jobs", &[]), (json!(1), of_user(1)));
    assert_eq!(origin("limits.time", &[]), (json!("60m"), of_tree(4)));
    assert_eq!(origin("limits.memory", &[]), (json!("8G"), of_user(6)));
    assert_eq!(origin("images.\"a:1\"", &[]), (json!("host"), of_tree(6)));
    let variable = json!({ "kind": "variable", "name": "MKPANDA_LIMITS_LOG" });
    assert_eq!(origin("limits.log", &[]), (json!("1M"), variable));
    let option = json!({ "kind": "option", "name": "--isolation" });
    assert_eq!(origin("isolation", &["--isolation=single"]), (json!("single"), option));
    assert_eq!(origin("network", &[]), (json!("none"), json!({ "kind": "default" })));
    assert_eq!(origin("repository_url", &[]).0, Value::Null);
    assert_eq!(settings(&place, &["config", "limits"]).len(), 6);
    let text = place.run("", &["config", "jobs", "limits.time"]).ok().stdout;
    let expected = format!(
        "jobs = 1  # {}:1\nlimits.time = \"60m\"  # {}:4\n",
        user.display(),
        tree.display()
    );
    assert_eq!(text, expected);
    place
        .run("", &["config", "job"])
        .fails(1)
        .says("job is not a setting")
        .says("did you mean jobs?");
}

#[test]
fn secrets_are_never_shown() {
    let place = Place::bare();
    place.user(
        "mirrors = [\"https://ann:geheim@h.example/m\"]\nrepository_url = \"https://u:geheim@h.example/r\"\n\
         [credentials.\"h.example\"]\nusername = \"ann\"\npassword = \"geheim\"\n\
         [[cache]]\nurl = \"c\"\n",
    );
    for format in ["text", "json"] {
        let shown = place.run("", &["config", "--format", format]).ok().stdout;
        assert!(!shown.contains("geheim") && shown.contains("(not shown)"), "{shown}");
        assert!(shown.contains("h.example/m") && shown.contains("cache.1.url"), "{shown}");
    }
    let typed = place.run("", &["--mirror", "https://x:geheim@h.example/n", "config", "mirrors"]);
    let typed = typed.ok().stdout;
    assert!(typed.ends_with("  # --mirror\n") && !typed.contains("geheim"), "{typed}");
}

#[test]
fn a_mistyped_place_is_refused_without_its_password() {
    let place = Place::new();
    for arguments in [
        &["--mirror", "s3://k:geheim@bucket/x", "fetch"][..],
        &["--mirror", "oci://u:geheim@h/x", "config"],
        &["--mirror", "az://a/c?sig=geheim", "config"],
        &["--repository-url", "s3://k:geheim@bucket/x", "tree", "--dry-run"],
        &["login", "-u", "x", "https://u:geheim@127.0.0.1:1/c"],
        &["login", "-u", "x", "s3://k:geheim@bucket/x"],
        &["logout", "u:geheim@127.0.0.1:1"],
        &["image", "pull", "https://u:geheim@127.0.0.1:1/c"],
        &["image", "pull", "u:geheim@127.0.0.1:1/c"],
        &["image", "pull", "http://127.0.0.1:1/c?sig=geheim"],
        &["image", "build", "-t", "https://u:geheim@127.0.0.1:1/c", "."],
    ] {
        let ran = place.run("", arguments);
        assert!(ran.code != 0 && !ran.stderr.contains("geheim"), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stdout.contains("geheim"), "{arguments:?}: {}", ran.stdout);
    }
    place.write("mkpanda.toml", "[images]\n\"a/b:c\" = \"https://u:geheim@127.0.0.1:1/c\"\n");
    place.package("p", r#"{"docker": "a/b:c"}"#, "true");
    let ran = place.run("", &["tree"]).fails(1);
    assert!(!ran.stderr.contains("geheim"), "{}", ran.stderr);
}

#[test]
fn the_text_is_a_configuration_file() {
    let place = Place::new();
    let shown = place.run("", &["config"]).ok().stdout;
    let parsed: toml::Table = shown.parse().unwrap();
    assert_eq!(parsed["network"].as_str(), Some("none"));
    // In a package's folder the tree's settings hold, as for a build there.
    place.package("p", "{}", "true");
    assert_eq!(place.run("p", &["config"]).ok().stdout, shown);
}
