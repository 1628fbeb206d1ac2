//! The form of a JSON body: names of fields and kinds of values, without the values. Reads the dialect of the Java library:
//! integers and whole objects as keys.

use std::collections::BTreeMap;

/// Fields whose keys are data, not names: the form of their values counts, not which there are.
const TABLES: [&str; 18] = [
    "attributes",
    "brokerAddrTable",
    "consumerTable",
    "consumeStatsList",
    "data",
    "forbiddenTable",
    "groupTopicMap",
    "messageRequestModeMap",
    "mqPopTable",
    "mqTable",
    "offsetTable",
    "properties",
    "statusTable",
    "subscriptionGroupTable",
    "subscriptionTable",
    "table",
    "topicConfigTable",
    "userConsumerInfo",
];

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing is known: an empty list, or the end of a recording that was cut.
    Unknown,
    Flag,
    Integer,
    Decimal,
    Text,
    List(Box<Shape>),
    Table(Box<Shape>),
    Object(BTreeMap<String, Shape>),
}

/// The form of a body, or why it is none.
pub fn shape(text: &str) -> Result<Shape, String> {
    let mut input = Input { bytes: text.as_bytes(), at: 0 };
    let shape = input.value(false)?;
    input.blank();
    if input.at < input.bytes.len() && !text.ends_with(" …cut") {
        return Err(format!("more behind byte {}", input.at));
    }
    Ok(shape)
}

impl Shape {
    /// What both have seen.
    fn merge(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Unknown, known) | (known, Shape::Unknown) => known,
            (Shape::List(left), Shape::List(right)) => Shape::List(Box::new(left.merge(*right))),
            (Shape::Table(left), Shape::Table(right)) => Shape::Table(Box::new(left.merge(*right))),
            (Shape::Object(mut left), Shape::Object(right)) => {
                for (name, value) in right {
                    let known = left.remove(&name).unwrap_or(Shape::Unknown);
                    left.insert(name, known.merge(value));
                }
                Shape::Object(left)
            }
            (left, _) => left,
        }
    }

    /// Where `found` differs: a path with `-` for a field that lacks, `+` for one too many, `!` for another kind.
    pub fn differences(&self, found: &Shape, path: &str, out: &mut Vec<String>) {
        match (self, found) {
            (Shape::Unknown, _) | (_, Shape::Unknown) => {}
            (Shape::List(left), Shape::List(right)) | (Shape::Table(left), Shape::Table(right)) => {
                left.differences(right, &format!("{path}[]"), out);
            }
            // A table without entries looks like an object without fields.
            (Shape::Table(_), Shape::Object(fields)) | (Shape::Object(fields), Shape::Table(_))
                if fields.is_empty() => {}
            (Shape::Object(left), Shape::Object(right)) => {
                for (name, value) in left {
                    match right.get(name) {
                        Some(other) => value.differences(other, &format!("{path}.{name}"), out),
                        None => out.push(format!("-{path}.{name}")),
                    }
                }
                out.extend(
                    right.keys().filter(|name| !left.contains_key(*name)).map(|n| format!("+{path}.{n}")),
                );
            }
            (left, right) if left == right => {}
            (left, right) => out.push(format!("!{path} {left:?} is {right:?}")),
        }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn blank(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.bytes.get(self.at).copied()
    }

    fn is(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn text(&mut self) -> String {
        let start = self.at + 1;
        self.at = start;
        while self.bytes.get(self.at).is_some_and(|byte| *byte != b'"') {
            self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        let end = self.at.min(self.bytes.len());
        self.at += 1;
        String::from_utf8_lossy(&self.bytes[start.min(end)..end]).into_owned()
    }

    fn word(&mut self) -> String {
        let start = self.at;
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':') || byte.is_ascii_whitespace();
        while self.bytes.get(self.at).is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    /// `is_table` says that the keys of an object are data.
    fn value(&mut self, is_table: bool) -> Result<Shape, String> {
        match self.peek() {
            None => Ok(Shape::Unknown),
            Some(b'{') => self.object(is_table),
            Some(b'[') => {
                self.at += 1;
                let mut item = Shape::Unknown;
                while !self.is(b']') && self.peek().is_some() {
                    item = item.merge(self.value(is_table)?);
                    self.is(b',');
                }
                Ok(Shape::List(Box::new(item)))
            }
            Some(b'"') => {
                self.text();
                Ok(Shape::Text)
            }
            Some(_) => {
                let at = self.at;
                match &*self.word() {
                    "null" => Ok(Shape::Unknown),
                    "true" | "false" => Ok(Shape::Flag),
                    word if word.parse::<i64>().is_ok() => Ok(Shape::Integer),
                    word if word.parse::<f64>().is_ok() => Ok(Shape::Decimal),
                    // The last word of a recording that was cut.
                    word if word.starts_with('…') => Ok(Shape::Unknown),
                    word => Err(format!("{word:?} at byte {at}")),
                }
            }
        }
    }

    fn object(&mut self, is_table: bool) -> Result<Shape, String> {
        self.at += 1;
        let mut fields = BTreeMap::new();
        let (mut values, mut has_data_keys) = (Shape::Unknown, is_table);
        while !self.is(b'}') && self.peek().is_some() {
            let name = match self.peek() {
                Some(b'"') => self.text(),
                Some(b'{') => {
                    has_data_keys = true;
                    self.object(false)?;
                    String::new()
                }
                _ => {
                    has_data_keys = true;
                    self.word()
                }
            };
            if !self.is(b':') {
                break;
            }
            has_data_keys |= name.parse::<i64>().is_ok();
            let value = self.value(TABLES.contains(&&*name))?;
            if has_data_keys {
                values = values.merge(value);
            } else {
                fields.insert(name, value);
            }
            self.is(b',');
        }
        Ok(if has_data_keys { Shape::Table(Box::new(values)) } else { Shape::Object(fields) })
    }
}

#[test]
fn differences_are_found_by_name_and_kind() {
    let differences = |recorded: &str, found: &str| {
        let mut out = Vec::new();
        shape(recorded).unwrap().differences(&shape(found).unwrap(), "", &mut out);
        out
    };
    let recorded = r#"{"a":1,"t":{{"q":0}:{"x":1.0}},"l":[{"y":"1"},{"z":true}],"table":{"k":"v"}}"#;
    assert_eq!(differences(recorded, recorded), [""; 0]);
    let found = r#"{"a":1,"t":{{"q":7}:{"x":2.5}},"l":[{"z":false,"y":"2"}],"table":{"other":"v"}}"#;
    assert_eq!(differences(recorded, found), [""; 0]);
    let found = r#"{"b":1,"t":{{"q":7}:{"x":2}},"l":[],"table":{}}"#;
    assert_eq!(differences(recorded, found), ["-.a", "!.t[].x Decimal is Integer", "+.b"]);
    assert_eq!(differences(r#"{"o":{0:1}}"#, r#"{"o":{"0":1,"3":2}}"#), [""; 0]);
    assert_eq!(differences(r#"{"a":[1,2 …cut"#, r#"{"a":[1]}"#), [""; 0]);
}
