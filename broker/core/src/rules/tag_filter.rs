//! Tag subscriptions: `*`, or tags joined by `||`, matched by hash. Collisions pass here and are caught by the client.
// Source: RocketMQ 5.3 FilterAPI#buildSubscriptionData and ExpressionMessageFilter.

use flotilla_remoting::message::tags::TagExpression;

/// Which tag codes a subscription wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TagFilter {
    #[default]
    All,
    /// Sorted, without doubles.
    Codes(Vec<i32>),
}

/// The expression holds nothing but separators; clients are answered SUBSCRIPTION_PARSE_FAILED (23).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subscription expression `{0}` names no tag")]
pub struct TagFilterError(pub String);

impl TagFilter {
    /// Parses a subscription expression.
    ///
    /// # Errors
    /// When it consists of separators alone. Blanks between separators are no error: they are dropped, and when nothing else is
    /// there, nothing matches, as in RocketMQ.
    pub fn parse(expression: &str) -> Result<Self, TagFilterError> {
        match TagExpression::parse(Some(expression)) {
            Ok(TagExpression::All) => Ok(Self::All),
            Ok(tags @ TagExpression::Tags(_)) => Ok(Self::from_codes(tags.codes())),
            Err(_) => Err(TagFilterError(expression.to_owned())),
        }
    }

    /// A filter from the code set that a client sent.
    pub fn from_codes(codes: impl IntoIterator<Item = i32>) -> Self {
        let mut codes: Vec<i32> = codes.into_iter().collect();
        codes.sort_unstable();
        codes.dedup();
        Self::Codes(codes)
    }

    /// True when a message with this code may be wanted. The code is 64 bits wide in the consume queue and compared by its
    /// lower half.
    #[inline]
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            Self::All => true,
            Self::Codes(codes) => codes.binary_search(&(tags_code as i32)).is_ok(),
        }
    }
}
