//! Providers from folders: values, escaping, and messages.

mod bounds;
mod properties;

use std::path::Path;

use serde_json::json;

use super::*;

/// A provider with one output `out`, of a template with the given name and text.
fn provider(arguments: &str, template: &str, text: &str) -> Result<Provider, ProviderError> {
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("arguments: {arguments}\noutputs:\n- {{name: out, template: {template}}}\n");
    fs_err::write(folder.path().join("provider.yaml"), yaml).unwrap();
    fs_err::write(folder.path().join(template), text).unwrap();
    Provider::read(folder.path())
}

fn rendered(
    template: &str,
    text: &str,
    value: impl Into<serde_json::Value>,
) -> Result<String, String> {
    let kind = "{v: {type: lines, from: deployer}, l: {type: list, from: deployer, default: [a, 'b: c']}, n: {type: integer, from: deployer, default: 7}}";
    let provider = provider(kind, template, text).map_err(|error| error.to_string())?;
    let files =
        provider.render(&Values::new().given("v", value)).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(files[0].bytes.clone()).unwrap())
}

/// Values that mean something to one text or another.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "plain",
    "null",
    "true",
    "0644",
    "a: b",
    "a #b",
    "- a",
    "{a}",
    "[b]",
    "*x",
    "&x",
    "!t",
    "\"",
    "'",
    "\\",
    "'; reboot #",
    "$(reboot)",
    "`reboot`",
    "${X}",
    "{{ v }}",
    "{% if %}",
    "two\nlines\n",
    "\ttab",
    "]]>",
    "<script>",
    "---\na: 1",
    "\u{2028}",
    "\u{feff}",
    "\u{f8ff}0\u{f8ff}",
    "\u{e4}\u{1f600}",
    "%s",
    "\u{fffe}",
];

#[test]
fn json_and_yaml_hold_whatever_value_is_put_in() {
    for value in HOSTILE {
        let text =
            rendered("t.json", "{\"k\": {{ v }}, {{ v ~ 'x' }}: [{{ l }}, {{ n }}]}", *value)
                .unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = json!({"k": value, format!("{value}x"): [["a", "b: c"], 7]});
        assert_eq!(read, expected, "{value:?}");
        let text = rendered(
            "t.yaml",
            "# {{ v }}\nk: {{ v }}\n{{ v ~ 'x' }}: {{ l }}\nm:\n- {{ v }}\n- f: {{ n }}\n",
            *value,
        )
        .unwrap();
        let read = crate::package::yaml::YamlNode::parse(&text).unwrap().to_json();
        let expected = json!({
            "k": value, format!("{value}x"): ["a", "b: c"], "m": [value, {"f": "7"}],
        });
        assert_eq!(read, expected, "{value:?}: {text}");
    }
}

#[test]
fn a_shell_takes_every_value_for_what_it_is() {
    for value in HOSTILE.iter().filter(|value| !value.contains('\0')) {
        let script = rendered(
            "t.sh",
            "set -eu\nV={{ v }}\nexport W={{ v }}\nset -- {{ l }} \"$@\"\nprintf '%s|%s|%s' \"$V\" \"$W\" \"$*\"\n",
            *value,
        )
        .unwrap();
        let out = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
        let expected = format!("{value}|{value}|a b: c");
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{script}");
    }
}

#[test]
fn no_filter_and_no_macro_gets_around_escaping() {
    let value = "'; reboot #\", \"k\": 1";
    let script = rendered("t.sh", "V={{ {'a': v} | tojson }}\nprintf %s \"$V\"", value).unwrap();
    let out = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
    let read: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(read, json!({"a": value}));
    let text = "{% macro m(x) %}{\"m\": {{ x }}}{% endmacro %}[{{ m(v) }}, {{ v | tojson }}, {{ v | upper | lower }}]";
    let text = rendered("t.json", text, value).unwrap();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    let quoted = serde_json::to_string(value).unwrap();
    assert_eq!(read, json!([{"m": value}, quoted, value]));
    for filter in ["safe", "escape", "e"] {
        assert!(rendered("t.json", &format!("{{{{ v | {filter} }}}}"), value).is_err(), "{filter}");
    }
}

