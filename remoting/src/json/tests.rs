//! The dialect: what is read beyond standard JSON, what is refused and where.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::bodies::MessageQueue;
use crate::limits::JSON_LINK_COUNT_MAX;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sample {
    a_name: Option<String>,
    list: Vec<i64>,
    map: BTreeMap<i32, String>,
    ratio: f64,
    yes: bool,
}

fn read(text: &str) -> Result<Sample, JsonError> {
    from_slice(text.as_bytes())
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn numbers_booleans_and_texts_stand_for_each_other() {
    let sample =
        read(r#" { "aName" : 5, "list":["1",2], "map":{0:"x", "1":true}, "ratio":"2", "yes":"true" } "#)
            .unwrap();
    assert_eq!(sample.a_name.as_deref(), Some("5"));
    assert_eq!(sample.list, [1, 2]);
    assert_eq!(sample.map, BTreeMap::from([(0, "x".to_owned()), (1, "true".to_owned())]));
    assert_eq!((sample.ratio, sample.yes), (2.0, true));
}

#[test]
fn null_and_absent_members_are_alike_and_unknown_ones_are_stepped_over() {
    assert_eq!(
        read(r#"{"list":null,"ratio":null,"map":{3:null},"other":{{"k":[1]}:2}}"#).unwrap(),
        Sample::default()
    );
    assert_eq!(read("{}").unwrap(), Sample::default());
}

#[test]
fn errors_say_what_and_where() {
    assert_eq!(error(""), "expected an object at byte 0");
    assert_eq!(error("{} x"), "unexpected text after the value at byte 3");
    assert_eq!(error(r#"{"list":[1,x]}"#), "expected a number (i64) at byte 11");
    assert_eq!(error(r#"{"list":7}"#), "expected an array at byte 8");
    assert_eq!(error(r#"{"aName":{}}"#), "expected a text at byte 9");
    assert_eq!(error(r#"{"map":{x:"1"}}"#), "expected a number (i32) at byte 8");
    assert_eq!(error(r#"{"yes":maybe}"#), "expected true or false at byte 7");
    assert_eq!(error(r#"{"ratio":1e999}"#), "expected a number at byte 9");
    assert_eq!(error(r#"{"list":[1"#), "expected `,` or `]` at byte 10");
    assert_eq!(
        from_slice::<Sample>(b"{\"aName\":\"\xFF\"}").unwrap_err(),
        JsonError::new(10, "text is not UTF-8")
    );
    assert_eq!(from_slice::<Vec<String>>(b"[null]").unwrap_err().at, 1);
}

#[test]
fn raw_and_quoted_object_keys_are_the_same_key() {
    type Offsets = BTreeMap<MessageQueue, i64>;
    let raw: Offsets = from_slice(br#"{{"brokerName":"b","queueId":1,"topic":"t"}:5}"#).unwrap();
    let quoted: Offsets =
        from_slice(br#"{"{\"topic\":\"t\",\"queueId\":1,\"brokerName\":\"b\"}":5}"#).unwrap();
    assert_eq!(raw, quoted);
    assert_eq!(to_vec(&raw), br#"{{"brokerName":"b","queueId":1,"topic":"t"}:5}"#);
    let error = from_slice::<Offsets>(br#"{"{\"topic\"":5}"#).unwrap_err();
    assert_eq!(error.at, 1);
}

#[test]
fn links_lead_to_members_and_elements() {
    #[derive(Debug, Deserialize)]
    struct Linked {
        first: Vec<Sample>,
        second: Sample,
        third: Vec<Sample>,
    }
    let text = br#"{"first":[{"yes":true}],"second":{"$ref":"$.first[0]"},"third":{"$ref":"$.first"}}"#;
    let linked: Linked = from_slice(text).unwrap();
    assert!(linked.second.yes && linked.third == linked.first);
}

#[test]
fn links_that_lead_nowhere_or_around_are_refused() {
    let at = |text: &str| read(text).unwrap_err();
    assert_eq!(error(r#"{"list":{"$ref":"$.other"}}"#), "link leads nowhere: $.other at byte 8");
    assert_eq!(error(r#"{"list":{"$ref":".."}}"#), "link leads nowhere: .. at byte 8");
    assert_eq!(error(r#"{"list":{"$ref":"$"}}"#), "link to an enclosing object at byte 8");
    assert_eq!(error(r#"{"list":{"$ref":"$.list"}}"#), "link to an enclosing object at byte 8");
    assert_eq!(at(r#"{"list":{"$ref":"$.map"},"map":{"$ref":"$.list"}}"#).what, "nested too deeply");
    let links = "{\"$ref\":\"$.b\"},".repeat(JSON_LINK_COUNT_MAX + 1);
    let text = format!("{{\"b\":{{}},\"a\":[{}]}}", links.trim_end_matches(','));
    let error = from_slice::<BTreeMap<String, serde::de::IgnoredAny>>(text.as_bytes());
    assert!(error.is_ok(), "members that are stepped over follow no link");
    #[derive(Debug, Deserialize)]
    struct Many {
        a: Vec<Sample>,
    }
    let outcome = from_slice::<Many>(text.as_bytes()).map(|many| many.a.len());
    assert_eq!(outcome.unwrap_err().what, "too many links");
}

#[test]
fn depth_is_bounded_for_values_too() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Deep {
        x: Option<Box<Deep>>,
    }
    let nested = |depth: usize| "{\"x\":".repeat(depth) + "{}" + &"}".repeat(depth);
    let mut depth = 0;
    let mut place = from_slice::<Deep>(nested(20).as_bytes()).unwrap().x;
    while let Some(deep) = place {
        (depth, place) = (depth + 1, deep.x);
    }
    assert_eq!(depth, 20);
    assert_eq!(from_slice::<Deep>(nested(100).as_bytes()).unwrap_err().what, "nested too deeply");
}

#[test]
fn writer_leaves_out_nulls_and_prints_numbers_as_java() {
    let mut sample = Sample { ratio: 1.0, list: vec![-1], ..Sample::default() };
    sample.map.insert(7, "\u{1}\"\\\n\u{1f}é".to_owned());
    let text = |dialect| String::from_utf8(to_vec_with(&sample, dialect)).unwrap();
    assert_eq!(
        text(Dialect::default()),
        r#"{"list":[-1],"map":{"7":"\u0001\"\\\n\u001Fé"},"ratio":1.0,"yes":false}"#
    );
    let plain = Dialect { integer_keys: IntegerKeys::Bare, ascii_only: true };
    assert_eq!(text(plain), r#"{"list":[-1],"map":{7:"\u0001\"\\\n\u001F\u00E9"},"ratio":1.0,"yes":false}"#);
    let infinite = Sample { ratio: f64::INFINITY, a_name: Some(String::new()), ..Sample::default() };
    assert_eq!(to_vec(&infinite), br#"{"aName":"","list":[],"map":{},"yes":false}"#);
    let smile = vec!["😀".to_owned()];
    assert_eq!(to_vec_with(&smile, plain), br#"["\uD83D\uDE00"]"#);
}
