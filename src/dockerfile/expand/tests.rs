use proptest::prelude::*;

use super::*;

fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "x" => "value",
        "empty" => "",
        "path" => "/a/b/c.tar.gz",
        "words" => "80 81/udp",
        "quoted" => "a\"b",
        "ü" => "umlaut",
        _ => return None,
    };
    Some(value.to_owned())
}

fn word(text: &str) -> Result<String, String> {
    expand(text, &Expander::new('\\', &lookup)).map_err(|error| error.0)
}

#[test]
fn every_form_expands() {
    for (text, result) in [
        ("", ""),
        ("plain", "plain"),
        ("$x", "value"),
        ("${x}", "value"),
        ("a$x.b", "avalue.b"),
        ("$x$x", "valuevalue"),
        ("$none", ""),
        ("$", "$"),
        ("$.", "$."),
        ("$1a", "a"),
        ("$ü", "umlaut"),
        ("${x:-d}", "value"),
        ("${none:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${none-d}", "d"),
        ("${none:-$x}", "value"),
        ("${none:-${empty:-${x}}}", "value"),
        ("${none:-a b}", "a b"),
        ("${x:+a}", "a"),
        ("${none:+a}", ""),
        ("${empty:+a}", ""),
        ("${empty+a}", "a"),
        ("${x:?e}", "value"),
        ("${empty?e}", ""),
        ("${path#*/}", "a/b/c.tar.gz"),
        ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"),
        ("${path%%.*}", "/a/b/c"),
        ("${path#nope}", "/a/b/c.tar.gz"),
        ("${x#?}", "alue"),
        ("${x%?}", "valu"),
        (r"${x#\*}", "value"),
        ("${path/b/B}", "/a/B/c.tar.gz"),
        ("${path/\\//:}", ":a/b/c.tar.gz"),
        ("${path//\\//:}", ":a:b:c.tar.gz"),
        ("${path//a*b/-}", "/-/c.tar.gz"),
        ("${x//?/$x}", "valuevaluevaluevaluevalue"),
        ("${none/a/b}", ""),
        ("${x//x/y}", "value"),
        (r"\$x", "$x"),
        (r"\${x}", "${x}"),
        (r"a\ b", "a b"),
        (r"a\\b", r"a\b"),
        (r"a\", "a"),
        ("'$x'", "$x"),
        ("\"$x\"", "value"),
        ("\"a b\"c", "a bc"),
        (r#""\$x""#, "$x"),
        (r#""\a""#, r"\a"),
        (r#""a\"b""#, "a\"b"),
        ("'a\"b'", "a\"b"),
        ("\"a'b\"", "a'b"),
        (r"'a\'", r"a\"),
        ("$quoted", "a\"b"),
    ] {
        assert_eq!(word(text).as_deref(), Ok(result), "{text}");
    }
}

#[test]
fn what_cannot_be_expanded_is_named() {
    for (text, message) in [
        ("${", "a ${ has no }"),
        ("${}", "a ${ is followed by no name"),
        ("${x", "a ${ has no }"),
        ("${:-x}", "a ${ is followed by no name"),
        ("${{x}}", "a ${ is followed by no name"),
        ("${x:-", "a } is missing at the end"),
        ("${x!y}", "${…!…} is not a known form of expansion"),
        ("${x:=y}", "${…:=…} is not a known form of expansion"),
        ("${none?}", "none must not be unset"),
        ("${none:?say it}", "none: say it"),
        ("${empty:?}", "empty must not be empty"),
        ("${x/a}", "a / is missing at the end"),
        (r"${x#\a}", r"\a means nothing in a pattern"),
        ("'x", "a ' is not closed"),
        ("\"x", "a \" is not closed"),
    ] {
        assert_eq!(word(text), Err(message.to_owned()), "{text}");
    }
    let deep = "${none:-".repeat(10_000);
    assert!(word(&deep).unwrap_err().contains("in one another"));
}

#[test]
fn words_are_parted_after_expansion_and_not_in_quotes() {
    for (text, words) in [
        ("$words 82", vec!["80", "81/udp", "82"]),
        ("\"$words\"", vec!["80 81/udp"]),
        (" a  b ", vec!["a", "b"]),
        (r"a\ b", vec!["a b"]),
        ("$none", vec![]),
    ] {
        let got = expand_words(text, &Expander::new('\\', &lookup)).unwrap();
        assert_eq!(got, words, "{text}");
    }
}

#[test]
fn another_escape_and_documents_have_rules_of_their_own() {
    let expander = Expander::new('`', &lookup);
    assert_eq!(expand(r"c:\a`$x$x", &expander).unwrap(), r"c:\a$xvalue");
    let document = Expander::of_document(&lookup);
    assert_eq!(
        expand("'$x' \"$x\" it's \\$x\n", &document).unwrap(),
        "'value' \"value\" it's $x\n"
    );
    let raw = Expander::raw();
    let words = expand_words("cat \"<<EOF\" 3<<'E' $x \\<<F", &raw).unwrap();
    assert_eq!(words, ["cat", "\"<<EOF\"", "3<<'E'", "$x", "\\<<F"]);
}

proptest! {
    #[test]
    fn any_text_is_expanded_or_refused(text in r#"[$ {}:x+?#%/*'"\\a-]{0,30}"#) {
        drop(word(&text));
    }

    #[test]
    fn what_is_quoted_stays(text in "[^']{0,30}") {
        prop_assert_eq!(word(&format!("'{text}'")).unwrap(), text);
    }

    #[test]
    fn a_suffix_and_what_is_left_make_the_value(value in "[ab]{0,9}", tail in "[ab]{1,3}") {
        let pattern = ExpansionPattern::parse(&tail).unwrap();
        let left = pattern.without_suffix(&value, false);
        prop_assert_eq!(left, value.strip_suffix(&tail).unwrap_or(&value));
    }
}