#[test]
fn a_value_within_other_text_is_refused_with_its_place() {
    for (template, text, place) in [
        ("t.yaml", "a: 1\nk: x {{ v }}\n", "t.yaml:2:4"),
        ("t.yaml", "k: |\n  {{ v }}\n", "t.yaml:2:"),
        ("t.yaml", "k: '{{ v }}'\n", "t.yaml:1:"),
        ("t.yaml", "k: \"a {{ v }}\"\n", "t.yaml:1:"),
        ("t.json", "{\"k\":\n \"x {{ v }}\"}", "t.json:2:"),
        ("t.json", "{{{ l }}: 1}", "t.json:1:"),
        ("t.sh", "echo a\necho {{ v }}\n", "t.sh:2:"),
        ("t.sh", "A=\"{{ v }}\"\n", "t.sh:1:"),
        ("t.sh", "A={{ v }}$(reboot)\n", "t.sh:1:"),
        ("t.sh", "# {{ v }}\n", "t.sh:1:"),
        ("t.sh", "A=b{{ v }}\n", "t.sh:1:"),
    ] {
        let error = rendered(template, text, "value").unwrap_err();
        assert!(error.contains(place), "{template} {text:?}: {error}");
    }
}

#[test]
fn faults_of_templates_name_file_line_and_variable() {
    let early = rendered("t.json", "{\n\"a\": {{ absent }}}", "x").unwrap_err();
    assert!(early.contains("t.json:2:9: absent is not an argument"), "{early}");
    let syntax = rendered("t.json", "{\n{% if %}", "x").unwrap_err();
    assert!(syntax.contains("t.json:2:"), "{syntax}");
    let deep = rendered("t.json", "{\n\"a\": {{ v.absent }}}", "x").unwrap_err();
    assert!(deep.contains("t.json:2:") && deep.contains("v.absent is not defined"), "{deep}");
    let filter = rendered("t.json", "{{ v | safe }}", "x").unwrap_err();
    assert!(filter.contains("t.json:1:") && filter.contains("safe"), "{filter}");
    let endless = rendered(
        "t.json",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "x",
    );
    assert!(endless.unwrap_err().contains("t.json"));
}

#[test]
fn a_file_within_a_file_keeps_its_own_kind_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    write(
        "provider.yaml",
        "arguments: {v: {type: text, from: deployer}}\noutputs: [{name: 'n-{{ v }}', template: outer.json}]\n",
    );
    write("outer.json", "{\"data\": {{ file('inner.yaml') }}}\n");
    write("inner.yaml", "runcmd:\n- {{ file('script.sh') }}\n");
    write("script.sh", "A={{ v }}\n");
    let render = |value: &str| {
        Provider::read(folder.path()).unwrap().render(&Values::new().given("v", value))
    };
    let files = render("it's: a").unwrap();
    assert_eq!(files[0].name, "n-it's: a");
    let outer: serde_json::Value = serde_json::from_slice(&files[0].bytes).unwrap();
    let inner =
        crate::package::yaml::YamlNode::parse(outer["data"].as_str().unwrap()).unwrap().to_json();
    assert_eq!(inner, json!({"runcmd": ["A='it'\\''s: a'\n"]}));
    write("script.sh", "\n\necho {{ v }}\n");
    assert!(render("x").unwrap_err().to_string().contains("script.sh:3:"));
    write("script.sh", "{{ file('script.sh') }}");
    assert!(render("x").unwrap_err().to_string().contains("within each other"));
}

#[test]
fn all_wrong_values_are_named_at_once() {
    let arguments = "{a: {type: name, from: deployer, description: 'the a'}, bb: {type: integer, from: deployer}, c: {type: boolean, from: deployer, default: 'true'}, tag: {type: text, from: release}}";
    let provider = provider(arguments, "t.txt", "{{ a }} {{ bb }} {{ c }} {{ tag }}").unwrap();
    let values =
        Values::new().given("bb", "x").given("cc", "1").given("tag", "y").release("surplus", 1);
    let message = provider.render(&values).unwrap_err().to_string();
    for part in [
        "4 values are wrong",
        "a must be set (name: the a)",
        "bb must be an integer, not \"x\"",
        "cc is not known (did you mean c?)",
        "tag comes from the release, which does not have it here",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("cannot be set") && !message.contains("tag must"), "{message}");
    let values = Values::new().given("a", "n").given("bb", 3).release("tag", "t");
    let twice = provider.render(&values.clone().given("tag", "y")).unwrap_err().to_string();
    assert!(twice.contains("tag comes from the release, and cannot be set"), "{twice}");
    assert_eq!(provider.render(&values).unwrap()[0].bytes, b"n 3 true t");
}

