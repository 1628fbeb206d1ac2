//! What a run came to: one line of JSON, or a table for people. Keys that don't apply to a command are absent.

use serde::Serialize;

use super::latency::Summary;
use super::size::Sizes;

/// Result of a run. Counts are of the measured part, except those of lost messages, duplicates and order, which are of
/// all that was sent and received.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    tool: &'static str,
    command: &'static str,
    /// Name servers.
    target: String,
    version: &'static str,
    topic: String,
    /// Bytes of a body, or the distribution as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Clients that sent, or that received where nobody sent.
    pub clients: u32,
    /// Requests of a client in flight at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Messages of a request; 0: no batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Requests a second that were intended; 0: as many as the servers answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Length of the measured part.
    pub seconds: f64,
    /// Messages handed to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Messages with an ack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acked: Option<u64>,
    /// Messages that certainly were not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// Messages that may have been stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u64>,
    /// Requests that were due at the intended rate and were not sent; latency has what they waited until the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// Messages that arrived, without those that came again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Acked messages a second; received ones where nobody sent.
    pub messages_per_second: f64,
    /// Their bodies.
    pub bytes_per_second: f64,
    /// From the (intended) send to the ack; to the receipt where there is a consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<Summary>,
    /// Longest time without any ack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_gap_ms_max: Option<f64>,
    /// Acked messages that never arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Messages that arrived again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<u64>,
    /// Messages that arrived after one that their sender sent later to the same queue, or with the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<u64>,
    /// CPU time of this process in the measured part.
    pub client_cpu_seconds: f64,
}

/// Sizes of bodies as JSON: a number where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Size {
    /// Each body has so many bytes.
    Fixed(usize),
    /// As the distribution was given.
    Text(String),
}

impl From<&Sizes> for Size {
    fn from(sizes: &Sizes) -> Size {
        match sizes {
            Sizes::Fixed(size) => Size::Fixed(*size),
            other => Size::Text(other.to_string()),
        }
    }
}

impl Outcome {
    /// A run of which only the names are known.
    pub fn new(command: &'static str, target: &str, topic: &str) -> Outcome {
        Outcome {
            tool: "flotilla bench",
            command,
            target: target.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            topic: topic.to_owned(),
            size: None,
            clients: 0,
            window: None,
            batch: None,
            rate: None,
            seconds: 0.0,
            sent: None,
            acked: None,
            failed: None,
            unknown: None,
            behind: None,
            received: None,
            messages_per_second: 0.0,
            bytes_per_second: 0.0,
            latency_us: None,
            ack_gap_ms_max: None,
            lost: None,
            duplicates: None,
            out_of_order: None,
            client_cpu_seconds: 0.0,
        }
    }

    /// Sets the time and the rates from it.
    pub fn over(&mut self, seconds: f64, messages: u64, bytes: u64) {
        self.seconds = rounded(seconds, 3);
        if seconds > 0.0 {
            self.messages_per_second = rounded(messages as f64 / seconds, 1);
            self.bytes_per_second = rounded(bytes as f64 / seconds, 1);
        }
    }

    /// The line of JSON, without its end.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("the keys are texts and the numbers are finite")
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let mut lines = vec![("topic", format!("{} at {}", self.topic, self.target))];
        let mut load = vec![format!("{} clients", self.clients)];
        load.extend(self.window.map(|window| format!("{window} in flight each")));
        load.extend(self.batch.filter(|batch| *batch > 0).map(|batch| format!("batches of {batch}")));
        load.extend(self.rate.filter(|rate| *rate > 0.0).map(|rate| format!("{rate} requests a second")));
        load.extend(self.size.as_ref().map(|size| match size {
            Size::Fixed(size) => format!("{size} bytes"),
            Size::Text(text) => format!("{text} bytes"),
        }));
        lines.push(("load", load.join(", ")));
        lines.push(("time", format!("{:.3} s, client's CPU {:.3} s", self.seconds, self.client_cpu_seconds)));
        let counts = [
            ("sent", self.sent),
            ("acked", self.acked),
            ("failed", self.failed),
            ("unknown", self.unknown),
            ("requests not sent", self.behind),
            ("received", self.received),
        ];
        let counts: Vec<String> = counts
            .into_iter()
            .filter_map(|(name, count)| count.map(|count| format!("{name} {}", grouped(count))))
            .collect();
        lines.push(("messages", counts.join(", ")));
        lines.push(("rate", {
            let rate = grouped(self.messages_per_second.round() as u64);
            format!("{rate} messages/s, {:.1} MB/s", self.bytes_per_second / 1e6)
        }));
        if let Some(l) = self.latency_us {
            let text = |us: u64| milliseconds(us);
            lines.push((
                "latency",
                format!(
                    "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}, mean {}",
                    text(l.p50),
                    text(l.p90),
                    text(l.p99),
                    text(l.p999),
                    text(l.max),
                    text(l.mean)
                ),
            ));
        }
        if let Some(gap) = self.ack_gap_ms_max {
            lines.push(("ack gap", format!("{gap:.1} ms at most")));
        }
        let checks =
            [("lost", self.lost), ("duplicates", self.duplicates), ("out of order", self.out_of_order)];
        let checks: Vec<String> = checks
            .into_iter()
            .filter_map(|(name, count)| count.map(|count| format!("{name} {}", grouped(count))))
            .collect();
        if !checks.is_empty() {
            lines.push(("check", checks.join(", ")));
        }
        lines.iter().map(|(name, text)| format!("{name:<9} {text}\n")).collect()
    }
}

/// A number with so many digits after the point.
pub fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (number * unit).round() / unit
}

/// The value in the middle, the mean of the two in the middle; `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[half]),
        _ => Some(values[half - 1].midpoint(values[half])),
    }
}

/// Microseconds as milliseconds with three digits that count.
fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1e3;
    match us {
        0..=9_999 => format!("{ms:.2} ms"),
        10_000..=99_999 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// A number in groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_do_not_apply_are_absent_and_the_others_have_their_names() {
        let mut outcome = Outcome::new("produce", "127.0.0.1:9876", "t");
        outcome.size = Some(Size::from(&Sizes::Fixed(1024)));
        outcome.acked = Some(5);
        outcome.over(2.0, 5, 5_120);
        let json: serde_json::Value = serde_json::from_str(&outcome.json()).unwrap();
        assert_eq!(json["tool"], "flotilla bench");
        assert_eq!(json["size"], 1024);
        assert_eq!(json["messages_per_second"], 2.5);
        assert_eq!(json["bytes_per_second"], 2560.0);
        assert!(json.get("received").is_none() && json.get("latency_us").is_none());
        assert!(outcome.table().contains("acked 5\n"), "{}", outcome.table());
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn requests_that_were_not_sent_are_told_when_there_are_any() {
        let mut outcome = Outcome::new("produce", "127.0.0.1:9876", "t");
        assert!(!outcome.json().contains("behind") && !outcome.table().contains("not sent"));
        outcome.behind = Some(7);
        let json: serde_json::Value = serde_json::from_str(&outcome.json()).unwrap();
        assert_eq!(json["behind"], 7);
        assert!(outcome.table().contains("requests not sent 7"), "{}", outcome.table());
    }
}
