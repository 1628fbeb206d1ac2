//! Members of objects and arrays, one by one, paid for as they come.

use serde::de;

use super::JsonError;
use super::read::Reader;
use super::scan::Scanner;

/// A map node is allocated for so many entries at once.
const ENTRIES_PER_NODE: usize = 12;

/// Members of an object or array whose opening byte is consumed.
pub(super) struct Members<'s, 'a> {
    reader: Reader<'s, 'a>,
    close: u8,
    map: bool,
    first: bool,
    /// The map's node is paid for.
    paid: bool,
}

impl<'s, 'a> Members<'s, 'a> {
    pub(super) fn new(
        reader: Reader<'s, 'a>,
        close: u8,
        map: bool,
        at: usize,
    ) -> Result<Members<'s, 'a>, JsonError> {
        let Some(depth_left) = reader.depth_left.checked_sub(1) else {
            return Err(JsonError::new(at, "nested too deeply"));
        };
        Ok(Members { reader: Reader { depth_left, ..reader }, close, map, first: true, paid: false })
    }

    fn next(&mut self) -> Result<bool, JsonError> {
        let more = self.reader.scanner.next_member(self.first, self.close)?;
        self.first = false;
        Ok(more)
    }

    /// Pays for an element of this size; the first of a map pays for the map's node.
    fn spend(&self, size: usize) -> Result<(), JsonError> {
        let times = if self.map && !self.paid { ENTRIES_PER_NODE } else { 1 };
        self.reader.budget.spend(size * times, self.reader.scanner.at)
    }

    fn reader(&mut self, key: bool) -> Reader<'_, 'a> {
        Reader {
            scanner: &mut *self.reader.scanner,
            depth_left: self.reader.depth_left,
            budget: self.reader.budget,
            key,
        }
    }
}

impl<'a> de::SeqAccess<'a> for Members<'_, 'a> {
    type Error = JsonError;

    fn next_element_seed<T: de::DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, JsonError> {
        if !self.next()? {
            return Ok(None);
        }
        self.spend(size_of::<T::Value>())?;
        let at = self.reader.scanner.at;
        seed.deserialize(self.reader(false)).map(Some).map_err(|error| error.or_at(at))
    }
}

impl<'a> de::MapAccess<'a> for Members<'_, 'a> {
    type Error = JsonError;

    fn next_key_seed<K: de::DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        let mut seed = Some(seed);
        while self.next()? {
            if let Some(at) = null_member_end(self.reader.scanner)? {
                self.reader.scanner.at = at;
                continue;
            }
            let at = self.reader.scanner.at;
            let Some(seed) = seed.take() else { break };
            if self.map {
                self.spend(size_of::<K::Value>())?;
            }
            let key = seed.deserialize(self.reader(true)).map_err(|error| error.or_at(at))?;
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: de::DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        self.reader.scanner.expect(b':', "`:`")?;
        if self.map {
            self.spend(size_of::<V::Value>())?;
            self.paid = true;
        }
        let at = self.reader.scanner.at;
        seed.deserialize(self.reader(false)).map_err(|error| error.or_at(at))
    }
}

/// Where the member at the scanner ends if its value is null: such a member counts as absent.
fn null_member_end(scanner: &Scanner<'_>) -> Result<Option<usize>, JsonError> {
    let mut ahead = scanner.clone();
    ahead.skip_value()?;
    if ahead.take(b':') && ahead.take_null() { Ok(Some(ahead.at)) } else { Ok(None) }
}
