//! Everything in a history that says which message lies where.

use crate::history::{Act, Call, History, Op, Seen};

/// A place in a queue and the message that somebody was told to lie there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub topic: &'a str,
    pub queue: u32,
    pub offset: u64,
    /// `None`: a message that is none of ours.
    pub id: Option<u64>,
    pub source: Source,
    /// The line that says so.
    pub line: u64,
    /// The replica that was asked by name.
    pub node: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The answer to the send.
    Ack,
    /// The answer to a pull.
    Pull,
    /// A listener was given it for the first time.
    Delivery,
}

impl Evidence<'_> {
    pub(super) fn place(&self) -> String {
        format!("{}/{}@{}", self.topic, self.queue, self.offset)
    }

    /// Who says so, for a text.
    pub(super) fn witness(&self) -> String {
        let what = match self.source {
            Source::Ack => "the ack",
            Source::Pull => "the read",
            Source::Delivery => "the delivery",
        };
        let node = self.node.map_or(String::new(), |node| format!(" of node {node}"));
        format!("{what}{node} in line #{}", self.line)
    }
}

/// In the order of the beginnings, all topics. A second delivery proves no place and is not among them.
pub(super) fn evidence(history: &History) -> impl Iterator<Item = Evidence<'_>> {
    history.calls().flat_map(|call| {
        let (ack, seen) = witnesses(call);
        ack.into_iter().chain(seen)
    })
}

type Told<'a> = (Option<Evidence<'a>>, Box<dyn Iterator<Item = Evidence<'a>> + 'a>);

fn witnesses(call: Call<'_>) -> Told<'_> {
    let nothing = || Box::new(std::iter::empty());
    match (&call.begin.act, call.done()) {
        (Act::Consume { topic, seen, .. }, _) if seen.redelivered == 0 => {
            (Some(from_seen(topic, seen, call.begin, Source::Delivery, None)), nothing())
        }
        (_, Some(end)) => match &end.act {
            Act::Send { topic, id, queue: Some(queue), offset: Some(offset), .. } => {
                let ack = Evidence {
                    topic,
                    queue: *queue,
                    offset: *offset,
                    id: Some(*id),
                    source: Source::Ack,
                    line: end.index,
                    node: None,
                };
                (Some(ack), nothing())
            }
            Act::Pull { topic, seen, node, .. } => {
                let told = seen.iter().map(move |seen| from_seen(topic, seen, end, Source::Pull, *node));
                (None, Box::new(told))
            }
            _ => (None, nothing()),
        },
        _ => (None, nothing()),
    }
}

fn from_seen<'a>(topic: &'a str, seen: &Seen, line: &Op, source: Source, node: Option<u32>) -> Evidence<'a> {
    let Seen { queue, offset, id, .. } = *seen;
    Evidence { topic, queue, offset, id, source, line: line.index, node }
}

/// An id for a text.
pub(super) fn named(id: Option<u64>) -> String {
    id.map_or_else(|| "a message that is none of ours".to_owned(), |id| format!("id {id}"))
}
