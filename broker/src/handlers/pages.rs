//! Long tables in pieces (codes 21 and 201): a tool asks for the entries from a number on, under the version of the table that
//! it saw with the first piece.
// Source: RocketMQ 5.3 TopicConfigManager#subTopicConfigTable and SubscriptionGroupManager#subGroupTable.

use std::ops::Range;

use flotilla_remoting::bodies::{self, DataVersion};

/// What piece is asked for; tools of the 4.9 line ask for nothing and get everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page<'a> {
    pub from: Option<i32>,
    /// The table's version as JSON text; the count begins anew when it is another one by now.
    pub version: Option<&'a str>,
    pub most: Option<i32>,
}

impl Page<'_> {
    /// Claims that a piece is asked for, and not everything.
    pub fn is_asked(&self) -> bool {
        self.from.is_some() || self.version.is_some() || self.most.is_some()
    }
}

/// Which of `count` entries, in the order of their names, to show.
///
/// A piece never leaves a single entry for the next one: MQClientAPIImpl of 5.3 and 5.5 stops asking when it has all but one,
/// and would lose it.
pub fn page(wish: &Page<'_>, version: &DataVersion, count: usize) -> Range<usize> {
    let Some(most) = wish.most.and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0) else {
        return 0..count;
    };
    let same = wish.version.is_some_and(|text| {
        bodies::decode::<DataVersion>(text.as_bytes()).is_ok_and(|asked| asked == *version)
    });
    let from = wish.from.filter(|_| same).and_then(|from| usize::try_from(from).ok()).unwrap_or(0).min(count);
    let end = from.saturating_add(most).min(count);
    from..if end + 1 == count { count } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: DataVersion = DataVersion { counter: 3, state_version: 0, timestamp: 17 };
    const SAME: Option<&str> = Some(r#"{"counter":3,"stateVersion":0,"timestamp":17}"#);
    const OTHER: Option<&str> = Some(r#"{"counter":2,"stateVersion":0,"timestamp":17}"#);

    #[test]
    fn who_asks_for_no_page_gets_everything() {
        assert_eq!(page(&Page::default(), &VERSION, 7), 0..7);
        assert_eq!(page(&Page { from: Some(3), version: SAME, most: None }, &VERSION, 7), 0..7);
    }

    #[test]
    fn a_page_begins_anew_when_the_table_has_changed() {
        let wish = |version| Page { from: Some(4), version, most: Some(2) };
        assert_eq!(page(&wish(SAME), &VERSION, 20), 4..6);
        for version in [OTHER, None, Some("")] {
            assert_eq!(page(&wish(version), &VERSION, 20), 0..2);
        }
    }

    #[test]
    fn pages_cover_the_table_for_a_client_that_stops_one_short() {
        for count in 0..40 {
            for most in 1..12 {
                let mut seen = 0;
                loop {
                    let wish = Page { from: Some(seen), version: SAME, most: Some(most) };
                    let range = page(&wish, &VERSION, count);
                    assert_eq!(range.start, seen as usize);
                    seen = i32::try_from(range.end).expect("small");
                    // As MQClientAPIImpl.getAllTopicConfig does.
                    if seen >= count as i32 - 1 {
                        break;
                    }
                }
                assert_eq!(seen as usize, count, "pages of {most}");
            }
        }
    }
}
