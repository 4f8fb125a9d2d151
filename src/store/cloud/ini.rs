//! Amazon's configuration files: sections in brackets, `key = value`, and indented lines below a key.

use std::collections::BTreeMap;

/// Upper limit of a file in bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// Sections by name; keys in lower case, of indented lines as `above.key`.
pub(super) type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Reads a file; an error is the number of the first line with a fault.
pub(super) fn parse(text: &str) -> Result<Sections, usize> {
    let mut sections = Sections::new();
    let (mut current, mut above) = (None::<String>, None::<String>);
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = number + 1;
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').filter(|_| !is_indented) {
            let (name, rest) = name.split_once(']').ok_or(number)?;
            let is_comment = |rest: &str| rest.is_empty() || rest.starts_with(['#', ';']);
            if !is_comment(rest.trim()) {
                return Err(number);
            }
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            // A profile that is written twice is one.
            sections.entry(name.clone()).or_default();
            (current, above) = (Some(name), None);
            continue;
        }
        let section = current.as_ref().and_then(|name| sections.get_mut(name)).ok_or(number)?;
        let (key, value) = match (line.split_once('='), &above) {
            (Some((key, value)), _) => (key.trim().to_ascii_lowercase(), without_comment(value)),
            // The rest of a value that takes several lines; none that counts here does.
            (None, Some(_)) if is_indented => continue,
            (None, _) => return Err(number),
        };
        if key.is_empty() {
            return Err(number);
        }
        match &above {
            Some(above) if is_indented => section.insert(format!("{above}.{key}"), value),
            _ => {
                above = Some(key.clone());
                section.insert(key, value)
            }
        };
    }
    Ok(sections)
}

/// A value without a comment after ` #` or ` ;`.
fn without_comment(value: &str) -> String {
    let ends = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find(|((_, before), sign)| before.is_whitespace() && ['#', ';'].contains(sign));
    let end = ends.map_or(value.len(), |((at, _), _)| at);
    value[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_are_read_as_amazons_tools_read_them() {
        let text = "\u{feff}# a comment\n[default]\nAWS_Access_Key_Id = id ; note\n\n; another\n\
                    aws_secret_access_key=a+b/c=#d\nregion = eu-west-1 # note\n[profile  dev ] # note\n\
                    s3 =\n  addressing_style = path\n\tendpoint_url=http://h\n  more\noutput=json\n\
                    [default]\nregion = x\n[empty]\n";
        let found = parse(text).unwrap();
        let value = |section: &str, key: &str| found[section].get(key).map(String::as_str);
        assert_eq!(value("default", "aws_access_key_id"), Some("id"));
        assert_eq!(value("default", "aws_secret_access_key"), Some("a+b/c=#d"));
        assert_eq!(value("default", "region"), Some("x"), "a section may come twice");
        assert_eq!(value("profile dev", "s3"), Some(""));
        assert_eq!(value("profile dev", "s3.endpoint_url"), Some("http://h"));
        assert_eq!(value("profile dev", "output"), Some("json"));
        assert!(found["empty"].is_empty() && found.len() == 3);
    }

    #[test]
    fn the_line_that_is_wrong_is_named() {
        for (text, line) in [
            ("key = value", 1),
            ("[a]\nno value", 2),
            ("[a\nb = c", 1),
            ("[a]\n= c", 2),
            ("[a] b", 1),
            ("\n  x\n", 2),
        ] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[|\\]|=|#|;| |\t|\r?\n|[a-z]|\\PC){0,80}") {
            if let Err(line) = parse(&text) {
                prop_assert!(line >= 1 && line <= text.lines().count());
            }
        }

        #[test]
        fn what_is_written_is_read(
            name in "[a-z][a-z0-9-]{0,8}",
            pairs in prop::collection::btree_map("[a-z_]{1,8}", "[A-Za-z0-9+/=]{0,20}", 0..6),
        ) {
            let mut text = format!("[{name}]\n");
            for (key, value) in &pairs {
                text.push_str(&[key, " = ", value, "\n"].concat());
            }
            let found = parse(&text).unwrap();
            prop_assert_eq!(&found[&name], &pairs);
        }
    }
}
