//! Java `.properties` text, as RocketMQ's configuration files are written.
//!
//! Promises: the key and value that `java.util.Properties.load` would give, with the line on which the
//! entry starts. Differences, on purpose: the text is read as UTF-8 when it is valid UTF-8 (Java reads
//! Latin-1 and wants escapes), and a byte order mark is skipped.
//! Leaves to others: which keys exist and what their values mean (`keys`, `merge`).
//!
//! Source: Java SE, class `Properties`, method `load(Reader)`; RocketMQ 5.3 `BrokerStartup`.

/// One entry, in file order. The same key may come more than once; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    /// Line on which the entry starts, counted from 1.
    pub line: u32,
}

/// The text is not `.properties`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: malformed \\u escape in '{text}': four hexadecimal digits of a character are needed")]
pub struct PropertiesError {
    pub line: u32,
    pub text: String,
}

/// Parses a whole file.
///
/// # Errors
/// A `\u` that is not followed by four hexadecimal digits, or that makes no character.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    let text = decode(bytes);
    let mut properties = Vec::new();
    let mut lines = text.split_inclusive(['\n', '\r']).peekable();
    let mut line = 0u32;
    while let Some(natural) = lines.next() {
        line += 1;
        let start = line;
        let natural = end_line(natural, &mut lines);
        let mut logical = natural.trim_start_matches(is_blank).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while continues(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            line += 1;
            logical.push_str(end_line(next, &mut lines).trim_start_matches(is_blank));
        }
        properties.push(entry(&logical, start)?);
    }
    Ok(properties)
}

fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Strips the line end and swallows the `\n` of a `\r\n`, which the split made a line of its own.
fn end_line<'a>(line: &'a str, lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> &'a str {
    if line.ends_with('\r') && lines.peek() == Some(&"\n") {
        lines.next();
    }
    line.trim_end_matches(['\n', '\r'])
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// An odd number of backslashes at the end continues the line.
fn continues(line: &str) -> bool {
    line.len().wrapping_sub(line.trim_end_matches('\\').len()) % 2 == 1
}

fn entry(logical: &str, line: u32) -> Result<Property, PropertiesError> {
    let mut key_end = logical.len();
    let mut escaped = false;
    for (at, character) in logical.char_indices() {
        if !escaped && (is_blank(character) || matches!(character, '=' | ':')) {
            key_end = at;
            break;
        }
        escaped = !escaped && character == '\\';
    }
    let (key, rest) = logical.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok(Property { key: unescape(key, line)?, value: unescape(rest, line)?, line })
}

fn unescape(text: &str, line: u32) -> Result<String, PropertiesError> {
    let malformed = || PropertiesError { line, text: text.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            None => {}
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let mut unit = hex_unit(&mut characters).ok_or_else(malformed)?;
                // Java keeps characters beyond the basic plane as two escapes.
                if (0xd800..0xdc00).contains(&unit) {
                    let mut ahead = characters.clone();
                    let low = (ahead.next() == Some('\\') && ahead.next() == Some('u'))
                        .then(|| hex_unit(&mut ahead))
                        .flatten()
                        .filter(|low| (0xdc00..0xe000).contains(low))
                        .ok_or_else(malformed)?;
                    characters = ahead;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
                out.push(char::from_u32(unit).ok_or_else(malformed)?);
            }
            Some(other) => out.push(other),
        }
    }
    Ok(out)
}

fn hex_unit(characters: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0u32, |unit, _| Some(unit * 16 + characters.next()?.to_digit(16)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    fn owned(expected: &[(&str, &str, u32)]) -> Vec<(String, String, u32)> {
        expected.iter().map(|(key, value, line)| (key.to_string(), value.to_string(), *line)).collect()
    }

    #[test]
    fn every_separator_of_java_separates() {
        let text = "a=1\nb:2\nc 3\nd\t=\t4\n e = 5\nf\ng==6\nh = : 7\n";
        let expected = [
            ("a", "1", 1),
            ("b", "2", 2),
            ("c", "3", 3),
            ("d", "4", 4),
            ("e", "5", 5),
            ("f", "", 6),
            ("g", "=6", 7),
            ("h", ": 7", 8),
        ];
        assert_eq!(pairs(text), owned(&expected));
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_lines_are_counted() {
        let text = "# one\n\n  ! two \\\nkey=value\r\n\r\nlast=end";
        assert_eq!(pairs(text), owned(&[("key", "value", 4), ("last", "end", 6)]));
    }

    #[test]
    fn a_backslash_at_the_end_continues_and_two_do_not() {
        let text = "peers=n0-a:1;\\\n    n1-b:2;\\\r\n\tn2-c:3\npath=c:\\\\\nnext=1\nopen=x\\";
        let expected =
            [("peers", "n0-a:1;n1-b:2;n2-c:3", 1), ("path", "c:\\", 4), ("next", "1", 5), ("open", "x", 6)];
        assert_eq!(pairs(text), owned(&expected));
    }

    #[test]
    fn a_comment_mark_inside_a_continued_line_is_text() {
        assert_eq!(pairs("a=1\\\n#2\n"), owned(&[("a", "1#2", 1)]));
    }

    #[test]
    fn escapes_become_characters_in_keys_and_values() {
        let text = "a\\ b\\=c\\:d = t\\tn\\nr\\rq\\q\\u00e9\\ud83d\\ude80";
        assert_eq!(pairs(text), owned(&[("a b=c:d", "t\tn\nr\rqq\u{e9}\u{1f680}", 1)]));
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        assert_eq!(parse(b"ok=1\nbad=\\u12g4\n").unwrap_err().line, 2);
        assert!(parse(b"bad=\\ud83d alone").is_err());
        assert!(parse(b"bad=\\u12").is_err());
    }

    #[test]
    fn text_that_is_not_utf_8_is_read_as_latin_1() {
        assert_eq!(parse(b"name=caf\xe9").unwrap()[0].value, "caf\u{e9}");
        assert_eq!(parse("\u{feff}name=caf\u{e9}".as_bytes()).unwrap()[0].value, "caf\u{e9}");
    }

    proptest::proptest! {
        #[test]
        fn prop_any_bytes_parse_or_fail_without_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
