//! YAML as far as people and machines write settings in it: mappings, lists and scalars, which stay text.
//!
//! A scalar is its text: `0644` is not a number here, `yes` and `1.10` stay as written. Anchors,
//! which could expand a short text to a huge value, are refused. Mappings keep the order of the
//! text, and every value has its position.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value;

use super::Problem;

/// Greatest depth of lists and mappings within each other.
const DEEPEST: usize = 64;

/// Value with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlNode {
    /// Offset of the value's first byte.
    pub offset: usize,
    /// The value.
    pub value: Yaml,
    /// True for a scalar without quotes, which other readers may take for a number or a truth value.
    pub is_plain: bool,
    /// True if a tag is before the value.
    pub is_tagged: bool,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yaml {
    /// An empty scalar or a `null`.
    Nothing,
    /// A scalar.
    Text(String),
    /// A list.
    List(Vec<YamlNode>),
    /// A mapping, in the order of the text; no key occurs twice.
    Map(Vec<YamlEntry>),
}

/// An entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlEntry {
    /// The key.
    pub key: String,
    /// Offset of the key's first byte.
    pub key_offset: usize,
    /// The value.
    pub node: YamlNode,
}

impl YamlNode {
    /// Reads a text of one document; an empty one is nothing.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let parser = Parser::new_from_str(text);
        let mut reader = YamlReader { parser, text, index: 0, offset: 0 };
        loop {
            match reader.next()? {
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
                None | Some((Event::StreamEnd | Event::DocumentEnd, _)) => {
                    return Ok(Self::of(0, Yaml::Nothing, true, false));
                }
                Some(event) => {
                    let node = reader.value(event, 0)?;
                    return reader.end().map(|()| node);
                }
            }
        }
    }

    fn of(offset: usize, value: Yaml, is_plain: bool, is_tagged: bool) -> Self {
        Self { offset, value, is_plain, is_tagged }
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Yaml::Map(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as JSON; scalars are strings.
    pub fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Nothing => Value::Null,
            Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

struct YamlReader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    text: &'a str,
    /// A place that is known: number of characters before, and of bytes.
    index: usize,
    offset: usize,
}

impl<'a> YamlReader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, Problem> {
        match self.parser.next().transpose() {
            Ok(event) => Ok(event.map(|(event, span): (_, Span)| {
                let offset = self.offset_of(span.start.index());
                (event, offset)
            })),
            Err(error) => {
                let message = format!("this is not valid YAML: {}", error.info());
                Err(Problem::at(self.offset_of(error.marker().index()), message))
            }
        }
    }

    /// Refuses further documents, which nobody would read.
    fn end(&mut self) -> Result<(), Problem> {
        while let Some((event, offset)) = self.next()? {
            if matches!(event, Event::DocumentStart(_)) {
                return Err(Problem::at(
                    offset,
                    "a second document begins here, of which nothing counts",
                )
                .hint("leave one document in the file".to_owned()));
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        (event, offset): (Event<'a>, usize),
        depth: usize,
    ) -> Result<YamlNode, Problem> {
        let wrong = |message: &str| Err(Problem::at(offset, message));
        // Against a stack overflow: the reader calls itself for each level.
        if depth > DEEPEST {
            return wrong("this is nested too deep");
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let value = match text.as_ref() {
                    // The spellings of the core schema (YAML 1.2.2, 10.3.2).
                    "" | "~" | "null" | "Null" | "NULL" if is_plain => Yaml::Nothing,
                    _ => Yaml::Text(text.into_owned()),
                };
                Ok(YamlNode::of(offset, value, is_plain, tag.is_some()))
            }
            Event::SequenceStart(_, tag) => {
                let mut items = Vec::new();
                while let Some(event) = self.next()? {
                    if matches!(event.0, Event::SequenceEnd) {
                        return Ok(YamlNode::of(offset, Yaml::List(items), false, tag.is_some()));
                    }
                    items.push(self.value(event, depth + 1)?);
                }
                wrong("this list has no end")
            }
            Event::MappingStart(_, tag) => {
                let (mut entries, mut keys) = (Vec::new(), BTreeSet::new());
                while let Some((event, key_offset)) = self.next()? {
                    let Event::Scalar(key, ..) = event else {
                        if matches!(event, Event::MappingEnd) {
                            return Ok(YamlNode::of(
                                offset,
                                Yaml::Map(entries),
                                false,
                                tag.is_some(),
                            ));
                        }
                        return Err(Problem::at(key_offset, "a key must be plain text"));
                    };
                    let Some(event) = self.next()? else { break };
                    let node = self.value(event, depth + 1)?;
                    // Readers differ in which one counts.
                    if !keys.insert(key.to_string()) {
                        let message = format!("the key {key:?} is given twice");
                        return Err(Problem::at(key_offset, message));
                    }
                    entries.push(YamlEntry { key: key.into_owned(), key_offset, node });
                }
                wrong("this mapping has no end")
            }
            // A few lines of references to references expand to any size ("billion laughs").
            Event::Alias(_) => wrong("references to other places are not supported"),
            _ => wrong("there is no value"),
        }
    }

    /// Offset of a character: the parser counts characters, nearly always onwards.
    fn offset_of(&mut self, index: usize) -> usize {
        if index < self.index {
            (self.index, self.offset) = (0, 0);
        }
        let rest = &self.text[self.offset..];
        let more = rest.char_indices().nth(index - self.index).map_or(rest.len(), |(at, _)| at);
        (self.index, self.offset) = (index, self.offset + more);
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_what_they_are() {
        let text = "\"bound\":\n  \"a\": |-\n    two\n    lines\n  b: 0644\n  c: yes\n  d:\nlist: [1.10, 'x']\n";
        let yaml = YamlNode::parse(text).unwrap();
        let bound = yaml.get("bound").unwrap();
        assert_eq!(bound.get("a").unwrap().text(), Some("two\nlines"));
        assert_eq!(bound.get("b").unwrap().text(), Some("0644"));
        assert_eq!(bound.get("c").unwrap().text(), Some("yes"));
        assert_eq!(bound.get("d").unwrap().value, Yaml::Nothing);
        let list = yaml.get("list").unwrap();
        assert_eq!(list.to_json(), serde_json::json!(["1.10", "x"]));
        let Yaml::List(items) = &list.value else { panic!("{list:?}") };
        assert!(items[0].is_plain && !items[1].is_plain && !list.is_plain && !list.is_tagged);
        assert!(YamlNode::parse("!reference [a, b]").unwrap().is_tagged);
        assert!(YamlNode::parse("{\"a\": [\"b\"]}").unwrap().get("a").is_some());
        assert_eq!(YamlNode::parse("# nothing\n").unwrap().value, Yaml::Nothing);
    }

    #[test]
    fn places_are_bytes_of_the_text_and_mappings_keep_their_order() {
        let text = "\u{e4}: \u{f6}\nb: [x, \u{fc}, y]\na: 1\n";
        let yaml = YamlNode::parse(text).unwrap();
        let Yaml::Map(entries) = &yaml.value else { panic!("{yaml:?}") };
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["\u{e4}", "b", "a"]);
        assert!(text[entries[2].key_offset..].starts_with("a: 1"));
        let Yaml::List(items) = &entries[1].node.value else { panic!("{yaml:?}") };
        assert!(text[items[2].offset..].starts_with("y]"));
    }

    #[test]
    fn what_is_not_yaml_has_its_place() {
        assert!(YamlNode::parse("\u{e4}: [\n").unwrap_err().offset.is_some());
        assert!(YamlNode::parse("a: &x 1\nb: *x\n").unwrap_err().message.contains("references"));
        let twice = YamlNode::parse("a: 1\na: 2\n").unwrap_err();
        assert!(twice.message.contains("twice") && twice.offset == Some(5));
        assert!(YamlNode::parse(&"[".repeat(100_000)).is_err());
        let second = YamlNode::parse("---\na: 1\n---\nb: 2\n").unwrap_err();
        assert!(second.message.contains("second document") && second.offset == Some(9));
        assert!(YamlNode::parse("---\na: 1\n...\n").is_ok());
    }
}
