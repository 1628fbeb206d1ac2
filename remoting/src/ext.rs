//! The `extFields` map of a header: text keys, text values, insertion order kept, last value of a key wins.
//!
//! All text lies in one string, an entry is three numbers: decoding the fourteen fields of a send costs two
//! allocations, and a lookup is a walk over a few entries. Null values are not kept: absent and null mean the same.

use std::fmt::{self, Write};

/// Position of one entry in the text: key, then value, back to back.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    value: u32,
    end: u32,
}

/// Small ordered map from text to text.
#[derive(Clone, Default)]
pub struct ExtFields {
    text: String,
    entries: Vec<Entry>,
}

impl ExtFields {
    /// An empty map; allocates nothing.
    pub const fn new() -> ExtFields {
        ExtFields { text: String::new(), entries: Vec::new() }
    }

    /// An empty map with room for so many entries and so many bytes of text.
    pub fn with_capacity(entries: usize, text_size: usize) -> ExtFields {
        ExtFields { text: String::with_capacity(text_size), entries: Vec::with_capacity(entries) }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Claims that there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Value of a key. Cost: one comparison per entry.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|entry| self.has_key(entry, key)).map(|entry| self.value(entry))
    }

    /// Sets a key to a value, in its old place if it is there already.
    pub fn insert(&mut self, key: &str, value: &str) {
        self.insert_written(key, |text| text.push_str(value));
    }

    /// Sets a key to the text of a number or another value, without a string in between.
    pub fn insert_display(&mut self, key: &str, value: impl fmt::Display) {
        self.insert_written(key, |text| {
            // Writing to a String does not fail.
            let _ = write!(text, "{value}");
        });
    }

    /// As [`Self::insert`] with a value that is written, not handed over. Nothing is inserted on an error.
    pub(crate) fn try_insert_with<E>(
        &mut self,
        key: &str,
        write_value: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let size_before = self.text.len();
        let start = self.position();
        self.text.push_str(key);
        let value = self.position();
        if let Err(error) = write_value(&mut self.text) {
            self.text.truncate(size_before);
            return Err(error);
        }
        let entry = Entry { key: start, value, end: self.position() };
        match self.place(key) {
            Some(index) => self.entries[index] = entry,
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// Removes all entries and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
    }

    /// Makes room for so many entries and so many bytes of text.
    pub(crate) fn reserve(&mut self, entries: usize, text_size: usize) {
        self.entries.reserve(entries);
        self.text.reserve(text_size);
    }

    /// Bytes of all keys and values.
    pub(crate) fn text_size(&self) -> usize {
        self.text.len()
    }

    /// Removes a key; claims that it was there. Its text stays allocated until the map is dropped.
    pub fn remove(&mut self, key: &str) -> bool {
        let place = self.place(key);
        if let Some(index) = place {
            self.entries.remove(index);
        }
        place.is_some()
    }

    /// All entries in insertion order, as (key, value).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (self.key(entry), self.value(entry)))
    }

    fn insert_written(&mut self, key: &str, write_value: impl FnOnce(&mut String)) {
        let Ok(()) = self.try_insert_with(key, |text| {
            write_value(text);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Index of a key's entry.
    fn place(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|entry| self.has_key(entry, key))
    }

    /// Compares length and first byte before the rest: most keys of a frame differ there, and the comparison of longer
    /// slices is a call.
    fn has_key(&self, entry: &Entry, key: &str) -> bool {
        let (start, end) = (entry.key as usize, entry.value as usize);
        let (text, key) = (self.text.as_bytes(), key.as_bytes());
        let may_match = end - start == key.len() && key.first().is_none_or(|first| text[start] == *first);
        may_match && text[start..end] == *key
    }

    fn key(&self, entry: &Entry) -> &str {
        &self.text[entry.key as usize..entry.value as usize]
    }

    fn value(&self, entry: &Entry) -> &str {
        &self.text[entry.value as usize..entry.end as usize]
    }

    /// End of the text. Header text is bounded by the frame size, far below 4 GiB.
    fn position(&self) -> u32 {
        u32::try_from(self.text.len()).expect("header text is bounded by the frame size")
    }
}

impl PartialEq for ExtFields {
    /// Equal as maps: order carries no meaning.
    fn eq(&self, other: &ExtFields) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl Eq for ExtFields {}

impl fmt::Debug for ExtFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(entries: I) -> ExtFields {
        let mut ext = ExtFields::new();
        for (key, value) in entries {
            ext.insert(key, value);
        }
        ext
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_of_a_key_wins_and_keeps_its_place() {
        let mut ext = ExtFields::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(ext.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        ext.insert_display("b", -7_i64);
        assert_eq!(ext.get("b"), Some("-7"));
        assert!(ext.remove("a"));
        assert!(!ext.remove("a"));
        assert_eq!(ext.get("a"), None);
        assert_eq!(format!("{ext:?}"), r#"{"b": "-7"}"#);
    }

    #[test]
    fn order_is_no_part_of_equality() {
        assert_eq!(
            ExtFields::from_iter([("a", "1"), ("b", "")]),
            ExtFields::from_iter([("b", ""), ("a", "1")])
        );
        assert_ne!(ExtFields::from_iter([("a", "1")]), ExtFields::from_iter([("a", "2")]));
        assert_ne!(ExtFields::from_iter([("a", "1")]), ExtFields::from_iter([("b", "1")]));
    }
}
