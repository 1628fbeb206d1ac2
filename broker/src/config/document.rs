//! The table of keys in docs/operating.md is the table in `keys`: a test compares them.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

use super::keys::{BROKER, Effect, Key, Kind};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating.md");

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true, false".to_owned(),
        Kind::Integer(min, max) => format!("{min} to {max}"),
        Kind::Signed => "whole number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Hours => "hours".to_owned(),
        Kind::Delays => "delays: number and s, m, h or d".to_owned(),
        Kind::Listen => "ip:port".to_owned(),
        Kind::Addresses => "host:port;…".to_owned(),
    }
}

fn default(key: &Key) -> String {
    if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) }
}

fn name(key: &Key) -> String {
    let aliases: String = key.aliases.iter().map(|alias| format!(", old: `{alias}`")).collect();
    format!("`{}`{aliases}", key.name)
}

fn effective() -> String {
    let mut table = "| key | values | default | meaning |\n|---|---|---|---|\n".to_owned();
    for key in BROKER.iter() {
        let note = match key.effect {
            Effect::Used => String::new(),
            Effect::Mapped(how) => format!(" ({how})"),
            Effect::None(_) => continue,
        };
        table +=
            &format!("| {} | {} | {} | {}{note} |\n", name(key), kind(key.kind), default(key), key.about);
    }
    table
}

fn without_effect() -> String {
    let mut table = "| accepted without effect, because | keys |\n|---|---|\n".to_owned();
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for key in BROKER.iter() {
        let Effect::None(because) = key.effect else { continue };
        match reasons.iter_mut().find(|(reason, _)| *reason == because) {
            Some((_, keys)) => keys.push(name(key)),
            None => reasons.push((because, vec![name(key)])),
        }
    }
    for (because, mut keys) in reasons {
        keys.sort_by_key(|key| key.to_ascii_lowercase());
        table += &format!("| {because} | {} |\n", keys.join(" "));
    }
    table
}

/// Replaces what stands between the two marks of a section.
fn with_section(document: &str, section: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- /{section} -->"));
    let (before, rest) =
        document.split_once(&begin).unwrap_or_else(|| panic!("docs/operating.md lacks {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/operating.md lacks {end}"));
    format!("{before}{begin}{table}{end}{after}")
}

/// With FLOTILLA_UPDATE_DOCUMENTS=1 the tables are written instead of compared.
#[test]
fn operating_md_shows_the_table_of_keys() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let expected = with_section(&document, "keys", &effective());
    let expected = with_section(&expected, "keys without effect", &without_effect());
    if std::env::var_os("FLOTILLA_UPDATE_DOCUMENTS").is_some() {
        std::fs::write(DOCUMENT, expected).unwrap();
        return;
    }
    let difference = document.lines().zip(expected.lines()).find(|(is, should)| is != should);
    assert_eq!(difference, None, "run this test with FLOTILLA_UPDATE_DOCUMENTS=1");
    assert_eq!(document.len(), expected.len(), "run this test with FLOTILLA_UPDATE_DOCUMENTS=1");
}
