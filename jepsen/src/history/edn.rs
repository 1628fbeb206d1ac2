//! The history in EDN, one map a line, as Jepsen's own tools read `history.edn`.
//!
//! Keys, `:type` and `:f` are keywords. What the nemesis did is `:process :nemesis, :type :info`, which is how Jepsen
//! marks what no client did; a fault's `:f` is `:start-KIND` or `:stop-KIND`. Notes (`drained`, `inspect`) are the
//! nemesis' too, with their own type under `:result`.
//!
//! In Jepsen a process whose operation ended with `:info` does nothing more: to Knossos it is still at it. Ours go on, so
//! they go on under a new number: [`PROCESS_STEP`] higher.
//!
//! Source: Jepsen 0.3 `jepsen.history` (client operations have whole numbers as processes, all others are `:info`) and
//! `jepsen.nemesis.combined` (names of `:f`).

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{Act, HistoryError, Kind, Op, Process};

/// Between the numbers of one client before and after an operation of unknown outcome.
const PROCESS_STEP: u64 = 1_000_000;

/// Writes all operations; one is held in memory at a time. Returns how many there were.
///
/// # Errors
/// The history is wrong (as [`HistoryError`]), or the output refused.
pub fn write_edn(
    ops: impl IntoIterator<Item = Result<Op, HistoryError>>,
    output: &mut impl Write,
) -> anyhow::Result<u64> {
    let mut count = 0;
    // How often each client was given up.
    let mut given_up: HashMap<u32, u64> = HashMap::new();
    for op in ops {
        let op = op?;
        let number = match op.process {
            Process::Client(client) => {
                let given_up = given_up.entry(client).or_default();
                let number = u64::from(client) + *given_up * PROCESS_STEP;
                *given_up += u64::from(op.kind == Kind::Info);
                Some(number)
            }
            Process::Nemesis(_) => None,
        };
        write_op(&op, number, output)?;
        count += 1;
    }
    output.flush()?;
    Ok(count)
}

/// `client` is the number of the process, `None` for the nemesis.
fn write_op(op: &Op, client: Option<u64>, output: &mut impl Write) -> anyhow::Result<()> {
    let Value::Object(mut fields) = serde_json::to_value(op)? else {
        anyhow::bail!("an operation is an object")
    };
    let kind = fields.remove("type").unwrap_or_default();
    let mut name = fields.remove("f").unwrap_or_default();
    let mut value = fields.remove("value").unwrap_or_default();
    let note = matches!(op.act, Act::Drained { .. } | Act::Inspect { .. });
    if let Act::Fault(fault) = &op.act {
        let verb = if fault.begins { "start" } else { "stop" };
        name = Value::String(format!("{verb}-{}", fault.fault));
    }
    if note && let Value::Object(value) = &mut value {
        value.insert("result".to_owned(), kind.clone());
    }
    write!(output, "{{:index {}, :time {}, :process ", op.index, op.time)?;
    match client.filter(|_| !note) {
        Some(client) => write!(output, "{client}, :type :{}", keyword(&kind))?,
        None => write!(output, ":nemesis, :type :info")?,
    }
    write!(output, ", :f :{}, :value ", keyword(&name))?;
    write_value(&value, output)?;
    if let Some(error) = fields.get("error") {
        write!(output, ", :error ")?;
        write_value(error, output)?;
    }
    output.write_all(b"}\n")?;
    Ok(())
}

/// The text as part of a keyword: what EDN does not allow in one becomes `-`.
fn keyword(value: &Value) -> String {
    let text = value.as_str().unwrap_or("none");
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.*!?".contains(c) { c } else { '-' }).collect()
}

fn write_value(value: &Value, output: &mut impl Write) -> io::Result<()> {
    match value {
        Value::Null => output.write_all(b"nil"),
        Value::Bool(truth) => write!(output, "{truth}"),
        Value::Number(number) => write!(output, "{number}"),
        Value::String(text) => write_text(text, output),
        Value::Array(items) => {
            output.write_all(b"[")?;
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    output.write_all(b" ")?;
                }
                write_value(item, output)?;
            }
            output.write_all(b"]")
        }
        Value::Object(fields) => write_map(fields, output),
    }
}

fn write_map(fields: &Map<String, Value>, output: &mut impl Write) -> io::Result<()> {
    output.write_all(b"{")?;
    for (place, (name, value)) in fields.iter().enumerate() {
        if place > 0 {
            output.write_all(b", ")?;
        }
        write!(output, ":{name} ")?;
        // How a note came out, which Jepsen would have as a keyword.
        if name == "result" {
            write!(output, ":{}", keyword(value))?;
        } else {
            write_value(value, output)?;
        }
    }
    output.write_all(b"}")
}

