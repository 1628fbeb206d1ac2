//! Tags: their 32-bit code and the expressions that subscribe to them.
//!
//! Source: RocketMQ 5.3 MessageExtBrokerInner.tagsString2tagsCode, FilterAPI; vectors of kind `tagscode`.

use crate::limits::TAG_COUNT_MAX;

/// Java's hash of a string: `h = 31 * h + unit` over UTF-16 code units, wrapping.
pub fn java_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    }
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Code of a tag: its hash, sign-extended; 0 for an empty tag.
pub fn tags_code(tag: &str) -> i64 {
    i64::from(java_hash(tag))
}

/// What a TAG subscription selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagExpression {
    /// Every message: `*`, empty or absent.
    All,
    /// Messages with one of these tags, in the order written, without repeats.
    Tags(Vec<String>),
}

/// A TAG expression that selects nothing or too much (SUBSCRIPTION_PARSE_FAILED).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagExpressionError {
    /// There is no tag between the `||`.
    #[error("the subscription has no tag between its separators")]
    NoTag,
    /// More tags than [`TAG_COUNT_MAX`], repeats included.
    #[error("the subscription has more than {TAG_COUNT_MAX} tags")]
    TooManyTags,
}

impl TagExpression {
    /// Reads an expression: tags separated by `||`, trimmed, empty ones dropped.
    ///
    /// # Errors
    /// There are separators only, or too many tags.
    pub fn parse(expression: Option<&str>) -> Result<TagExpression, TagExpressionError> {
        let Some(text) = expression.filter(|text| !text.is_empty() && *text != "*") else {
            return Ok(TagExpression::All);
        };
        // Java's split drops trailing empty parts, so that separators alone give none.
        if text.split("||").all(str::is_empty) {
            return Err(TagExpressionError::NoTag);
        }
        let mut tags: Vec<String> = Vec::new();
        for (index, part) in text.split("||").map(str::trim).filter(|part| !part.is_empty()).enumerate() {
            if index == TAG_COUNT_MAX {
                return Err(TagExpressionError::TooManyTags);
            }
            if !tags.iter().any(|tag| tag == part) {
                tags.push(part.to_owned());
            }
        }
        Ok(TagExpression::Tags(tags))
    }

    /// Codes of the tags; empty for all messages.
    pub fn codes(&self) -> Vec<i32> {
        match self {
            TagExpression::All => Vec::new(),
            TagExpression::Tags(tags) => tags.iter().map(|tag| java_hash(tag)).collect(),
        }
    }

    /// Claims that a message with this tag code may be selected; clients check the tag itself again.
    pub fn may_match(&self, tags_code: i64) -> bool {
        match self {
            TagExpression::All => true,
            // The lower half of the code is the hash.
            TagExpression::Tags(tags) => tags.iter().any(|tag| java_hash(tag) == tags_code as i32),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> TagExpression {
        TagExpression::Tags(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn expressions_are_read_as_java_does() {
        for all in [None, Some(""), Some("*")] {
            assert_eq!(TagExpression::parse(all), Ok(TagExpression::All));
        }
        assert_eq!(TagExpression::parse(Some("TagA || TagB||TagA|| ")), Ok(tags(&["TagA", "TagB"])));
        assert_eq!(TagExpression::parse(Some("||TagA")), Ok(tags(&["TagA"])));
        assert_eq!(TagExpression::parse(Some("||||")), Err(TagExpressionError::NoTag));
    }

    #[test]
    fn codes_select_by_hash() {
        let expression = tags(&["TagA", "polygenelubricants"]);
        assert_eq!(expression.codes(), [2_598_919, i32::MIN]);
        assert!(expression.may_match(2_598_919) && expression.may_match(i64::from(i32::MIN)));
        assert!(!expression.may_match(0) && !expression.may_match(2_598_920));
        assert!(TagExpression::All.may_match(7));
    }

    #[test]
    fn hash_counts_utf16_units() {
        assert_eq!(java_hash("中文"), 646_394);
        assert_eq!(java_hash("😀"), 31 * 0xD83D + 0xDE00);
        assert_eq!(tags_code(""), 0);
    }
}
