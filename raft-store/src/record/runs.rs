//! Records that lie one behind the other in one buffer: written as one slice, or copied out of a buffer that is too large
//! to be kept for them.

use std::io::IoSlice;

use bytes::Bytes;

use super::Record;

/// Runs below this are copied out of their receive buffer; copying that little costs less than keeping the rest.
const SHORT_RUN_SIZE: usize = 16 << 10;

/// The bytes of consecutive records in as few slices as their buffers allow.
pub(crate) fn slices_of<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::new();
    let mut run: Option<Run<'a>> = None;
    for record in records {
        let extended = run.as_mut().is_some_and(|run| run.extend(record));
        if !extended {
            slices.extend(run.replace(Run::of(record)).map(Run::slice));
        }
    }
    slices.extend(run.map(Run::slice));
    slices
}

/// Neighbouring records of one buffer.
struct Run<'a> {
    /// From the first record's start to the buffer's end.
    room: &'a [u8],
    size: usize,
}

impl<'a> Run<'a> {
    fn of(record: &'a Record) -> Self {
        let room = if record.frame.is_empty() { &record.bytes[..] } else { &record.frame[..] };
        Self { room, size: record.bytes.len() }
    }

    /// Takes the record in when its bytes are the next ones of this run's buffer. Two live buffers never overlap, so an
    /// address inside this one belongs to it.
    fn extend(&mut self, record: &Record) -> bool {
        let next = self.room.as_ptr() as usize + self.size;
        let fits =
            record.bytes.as_ptr() as usize == next && self.room.len() - self.size >= record.bytes.len();
        if fits {
            self.size += record.bytes.len();
        }
        fits
    }

    fn slice(self) -> IoSlice<'a> {
        IoSlice::new(&self.room[..self.size])
    }
}

/// Replaces short runs of records by copies, so that a few kept records do not hold a large receive buffer.
pub(crate) fn copy_short_runs(records: &mut [Record]) {
    let mut at = 0;
    while at < records.len() {
        let mut run = Run::of(&records[at]);
        let count = 1 + records[at + 1..].iter().take_while(|record| run.extend(record)).count();
        let size = run.size;
        if size < SHORT_RUN_SIZE {
            let mut rest = Bytes::copy_from_slice(&run.room[..size]);
            for record in &mut records[at..at + count] {
                let frame = rest.clone();
                let bytes = rest.split_to(record.bytes.len());
                *record = Record { bytes, frame };
            }
        }
        at += count;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn records_of_one_buffer_become_one_slice_and_others_do_not() {
        let joined =
            [sample(b"one"), sample(b"second"), sample(b"third")].map(|r| r.bytes().to_vec()).concat();
        let mut rest = Bytes::from(joined.clone());
        let cut: Vec<_> = (0..3).map(|_| Record::split_from(&mut rest).unwrap()).collect();
        let slices = slices_of(cut.iter());
        assert_eq!(slices.len(), 1);
        assert_eq!(&slices[0][..], joined);
        let alone = sample(b"alone");
        let mixed = [&cut[0], &alone, &cut[1], &cut[2], &cut[0]];
        let slices = slices_of(mixed.into_iter());
        assert_eq!(slices.len(), 4);
        assert_eq!(slices.concat_bytes(), mixed.map(|r| r.bytes().to_vec()).concat());
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }
    impl Concat for Vec<IoSlice<'_>> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|slice| slice.to_vec()).collect()
        }
    }

    /// Rule 23: what is kept of a large frame does not keep the frame.
    #[test]
    fn rule_23_short_runs_are_copied_out_of_their_frame() {
        let large = sample(&vec![7; SHORT_RUN_SIZE]);
        let joined = [sample(b"one"), sample(b"two"), large].map(|r| r.bytes().to_vec()).concat();
        let mut rest = Bytes::from(joined);
        let frame = rest.as_ptr_range();
        let cut: Vec<_> = (0..3).map(|_| Record::split_from(&mut rest).unwrap()).collect();
        let mut short = cut[..2].to_vec();
        copy_short_runs(&mut short);
        assert_eq!(short, cut[..2]);
        assert!(short.iter().all(|record| !frame.contains(&record.bytes().as_ptr())));
        assert_eq!(slices_of(short.iter()).len(), 1, "the copies are neighbours again");
        let mut long = cut.clone();
        copy_short_runs(&mut long);
        assert!(long.iter().all(|record| frame.contains(&record.bytes().as_ptr())));
    }
}
