//! Pages of lists: `limit` (at most 1000) and an opaque `cursor`.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};

use super::problem::Problem;

const LIMIT_MAX: usize = 1000;
const LIMIT_DEFAULT: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A checked request for a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Names above this one; empty = from the start.
    pub after: String,
    pub limit: usize,
}

/// A page of a list; `next` is absent on the last one.
#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Page {
    pub(super) fn of(query: Result<Query<PageQuery>, QueryRejection>) -> Result<Self, Problem> {
        let Query(query) = query.map_err(|error| Problem::invalid(error.body_text()))?;
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit must be from 1 to {LIMIT_MAX}")));
        }
        let after = match query.cursor {
            None => String::new(),
            Some(cursor) => decode(&cursor).ok_or_else(|| Problem::invalid("cursor is not one of ours"))?,
        };
        Ok(Self { after, limit })
    }

    /// Makes a page of `limit + 1` items that were asked for; the extra one only tells that there is more.
    pub(super) fn list<S, T>(
        &self,
        mut items: Vec<S>,
        name: impl Fn(&S) -> &str,
        show: impl Fn(S) -> T,
    ) -> Listed<T> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|last| encode(name(last)));
        Listed { items: items.into_iter().map(show).collect(), next }
    }
}

fn encode(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(cursor: &str) -> Option<String> {
    let digits = cursor.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 1024 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_others_are_refused() {
        for name in ["", "%RETRY%group", "t-1_a"] {
            assert_eq!(decode(&encode(name)).as_deref(), Some(name));
        }
        for bad in ["0", "zz", "ff", "+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_extra_item_makes_a_cursor_and_is_not_shown() {
        let page = Page { after: String::new(), limit: 2 };
        let full = page.list(vec!["a", "b", "c"], |name| name, |name| name);
        assert_eq!(full.items, ["a", "b"]);
        assert_eq!(full.next, Some(encode("b")));
        let last = page.list(vec!["a", "b"], |name| name, |name| name);
        assert_eq!(last.next, None);
    }
}
