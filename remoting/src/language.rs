//! Language of the sender of a frame.
//!
//! A JSON header carries the name, a binary header the number. Source: RocketMQ 5.3 LanguageCode.

/// Language of the sender. Names and numbers that are not known stay `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// 0, `JAVA`. What this crate writes by itself: every client release knows it.
    Java,
    /// 1, `CPP`. Tools of this language get the list form of a reset-offset body.
    Cpp,
    /// 2, `DOTNET`.
    Dotnet,
    /// 3, `PYTHON`.
    Python,
    /// 4, `DELPHI`.
    Delphi,
    /// 5, `ERLANG`.
    Erlang,
    /// 6, `RUBY`.
    Ruby,
    /// 7, `OTHER`.
    Other,
    /// 8, `HTTP`.
    Http,
    /// 9, `GO`.
    Go,
    /// 10, `PHP`.
    Php,
    /// 11, `OMS`.
    Oms,
    /// 12, `RUST`.
    Rust,
    /// 13, `NODE_JS`; unknown to clients of the 4.9 line.
    NodeJs,
    /// Any other number; an unknown or absent name is 127, as in the Go client.
    Unknown(u8),
}

const NAMES: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::Dotnet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

impl Language {
    /// The language of an unknown or absent name.
    pub const NOT_NAMED: Language = Language::Unknown(127);

    /// The language with this number in a binary header.
    pub fn from_code(code: u8) -> Language {
        NAMES.get(usize::from(code)).map_or(Language::Unknown(code), |(language, _)| *language)
    }

    /// The number in a binary header.
    pub fn code(self) -> u8 {
        match self {
            Language::Unknown(code) => code,
            known => {
                NAMES.iter().position(|(language, _)| *language == known).map_or(127, |index| index as u8)
            }
        }
    }

    /// The language with this name in a JSON header; an unknown name gives [`Language::NOT_NAMED`].
    pub fn from_name(name: &str) -> Language {
        NAMES.iter().find(|(_, known)| *known == name).map_or(Language::NOT_NAMED, |(language, _)| *language)
    }

    /// The name in a JSON header; `None` when there is none, as Java's null.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(language, _)| *language == self).map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_and_name_comes_back() {
        for code in 0..=255_u8 {
            assert_eq!(Language::from_code(code).code(), code);
        }
        for (language, name) in NAMES {
            assert_eq!(Language::from_name(name), language);
            assert_eq!(language.name(), Some(name));
        }
        assert_eq!(Language::from_name("COBOL"), Language::Unknown(127));
        assert_eq!(Language::Unknown(127).name(), None);
        assert_eq!(Language::from_code(12), Language::Rust);
    }
}
