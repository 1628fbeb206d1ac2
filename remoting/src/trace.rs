//! Records of message traces: fields joined by 0x01, each record ended by 0x02.
//!
//! A broker stores traces as ordinary messages and never looks into them; tools do. Which fields a record has is told by
//! its first: `Pub`, `SubBefore`, `SubAfter`, `EndTransaction`, `Recall`.
//! Source: RocketMQ 5.3 TraceDataEncoder; vectors of kind `trace_record`.

const FIELD_SEPARATOR: char = '\u{1}';
const RECORD_END: char = '\u{2}';

/// One record: its fields, the kind first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord<'a> {
    /// Fields in their order.
    pub fields: Vec<&'a str>,
}

impl<'a> TraceRecord<'a> {
    /// Kind of the record; empty when there is none.
    pub fn kind(&self) -> &'a str {
        self.fields.first().copied().unwrap_or_default()
    }
}

/// All records of a trace body. A last record without end counts too.
pub fn records(body: &str) -> impl Iterator<Item = TraceRecord<'_>> {
    body.split(RECORD_END)
        .filter(|record| !record.is_empty())
        .map(|record| TraceRecord { fields: record.split(FIELD_SEPARATOR).collect() })
}

/// Appends a record.
pub fn encode_record(record: &TraceRecord<'_>, out: &mut String) {
    for (index, field) in record.fields.iter().enumerate() {
        if index > 0 {
            out.push(FIELD_SEPARATOR);
        }
        out.push_str(field);
    }
    out.push(RECORD_END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_and_joined() {
        let body = "Pub\u{1}1\u{2}Recall\u{1}\u{1}x\u{2}";
        let found: Vec<_> = records(body).collect();
        assert_eq!(found[1].fields, ["Recall", "", "x"]);
        assert_eq!(found[0].kind(), "Pub");
        let mut out = String::new();
        found.iter().for_each(|record| encode_record(record, &mut out));
        assert_eq!(out, body);
        assert_eq!(records("").count(), 0);
    }
}
