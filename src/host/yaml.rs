//! YAML as far as machines write it: mappings, lists and scalars, which stay text.
//!
//! A scalar is what was written: `0644` is no number here, `yes` and `1.10` are what they look like.
//! Anchors, which could make much of little, are refused.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::package::Problem;

/// How deep lists and mappings may lie within each other.
const DEEPEST: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yaml {
    Nothing,
    Text(String),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

impl Yaml {
    /// Reads the first document of a text; an empty one is nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut reader = Reader { parser: Parser::new_from_str(text), text };
        loop {
            match reader.next()? {
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
                None | Some((Event::StreamEnd | Event::DocumentEnd, _)) => {
                    return Ok(Self::Nothing);
                }
                Some(event) => return reader.value(event, 0),
            }
        }
    }

    /// The value of a mapping's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        self.parser.next().transpose().map_err(|error| {
            let message = format!("this is no YAML: {}", error.info());
            Problem::at(self.offset(error.marker().index()), message)
        })
    }

    fn value(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Yaml, Problem> {
        let wrong = |reader: &Self, message: &str| {
            Err(Problem::at(reader.offset(span.start.index()), message))
        };
        if depth > DEEPEST {
            return wrong(self, "this is nested too deep");
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(match (style, text.as_ref()) {
                (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Yaml::Nothing,
                _ => Yaml::Text(text.into_owned()),
            }),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some(event) = self.next()? {
                    if matches!(event.0, Event::SequenceEnd) {
                        return Ok(Yaml::List(items));
                    }
                    items.push(self.value(event, depth + 1)?);
                }
                wrong(self, "this list has no end")
            }
            Event::MappingStart(..) => {
                let mut entries = BTreeMap::new();
                while let Some(event) = self.next()? {
                    let Event::Scalar(key, ..) = event.0 else {
                        if matches!(event.0, Event::MappingEnd) {
                            return Ok(Yaml::Map(entries));
                        }
                        return wrong(self, "a key must be plain text");
                    };
                    let Some(event) = self.next()? else { break };
                    let value = self.value(event, depth + 1)?;
                    if entries.insert(key.to_string(), value).is_some() {
                        return wrong(self, &format!("the key {key:?} is given twice"));
                    }
                }
                wrong(self, "this mapping has no end")
            }
            Event::Alias(_) => wrong(self, "references to other places are not supported"),
            _ => wrong(self, "there is no value"),
        }
    }

    /// The parser counts characters.
    fn offset(&self, index: usize) -> usize {
        self.text.char_indices().nth(index).map_or(self.text.len(), |(offset, _)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_what_they_are() {
        let text = "\"bound\":\n  \"a\": |-\n    two\n    lines\n  b: 0644\n  c: yes\n  d:\nlist: [1.10, 'x']\n";
        let yaml = Yaml::parse(text).unwrap();
        let bound = yaml.get("bound").unwrap();
        assert_eq!(bound.get("a").unwrap().text(), Some("two\nlines"));
        assert_eq!(bound.get("b").unwrap().text(), Some("0644"));
        assert_eq!(bound.get("c").unwrap().text(), Some("yes"));
        assert_eq!(bound.get("d"), Some(&Yaml::Nothing));
        let list = ["1.10", "x"].map(|text| Yaml::Text(text.to_owned()));
        assert_eq!(yaml.get("list"), Some(&Yaml::List(list.to_vec())));
        assert!(Yaml::parse("{\"a\": [\"b\"]}").unwrap().get("a").is_some());
        assert_eq!(Yaml::parse("# nothing\n").unwrap(), Yaml::Nothing);
    }

    #[test]
    fn what_is_no_yaml_has_its_place() {
        assert!(Yaml::parse("ä: [\n").unwrap_err().offset.is_some());
        assert!(Yaml::parse("a: &x 1\nb: *x\n").unwrap_err().message.contains("references"));
        assert!(Yaml::parse("a: 1\na: 2\n").unwrap_err().message.contains("twice"));
        assert!(Yaml::parse(&"[".repeat(100_000)).is_err());
    }
}
