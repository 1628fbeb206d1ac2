//! The vectors and small helpers to compare with them.

use serde_json::Value;

/// One vector.
pub struct Vector {
    pub name: String,
    pub kind: String,
    pub fields: Value,
    pub bytes: Vec<u8>,
}

impl Vector {
    pub fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_else(|| panic!("{}: no text {field}", self.name))
    }

    pub fn number(&self, field: &str) -> i64 {
        self.fields[field].as_i64().unwrap_or_else(|| panic!("{}: no number {field}", self.name))
    }

    /// The vector's bytes as text.
    pub fn bytes_text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

/// All vectors.
pub fn load() -> Vec<Vector> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/vectors.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vector = |value: &Value| Vector {
        name: value["name"].as_str().unwrap().to_owned(),
        kind: value["kind"].as_str().unwrap().to_owned(),
        fields: value["fields"].clone(),
        bytes: unhex(value["hex"].as_str().unwrap()),
    };
    all.as_array().unwrap().iter().map(vector).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let byte = |index| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Members of a JSON object as pairs of texts; null members are left out.
pub fn text_pairs(value: &Value) -> Vec<(&str, &str)> {
    let Some(members) = value.as_object() else { return Vec::new() };
    members.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}
