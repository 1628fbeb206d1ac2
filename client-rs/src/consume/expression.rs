//! Which messages of a topic are wanted. Source: RocketMQ 5.3 FilterAPI, ExpressionType.

use std::collections::HashSet;

use flotilla_remoting::bodies::SubscriptionData;
use flotilla_remoting::message::tags::TagExpression;

use crate::error::{ClientError, Result};
use crate::received::ReceivedMessage;

/// Which messages of a topic are wanted. A text is read as tags: `"*"` for all, `"paid || sent"` for two tags.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expression {
    /// Every message.
    All,
    /// Tags, separated by `||`.
    Tags(String),
    /// A condition over properties, such as `region = 'eu' AND amount > 100`. The broker must allow it
    /// (`enablePropertyFilter`), else the consumer does not start.
    Sql92(String),
}

impl Expression {
    /// A condition over properties.
    pub fn sql92(condition: impl Into<String>) -> Expression {
        Expression::Sql92(condition.into())
    }
}

impl From<&str> for Expression {
    fn from(tags: &str) -> Expression {
        match tags.trim() {
            "" | "*" => Expression::All,
            _ => Expression::Tags(tags.to_owned()),
        }
    }
}

impl From<String> for Expression {
    fn from(tags: String) -> Expression {
        Expression::from(tags.as_str())
    }
}

/// A topic and what is wanted of it, as heartbeats tell it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) data: SubscriptionData,
    /// Tags that pass; `None` for all. Brokers select by the hash of a tag, clients by the tag.
    tags: Option<HashSet<String>>,
}

impl Subscription {
    /// A subscription made at `version_ms`: brokers keep the newest one of a group.
    ///
    /// # Errors
    /// `Invalid` for an expression that selects nothing or too much.
    pub(crate) fn new(topic: &str, expression: &Expression, version_ms: i64) -> Result<Subscription> {
        let mut data = SubscriptionData {
            topic: topic.to_owned(),
            sub_string: "*".to_owned(),
            sub_version: version_ms,
            expression_type: Some("TAG".to_owned()),
            ..SubscriptionData::default()
        };
        let mut wanted = None;
        match expression {
            Expression::All => {}
            Expression::Tags(text) => {
                let parsed = TagExpression::parse(Some(text)).map_err(|error| {
                    ClientError::Invalid(format!("subscription of {topic} to {text:?}: {error}"))
                })?;
                data.sub_string = text.clone();
                data.code_set = parsed.codes();
                if let TagExpression::Tags(tags) = parsed {
                    data.tags_set = tags.clone();
                    wanted = Some(tags.into_iter().collect());
                }
            }
            Expression::Sql92(condition) => {
                if condition.trim().is_empty() {
                    return Err(ClientError::Invalid(format!(
                        "subscription of {topic}: the condition is empty"
                    )));
                }
                data.sub_string = condition.clone();
                data.expression_type = Some("SQL92".to_owned());
            }
        }
        Ok(Subscription { data, tags: wanted })
    }

    /// Drops what the broker let pass for the hash of its tag alone.
    pub(crate) fn select(&self, messages: &mut Vec<ReceivedMessage>) {
        if let Some(tags) = &self.tags {
            messages.retain(|message| message.tag().is_some_and(|tag| tags.contains(tag)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_tags_and_conditions_are_sql() {
        assert_eq!(Expression::from("*"), Expression::All);
        let tags = Subscription::new("t", &"a || b".into(), 7).unwrap();
        assert_eq!(tags.data.tags_set, ["a", "b"]);
        assert_eq!(tags.data.code_set, [97, 98]);
        assert_eq!((tags.data.sub_string.as_str(), tags.data.sub_version), ("a || b", 7));
        assert!(tags.data.is_tag());
        let sql = Subscription::new("t", &Expression::sql92("a > 1"), 7).unwrap();
        assert_eq!(sql.data.expression_type.as_deref(), Some("SQL92"));
        assert!(sql.tags.is_none() && sql.data.tags_set.is_empty());
    }

    #[test]
    fn an_expression_that_selects_nothing_is_refused() {
        for wrong in [Expression::Tags("||".into()), Expression::sql92(" ")] {
            assert!(matches!(Subscription::new("t", &wrong, 0), Err(ClientError::Invalid(_))), "{wrong:?}");
        }
    }
}
