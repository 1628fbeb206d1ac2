//! Appending: every record gets its place here, on the owner's thread, before any byte leaves.

use std::sync::Arc;

use bytes::BytesMut;

use super::jobs::Job;
use super::scan::Tail;
use super::segment::{SEGMENT_HEADER_SIZE, Segment, SegmentHeader};
use super::store::Log;
use super::{AppendError, Body, Draft};
use crate::record::{PAYLOAD_SIZE_MAX, RECORD_HEADER_SIZE, Record, RecordHeader, copy_short_runs};
use crate::types::{Done, EntryKind, LogId};

/// A buffer may be kept when it is at most this much larger than twice its content.
const SLACK_SIZE: usize = 4096;

/// Where the next record goes while a batch is being built.
#[derive(Clone, Copy)]
struct Place {
    tail: Tail,
    /// Position up to which the current segment has room; `None` when there is no segment.
    room_end: Option<u64>,
    base: u64,
}

impl Log {
    /// Appends a leader's entries: gives them position, time, chain and checksum and lets the stamper number them.
    /// They can be read when this returns; `done` is called when they are written as the flush mode asks.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended and `done` is not called.
    pub fn append_new(&mut self, drafts: Vec<Draft>, done: Done) -> Result<Vec<Record>, AppendError> {
        self.shared.check()?;
        let now_ms = self.time.stamp(&*self.clock);
        let mut place = self.place();
        let mut records = Vec::with_capacity(drafts.len());
        for draft in drafts {
            match self.build(&mut place, draft, now_ms) {
                Ok(record) => records.push(record),
                Err(error) => {
                    self.retract(&records);
                    return Err(error);
                }
            }
        }
        self.take_in(&records, done);
        Ok(records)
    }

    /// Appends records of another node as they are, after checking index, chain, position and checksum.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended and `done` is not called.
    pub fn append_records(&mut self, mut records: Vec<Record>, done: Done) -> Result<(), AppendError> {
        self.shared.check()?;
        let mut place = self.place();
        for record in &records {
            self.accept(&mut place, record)?;
        }
        let mut stamper = self.stamper.lock();
        for (at, record) in
            records.iter().enumerate().filter(|(_, record)| record.kind() == EntryKind::Application)
        {
            let observed =
                stamper.observe(record.payload_slice(), record.payload_position(), record.time_ms());
            if let Err(source) = observed {
                drop(stamper);
                self.retract(&records[..at]);
                return Err(AppendError::Stamp { id: record.id(), source });
            }
        }
        drop(stamper);
        if let Some(last) = records.last() {
            self.time.observe(&*self.clock, last.time_ms());
        }
        copy_short_runs(&mut records);
        self.take_in(&records, done);
        Ok(())
    }

    fn place(&self) -> Place {
        let view = self.shared.view.read();
        let segment = view.segments.last();
        let mut room_end = segment.map(|segment| segment.room_end());
        if let (Some(age_max), Some(segment)) = (self.shared.options.segment_age_ms_max, segment)
            && self.clock.wall_ms().saturating_sub(segment.times_ms().0) >= age_max
        {
            room_end = None;
        }
        Place { tail: view.tail, room_end, base: segment.map_or(0, |segment| segment.base()) }
    }

    /// Turns a draft into the record that stands at `place` and moves the place behind it.
    fn build(&self, place: &mut Place, draft: Draft, now_ms: u64) -> Result<Record, AppendError> {
        let Draft { id, leader, kind, body } = draft;
        let tail = place.tail;
        self.check_order(tail, id)?;
        let mut bytes = with_head_room(body, id)?;
        let size = bytes.len() as u64;
        let size_max = (self.shared.options.segment_size - SEGMENT_HEADER_SIZE)
            .min((PAYLOAD_SIZE_MAX + RECORD_HEADER_SIZE) as u64);
        if size > size_max {
            return Err(AppendError::TooLarge { id, size, size_max });
        }
        let starts_segment = place.room_end.is_none_or(|room_end| tail.end + size > room_end);
        // The record of index 0 must come out the same on every node that could have formed the group.
        let (leader, time_ms) = if id.index == 0 { (0, 0) } else { (leader, now_ms) };
        if kind == EntryKind::Application {
            let position = tail.end + RECORD_HEADER_SIZE as u64;
            let stamped = self.stamper.lock().stamp(&mut bytes[RECORD_HEADER_SIZE..], position, time_ms);
            stamped.map_err(|source| AppendError::Stamp { id, source })?;
        }
        let header = RecordHeader {
            kind,
            starts_segment,
            id,
            position: tail.end,
            leader,
            time_ms,
            prev_term: tail.prev_term(),
            prev_crc: tail.crc,
        };
        Record::seal(&mut bytes, &header);
        let record = Record::from_sealed(bytes.freeze());
        if starts_segment {
            place.room_end = Some(tail.end + self.shared.options.segment_size - SEGMENT_HEADER_SIZE);
        }
        place.tail.advance(&record);
        Ok(record)
    }

