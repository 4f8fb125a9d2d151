//! Any value, in each kind of text: programs read the value back, and nothing else happens.

use std::process::Command;

use proptest::prelude::*;
use serde_json::json;

use super::{HOSTILE, Provider, Values};
use crate::package::yaml::YamlNode;

/// Texts of pieces that mean something to a shell, YAML, JSON or systemd, and of any other characters.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec![
            "\n",
            "\nEND\n",
            "'\n",
            "\"",
            "\\\n",
            "\\'",
            "$(touch ran)",
            "`touch ran`",
            "';touch ran;'",
            "\n touch ran\n",
            "&",
            "|",
            ";",
            "#",
            "\t",
            " ",
            "=",
            "!",
            "%",
            "${X}",
            "\\\\",
            "*",
            "~",
        ])
        .prop_map(str::to_owned),
        any::<char>()
            .prop_filter("not a control character", |letter| !letter.is_control())
            .prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn provider(files: &[(&str, &str)]) -> Provider {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs_err::write(folder.path().join(name), text).unwrap();
    }
    Provider::read(folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

const DEFINITION: &str = "arguments:
  v: {type: lines, from: deployer}
  l: {type: list, from: deployer, default: []}
outputs:
";

fn rendered(provider: &Provider, value: &str, list: &[String]) -> Vec<String> {
    let values = Values::new().given("v", value).given("l", json!(list));
    let files = provider.render(&values).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    files.into_iter().map(|file| String::from_utf8(file.bytes).unwrap()).collect()
}

/// Runs a script without any program at hand, in a folder that has to stay empty.
#[track_caller]
fn run(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-eu", "-c", script])
        .env_clear()
        .env("PATH", "/nothing")
        .env("HOME", "/nothing")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{script}\n{said}");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "{script}");
    output.stdout
}

const SCRIPT: &str = "echo 'it' > /dev/null # it's
f() {
  A={{ v }}
}
read -r line << 'END'
it's \"
END
export B={{ v ~ 'x' }}
set -- {{ l }} \"$@\"
f
printf '%s\\0' \"$A\" \"$B\" \"$line\" $# \"$@\"
";

/// Lines as systemd reads them: systemd.exec(5), `EnvironmentFile=`. Quotes of either kind begin a part where a
/// value begins or a quoted part ended; only within double ones, a backslash has a meaning before some
/// characters. Elsewhere it stands for the next character, and a line ends.
fn read_by_systemd(text: &str) -> Vec<(String, String)> {
    let (mut found, mut letters) = (Vec::new(), text.chars().peekable());
    while letters.peek().is_some() {
        if matches!(letters.peek(), Some('#' | ';')) {
            for letter in letters.by_ref() {
                if letter == '\n' {
                    break;
                }
            }
            continue;
        }
        let key: String =
            letters.by_ref().take_while(|letter| !matches!(letter, '=' | '\n')).collect();
        if key.is_empty() {
            continue;
        }
        let (mut value, mut begins) = (String::new(), true);
        while let Some(letter) = letters.next() {
            match letter {
                '\n' => break,
                '\'' if begins => {
                    value.extend(letters.by_ref().take_while(|letter| *letter != '\''));
                }
                '"' if begins => {
                    while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
                        match (letter, letters.peek().copied()) {
                            ('\\', Some('\n')) => drop(letters.next()),
                            ('\\', Some(next @ ('"' | '\\' | '`' | '$'))) => {
                                value.push(next);
                                letters.next();
                            }
                            _ => value.push(letter),
                        }
                    }
                }
                '\\' => {
                    begins = false;
                    value.extend(letters.next());
                }
                letter => {
                    begins = false;
                    value.push(letter);
                }
            }
        }
        found.push((key, value));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn a_script_sets_the_value_and_runs_nothing(
        value in hostile(),
        list in proptest::collection::vec(hostile(), 0..4),
    ) {
        let list: Vec<String> = list.into_iter().map(|item| item.replace(['\n', '\t', '\u{2028}'], "")).collect();
        let provider = provider(&[
            ("provider.yaml", &format!("{DEFINITION}- {{name: o, template: t.sh}}\n")),
            ("t.sh", SCRIPT),
        ]);
        let script = rendered(&provider, &value, &list).remove(0);
        let mut expected = vec![value.clone(), format!("{value}x"), "it's \"".to_owned(), list.len().to_string()];
        expected.extend(list);
        let expected = expected.join("\0") + "\0";
        prop_assert_eq!(String::from_utf8(run(&script)).unwrap(), expected);
    }

    #[test]
    fn user_data_brings_a_script_that_sets_the_value(value in hostile()) {
        let provider = provider(&[
            ("provider.yaml", &format!("{DEFINITION}- {{name: a, template: u.yaml}}\n- {{name: b, template: c.json}}\n")),
            ("u.yaml", "#cloud-config\nwrite_files:\n- path: {{ '/x/' ~ v }}\n  content: {{ file('s.sh') }}\n- {content: {{ v }}, l: {{ l }}}\n"),
            ("c.json", "{\"UserData\": {\"Fn::Base64\": {{ file('u.yaml') }}}}"),
            ("s.sh", "A={{ v }}\nprintf %s \"$A\"\n"),
        ]);
        let list = [value.replace(['\n', '\t', '\u{2028}'], "")];
        let files = rendered(&provider, &value, &list);
        let template: serde_json::Value = serde_json::from_str(&files[1]).unwrap();
        prop_assert_eq!(template["UserData"]["Fn::Base64"].as_str(), Some(files[0].as_str()));
        let data = YamlNode::parse(&files[0]).unwrap().to_json();
        prop_assert_eq!(data["write_files"].as_array().map(Vec::len), Some(2));
        prop_assert_eq!(&data["write_files"][0]["path"], &json!(format!("/x/{value}")));
        prop_assert_eq!(&data["write_files"][1], &json!({"content": value, "l": list}));
        let script = data["write_files"][0]["content"].as_str().unwrap();
        prop_assert_eq!(String::from_utf8(run(script)).unwrap(), value);
    }

    #[test]
    fn systemd_and_a_shell_read_one_value_in_files_of_variables(value in hostile()) {
        let provider = provider(&[
            ("provider.yaml", &format!("{DEFINITION}- {{name: o, template: t.env}}\n")),
            ("t.env", "# it's\nA={{ v }}\nB='a b'\nC={{ v }}\nD=\n"),
        ]);
        let values = Values::new().given("v", value.as_str());
        let Ok(files) = provider.render(&values) else {
            let is_refused = value.chars().any(|letter| u32::from(letter) & 0xfffe == 0xfffe
                || matches!(letter, '\u{fdd0}'..='\u{fdef}' | '\u{f8ff}'));
            prop_assert!(is_refused, "{:?}", value);
            return Ok(());
        };
        let text = String::from_utf8(files[0].bytes.clone()).unwrap();
        let pairs = [("A", value.as_str()), ("B", "a b"), ("C", value.as_str()), ("D", "")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        prop_assert_eq!(read_by_systemd(&text), pairs.to_vec());
        let read = run(&format!("{text}printf '%s\\0' \"$A\" \"$B\" \"$C\" \"$D\""));
        let expected = pairs.map(|(_, value)| value).join("\0") + "\0";
        prop_assert_eq!(String::from_utf8(read).unwrap(), expected);
    }
}

#[test]
fn what_no_shell_can_hold_is_refused() {
    let nul = [
        ("provider.yaml", &*format!("{DEFINITION}- {{name: o, template: t.sh}}\n")),
        ("t.sh", "A={{ v ~ '\\u0000' }}\n"),
    ];
    let error = provider(&nul).render(&Values::new().given("v", "x")).unwrap_err().to_string();
    assert!(error.contains("t.sh:1:") && error.contains("NUL"), "{error}");
    let long = [
        ("provider.yaml", &*format!("{DEFINITION}- {{name: o, template: t.yaml}}\n")),
        ("t.yaml", "a: 1\n{{ v }}: 1\n"),
    ];
    let values = Values::new().given("v", "x".repeat(1001));
    let error = provider(&long).render(&values).unwrap_err().to_string();
    assert!(error.contains("t.yaml:2:") && error.contains("more than 1000 bytes"), "{error}");
}

#[test]
fn a_list_is_not_assigned_with_file_line_and_variable() {
    let read = |template: &str, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("{DEFINITION}- {{name: o, template: {template}}}\n")
            .replace("outputs:", "  m: {type: map, from: deployer, default: {}}\noutputs:");
        fs_err::write(folder.path().join("provider.yaml"), yaml).unwrap();
        fs_err::write(folder.path().join(template), text).unwrap();
        Provider::read(folder.path()).and_then(|provider| {
            provider.render(&Values::new().given("v", "x").given("l", json!(["a", "touch b"])))
        })
    };
    for (template, text, parts) in [
        ("t.sh", "set -eu\nA={{ l }}\n", ["t.sh:2:6", "l is a list"]),
        ("t.sh", "export A={{- l -}}\n", ["t.sh:1:", "l is a list"]),
        ("t.env", "A={{ l }}\n", ["t.env:1:", "l is a list"]),
        ("t.sh", "A={{ m }}\n", ["t.sh:1:", "m is a mapping"]),
        ("t.sh", "A={{ cluster_packages }}\n", ["t.sh:1:", "cluster_packages is a list"]),
        ("t.sh", "A={{ l | reverse }}\n", ["t.sh:1:", "would be run"]),
        ("t.env", "A={{ l | reverse }}\n", ["t.env:1:", "a list is not one text"]),
        ("t.sh", "echo '\nA={{ v }}'\n", ["t.sh:2:", "whole right side"]),
        ("t.sh", "echo '\nA={{ v }}\n'\n", ["t.sh:2:", "where a command begins"]),
        ("t.sh", "cat << E\nA={{ v }}\nE\n", ["t.sh:2:", "here-document"]),
        ("t.env", "export A={{ v }}\n", ["t.env:1:", "systemd"]),
        ("t.env", "A='x'\\''y'\nB={{ v }}\n", ["t.env:1:", "one in quotation marks"]),
    ] {
        let error = read(template, text).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
    for text in ["A={{ l | join(',') }}\n", "A={{ m | tojson }}\nset -- {{ l }}\n"] {
        read("t.sh", text).unwrap();
    }
}

#[test]
fn a_string_of_azure_is_escaped_where_it_would_be_an_expression() {
    let yaml = format!("{DEFINITION}- {{name: o, template: t.json, kind: arm}}\n");
    let provider = provider(&[("provider.yaml", &yaml), ("t.json", "{{ v }}")]);
    for (value, expected) in
        [("[a]", "[[a]"), ("[[a]", "[[[a]"), ("[a] b", "[a] b"), ("a]", "a]"), ("[", "[")]
    {
        assert_eq!(rendered(&provider, value, &[]), [json!(expected).to_string()]);
    }
}