#[test]
fn what_is_wrong_in_a_definition_has_its_place() {
    for (arguments, part) in [
        ("{a: {type: txt, from: deployer}}", "type must be one of"),
        ("{a: {type: text}}", "needs the key from"),
        ("{a: {type: text, from: moon}}", "from must be one of"),
        ("{a: {type: text, from: release}}", "a release has no value a"),
        ("{a: {type: text, from: deployer, odd: 1}}", "no key \"odd\""),
        ("{a: {type: integer, from: deployer, default: x}}", "the default must be an integer"),
        ("{a: {type: integer, from: deployer, minimum: 3, maximum: 2}}", "above the maximum"),
        ("{a: {type: choice, from: deployer}}", "needs the key choices"),
        ("{a: {type: text, from: deployer, choices: [b]}}", "takes no choices"),
        ("{a-b: {type: text, from: deployer}}", "cannot be an argument"),
        ("{file: {type: text, from: deployer}}", "something else already"),
        ("{tag: {type: text, from: release, written_as: x}}", "written_as"),
        ("[]", "must be a mapping"),
    ] {
        let error = provider(arguments, "t.txt", "").unwrap_err().to_string();
        assert!(error.contains("provider.yaml:1:") && error.contains(part), "{arguments}: {error}");
    }
    let error = Provider::read(Path::new("/proc/self/nothing")).unwrap_err();
    assert!(matches!(error, ProviderError::Read { .. }));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Provider::read(empty.path()), Err(ProviderError::NotProvider(_))));
    assert!(Provider::built_in("azur").unwrap_err().hint().unwrap().contains("onprem"));
}

#[test]
fn a_value_cannot_stand_for_a_late_one() {
    let error = rendered("t.txt", "{{ v }}", "LATE_BIND_PLACEHOLDER_START_x").unwrap_err();
    assert!(error.contains("v must not have the text LATE_BIND"), "{error}");
}

#[test]
fn a_package_that_is_given_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "packages:\n- {name: a, files: []}\n- {name: a, files: []}\n";
    fs_err::write(folder.path().join("provider.yaml"), yaml).unwrap();
    let error = Provider::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("provider.yaml:3:") && error.contains("two packages a"), "{error}");
}

#[test]
fn the_base_has_a_part_in_ids() {
    let provider = Provider::built_in("aws").unwrap();
    let mut other = provider.clone();
    other.bases[0].1.push_str("# another one\n");
    let ids = |provider: &Provider| provider.config_id(&serde_json::Map::new());
    assert_ne!(ids(&provider), ids(&other));
    assert_eq!(provider.bases[0].0, "cloud");
}

#[test]
fn values_that_come_later_have_their_stand_ins() {
    let arguments = "{a: {type: name, from: deployer, written_as: '@@a@@'}, b: {type: text, from: late, written_as: '$(hostname)'}}";
    let provider = provider(arguments, "t.txt", "{{ a }} {{ b }}").unwrap();
    let text = |values: &Values| {
        String::from_utf8(provider.render(values).unwrap()[0].bytes.clone()).unwrap()
    };
    let late = "LATE_BIND_PLACEHOLDER_START_b_LATE_BIND_PLACEHOLDER_END";
    assert_eq!(text(&Values::new()), format!("@@a@@ {late}"));
    assert_eq!(text(&Values::new().given("a", "n").given("b", "c")), "n c");
}

#[test]
fn every_built_in_provider_can_be_read_and_says_what_it_is() {
    for name in Provider::built_in_names() {
        let provider = Provider::built_in(name).unwrap();
        assert!(!provider.description().is_empty(), "{name}");
    }
}

#[test]
fn names_of_outputs_stay_below_their_folder() {
    for (value, is_name) in
        [("a/b", true), ("..", false), ("/a", false), ("a//b", false), ("", false), ("./a", false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let yaml = "arguments: {v: {type: text, from: deployer}}\noutputs: [{name: '{{ v }}', template: t}]\n";
        fs_err::write(folder.path().join("provider.yaml"), yaml).unwrap();
        fs_err::write(folder.path().join("t"), "").unwrap();
        let rendered =
            Provider::read(folder.path()).unwrap().render(&Values::new().given("v", value));
        assert_eq!(rendered.is_ok(), is_name, "{value:?}: {rendered:?}");
    }
}