    /// Checks that a record of another node stands at `place` and moves the place behind it.
    fn accept(&self, place: &mut Place, record: &Record) -> Result<(), AppendError> {
        let id = record.id();
        self.check_order(place.tail, id)?;
        place.tail.check(record).map_err(|reason| AppendError::Chain { id, reason })?;
        record.verify().map_err(|source| AppendError::Record { id, source })?;
        if record.starts_segment() || place.room_end.is_none() {
            place.base = record.position();
            place.room_end = Some(record.position());
        } else if record.end_position() - place.base > u64::from(u32::MAX) {
            return Err(AppendError::Chain { id, reason: "the segment would be longer than 4 GiB".into() });
        }
        place.tail.advance(record);
        Ok(())
    }

    fn check_order(&self, tail: Tail, id: LogId) -> Result<(), AppendError> {
        let free = tail.id.is_none() && self.shared.options.first_index_free;
        let follows = free || id.index == tail.next_index();
        if follows && id.term >= tail.prev_term() {
            Ok(())
        } else {
            Err(AppendError::Hole { last: tail.id, found: id })
        }
    }

    fn retract(&self, records: &[Record]) {
        let mut stamper = self.stamper.lock();
        for record in records.iter().rev().filter(|record| record.kind() == EntryKind::Application) {
            stamper.retract(record.payload_slice());
        }
    }

    /// Makes checked records part of the log: readable now, on their way to the disk.
    fn take_in(&self, records: &[Record], done: Done) {
        if records.is_empty() {
            return self.engine.submit(vec![Job::Barrier { done }]);
        }
        let progress = *self.shared.progress.lock();
        let mut jobs = Vec::new();
        let mut view = self.shared.view.write();
        let mut rest = records;
        while let Some(first) = rest.first() {
            if first.starts_segment() || view.segments.is_empty() {
                let sealed = view.segments.last().cloned();
                let (segment, spare) = self.new_segment(view.tail, first);
                view.segments.push(Arc::clone(&segment));
                jobs.push(Job::Open { segment, spare, sealed });
            }
            let count = 1 + rest[1..].iter().take_while(|record| !record.starts_segment()).count();
            let (batch, later) = rest.split_at(count);
            let segment = Arc::clone(view.segments.last().expect("a segment was just made sure of"));
            for record in batch {
                segment.push(record);
                if view.terms.last().is_none_or(|start| start.term != record.term()) {
                    view.terms.push(record.id());
                }
                view.tail.advance(record);
                view.ring.push(record.clone());
            }
            jobs.push(Job::Write {
                generation: progress.generation,
                segment,
                records: batch.to_vec(),
                done: None,
            });
            rest = later;
        }
        view.ring.evict(progress.written);
        drop(view);
        if let Some(Job::Write { done: last, .. }) = jobs.last_mut() {
            *last = Some(done);
        }
        self.engine.submit(jobs);
    }

    fn new_segment(&self, tail: Tail, first: &Record) -> (Arc<Segment>, Option<super::shared::Spare>) {
        let header = SegmentHeader {
            genesis: self.shared.genesis,
            base: tail.end,
            first_index: first.index(),
            prev: tail.point(),
        };
        let spare = self.shared.spares.lock().ready.pop();
        let allocated = spare.as_ref().map_or(self.shared.options.segment_size, |spare| spare.size);
        (Arc::new(Segment::new(Arc::clone(&self.shared.folder), header, allocated)), spare)
    }
}

/// The payload behind room for the header, in the buffer it came in if nobody else holds that and it is not far too
/// large to be kept.
fn with_head_room(body: Body, id: LogId) -> Result<BytesMut, AppendError> {
    match body {
        Body::Plain(payload) => {
            let mut bytes = BytesMut::with_capacity(RECORD_HEADER_SIZE + payload.len());
            bytes.resize(RECORD_HEADER_SIZE, 0);
            bytes.extend_from_slice(&payload);
            Ok(bytes)
        }
        Body::HeadRoom(bytes) if bytes.len() < RECORD_HEADER_SIZE => {
            let reason = format!("the payload of {id} comes without room for the header");
            Err(AppendError::Impossible { what: "append", reason })
        }
        Body::HeadRoom(bytes) => Ok(match bytes.try_into_mut() {
            Ok(own) if own.capacity() <= 2 * own.len() + SLACK_SIZE => own,
            Ok(own) => BytesMut::from(&own[..]),
            Err(shared) => BytesMut::from(&shared[..]),
        }),
    }
}