/// EDN's strings know the escapes of Java: `\t \r \n \\ \"` and `\uXXXX`.
fn write_text(text: &str, output: &mut impl Write) -> io::Result<()> {
    output.write_all(b"\"")?;
    for c in text.chars() {
        match c {
            '"' => output.write_all(b"\\\"")?,
            '\\' => output.write_all(b"\\\\")?,
            '\n' => output.write_all(b"\\n")?,
            '\r' => output.write_all(b"\\r")?,
            '\t' => output.write_all(b"\\t")?,
            c if c.is_control() => write!(output, "\\u{:04x}", u32::from(c))?,
            c => write!(output, "{c}")?,
        }
    }
    output.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Fault, Seen};

    fn edn(process: Process, kind: Kind, act: Act, error: Option<&str>) -> String {
        let op = Op { index: 4, time: 99, process, kind, act, error: error.map(str::to_owned) };
        let mut bytes = Vec::new();
        assert_eq!(write_edn([Ok(op)], &mut bytes).expect("memory takes all"), 1);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_send_reads_as_jepsen_has_it() {
        let act = Act::Send {
            topic: "t\"1\"".into(),
            id: 7,
            key: None,
            queue: Some(1),
            offset: Some(2),
            copies_max: None,
        };
        let expected = "{:index 4, :time 99, :process 3, :type :ok, :f :send, \
                        :value {:id 7, :offset 2, :queue 1, :topic \"t\\\"1\\\"\"}}\n";
        assert_eq!(edn(Process::Client(3), Kind::Ok, act, None), expected);
    }

    #[test]
    fn a_read_holds_a_vector_of_maps() {
        let seen = vec![
            Seen { queue: 0, offset: 1, id: None, key: None, redelivered: 0 },
            Seen { queue: 0, offset: 2, id: Some(9), key: Some("k".into()), redelivered: 1 },
        ];
        let act = Act::Pull { topic: "t".into(), queue: 0, from: 1, max: Some(3), seen, node: None };
        let text = edn(Process::Client(0), Kind::Ok, act, None);
        let expected = ":seen [{:id nil, :offset 1, :queue 0, :redelivered 0} \
                        {:id 9, :key \"k\", :offset 2, :queue 0, :redelivered 1}]";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(":f :pull"), "{text}");
    }

    #[test]
    fn faults_and_notes_are_the_nemesis() {
        let fault = Fault {
            fault: "kill leader".into(),
            number: 1,
            nodes: vec![0, 2],
            begins: true,
            detail: String::new(),
        };
        let text = edn(Process::NEMESIS, Kind::Invoke, Act::Fault(fault), None);
        assert!(text.contains(":process :nemesis, :type :info, :f :start-kill-leader, :value {"), "{text}");
        assert!(text.contains(":nodes [0 2]") && text.contains(":begins true"), "{text}");
        let inspect = Act::Inspect { what: "log".into(), found: "a\tb".into() };
        let text = edn(Process::Client(5), Kind::Fail, inspect, Some("torn\u{1}"));
        let expected = ":process :nemesis, :type :info, :f :inspect, \
                        :value {:found \"a\\tb\", :result :fail, :what \"log\"}, :error \"torn\\u0001\"}\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_client_goes_on_under_a_new_number_after_an_unknown_outcome() {
        let kinds =
            [Kind::Invoke, Kind::Info, Kind::Invoke, Kind::Ok, Kind::Invoke, Kind::Info, Kind::Invoke];
        let op = |(index, kind)| {
            let act = Act::ReadTopic { topic: "t".into(), queues: None };
            Ok(Op { index, time: 0, process: Process::Client(3), kind, act, error: None })
        };
        let mut bytes = Vec::new();
        write_edn((0..).zip(kinds).map(op), &mut bytes).expect("memory takes all");
        let text = String::from_utf8(bytes).expect("text");
        let number =
            |line: &str| line.split_once(":process ")?.1.split_once(',').map(|(number, _)| number.to_owned());
        let numbers: Vec<String> = text.lines().filter_map(number).collect();
        assert_eq!(numbers, ["3", "3", "1000003", "1000003", "1000003", "1000003", "2000003"]);
    }

    #[test]
    fn a_wrong_line_ends_it_with_its_number() {
        let refused = write_edn([Err(HistoryError::at(8, "wrong"))], &mut Vec::new()).expect_err("refused");
        assert_eq!(refused.to_string(), "line 8: wrong");
    }
}
