//! What `flotilla check-config` shows: each key with its value, where that came from, and what it does.

use super::keys::Effect;
use super::merge::{Note, Settings};

/// A configuration laid open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub lines: Vec<Line>,
    /// Why a start would be refused; empty when it would not.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub key: String,
    pub value: String,
    pub source: String,
    /// `used`, `mapped`, `none` or `unknown`.
    pub effect: &'static str,
    /// What a mapped key does here, why another does nothing, what an unknown one may have meant.
    pub detail: String,
    /// False for a default.
    pub given: bool,
}

impl Report {
    pub fn new(settings: &Settings, notes: &[Note], problems: Vec<String>) -> Self {
        let known = settings.iter().map(|setting| {
            let (effect, detail) = match setting.key.effect {
                Effect::Used => ("used", ""),
                Effect::Mapped(how) => ("mapped", how),
                Effect::None(because) => ("none", because),
            };
            Line {
                key: setting.key.name.to_owned(),
                value: setting.shown(),
                source: setting.origin.to_string(),
                effect,
                detail: detail.to_owned(),
                given: setting.is_given(),
            }
        });
        let unknown = settings.unknown().iter().map(|unknown| Line {
            key: unknown.name.clone(),
            value: unknown.value.clone(),
            source: unknown.origin.to_string(),
            effect: "unknown",
            detail: unknown.nearest.map_or_else(String::new, |near| format!("did you mean {near}?")),
            given: true,
        });
        let warnings = notes.iter().filter(|note| matches!(note, Note::Warning(_)));
        Self {
            lines: known.chain(unknown).collect(),
            problems,
            warnings: warnings.map(|note| note.text().to_owned()).collect(),
        }
    }
}
