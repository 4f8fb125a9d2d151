use super::super::config::ConfigPath;
use super::*;

#[test]
fn keys_have_their_lines_and_passwords_are_hidden() {
    let text = "jobs = 2\nmirrors = ['https://u:p@example.org/m', 'm']\n[limits]\n# longer\ntime = '2h'\n\
                [images]\n\"a/b:c\" = 'host'\n[credentials.\"h.org\"]\nusername = 'u'\npassword = 'geheim'\n\
                [[cache]]\nurl = 'c'\n[[cache]]\nurl = 'd'\nread = true\n";
    let file = ConfigPath { path: "/c/config.toml".into(), is_trees: false };
    let found: Vec<(String, String, String)> = lines(&file, text)
        .iter()
        .map(|said| {
            let value = without_secrets(&said.key, &said.value);
            (said.key.clone(), value.to_string(), said.origin.to_string())
        })
        .collect();
    let has = |key: &str, value: &str, line: usize| {
        let expected = (key.to_owned(), value.to_owned(), format!("/c/config.toml:{line}"));
        assert!(found.contains(&expected), "{expected:?} in {found:#?}");
    };
    has("jobs", "2", 1);
    has("limits.time", "\"2h\"", 5);
    has("images.\"a/b:c\"", "\"host\"", 7);
    has("credentials.\"h.org\".username", "\"u\"", 9);
    has("credentials.\"h.org\".password", "\"(not shown)\"", 10);
    has("cache.1.url", "\"c\"", 12);
    has("cache.2.read", "true", 15);
    assert!(!format!("{found:?}").contains("geheim") && !format!("{found:?}").contains("u:p"));
    let variable = without_secrets("credentials.h.password", &json!("$TOKEN"));
    assert_eq!(variable, json!("$TOKEN"));
}

/// A variable that is not read must not be named as an origin.
#[test]
fn only_keys_with_a_variable_have_one_as_an_origin() {
    let names = ["MKPANDA_BUILDERS_PUSH", "MKPANDA_LIMITS_LOG", "MKPANDA_SOURCE_DATE_EPOCH"];
    let environment =
        Environment::of(names.map(|name| (name.to_owned(), "1".to_owned())).into_iter().collect());
    for (key, form, value, origin) in [
        ("builders.push", SettingForm::Flag, json!(true), "default"),
        ("source_date_epoch", SettingForm::Text, json!(1), "default"),
        ("limits.log", SettingForm::Size, json!(1), "MKPANDA_LIMITS_LOG"),
    ] {
        let spec = SettingSpec { key, form, option: None, default: value.clone(), value };
        assert_eq!(resolve(&spec, &[], &environment).origin.to_string(), origin, "{key}");
    }
}

#[test]
fn values_are_compared_by_what_they_mean() {
    let here = Path::new("/base");
    let same = |form, one: Value, other: Value| {
        assert_eq!(canonical(form, &one, here), canonical(form, &other, here), "{one} {other}");
    };
    same(SettingForm::Duration, json!("60m"), json!("1h"));
    same(SettingForm::Size, json!("1K"), json!(1024));
    same(SettingForm::Flag, json!("1"), json!(true));
    same(SettingForm::Text, json!("4"), json!(4));
    same(SettingForm::Path, json!("s"), json!("/base/s"));
}
