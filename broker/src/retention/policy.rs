//! Which segments may go. Pure: time, disk and log are arguments.
//!
//! | rule  | goes                                     | when                                                       |
//! |-------|------------------------------------------|------------------------------------------------------------|
//! | age   | what is older than `fileReservedTime`    | in the hours of `deleteWhen`, or above `diskMaxUsedSpaceRatio` |
//! | size  | the oldest, until the log has its size   | above `logRetentionBytesMax`                               |
//! | disk  | as many of the oldest as the disk lacks  | above `diskSpaceCleanForciblyRatio`                        |
//!
//! A segment is as old as its newest entry. The open segment never goes. Age and size stop before what is still needed
//! (delayed messages above all), disk does not.
// Source: RocketMQ 5.3 DefaultMessageStore$CleanCommitLogService; it deletes ten files at a time above the disk's mark, whatever
// is lacking, and has no rule of size.

use flotilla_core::Retention;

use crate::config::Watermarks;

/// Segments given up in one pass: unlinking files of a gigabyte takes its time, and the disk shows it late.
// Source: RocketMQ 5.3 MessageStoreConfig, deleteFileBatchMax.
pub(super) const SEGMENTS_PER_PASS: usize = 10;

const HOUR_MS: u64 = 3_600_000;

/// A retained segment; a list of them is oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    /// Position of its first record.
    pub(super) base: u64,
    /// Position behind its last record.
    pub(super) end: u64,
    pub(super) sealed: bool,
    /// Time of its newest entry, milliseconds since 1970.
    pub(super) last_time_ms: u64,
    /// Bytes of its file.
    pub(super) file_size: u64,
}

/// The file system that holds the data, in bytes; all zero when it can't be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk {
    pub used: u64,
    /// What a process like this one can still use.
    pub available: u64,
}

impl Disk {
    /// What `used` and `available` are parts of: blocks reserved for the system's own use don't count.
    // Source: RocketMQ 5.3 UtilAll#getDiskPartitionSpaceUsedPercent.
    fn whole(self) -> u64 {
        self.used.saturating_add(self.available)
    }

    /// Bytes in use beyond so many percent.
    pub fn beyond(self, percent: u8) -> u64 {
        let allowed = u128::from(self.whole()) * u128::from(percent) / 100;
        u128::from(self.used).saturating_sub(allowed) as u64
    }

    /// Use in percent, rounded down.
    pub fn used_percent(self) -> u8 {
        let whole = u128::from(self.whole()).max(1);
        (u128::from(self.used) * 100 / whole) as u8
    }
}

/// Why segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Age,
    Size,
    Disk,
}

impl Why {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
            Self::Disk => "disk",
        }
    }
}

/// Everything below `position` may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) position: u64,
    pub(super) why: Why,
}

/// What the rules are applied to.
#[derive(Debug, Clone)]
pub(super) struct State<'a> {
    pub(super) rules: &'a Retention,
    pub(super) watermarks: Watermarks,
    /// Segments above the group's minimum position.
    pub(super) segments: &'a [Age],
    /// Bytes of files below it, which go without another word.
    pub(super) going: u64,
    pub(super) now_ms: u64,
    pub(super) disk: Disk,
    /// Position of the first record that somebody still needs, whatever its age.
    pub(super) needed: Option<u64>,
    /// An administrator wants what is old enough to go now, whatever the hour.
    pub(super) asked: bool,
}

impl State<'_> {
    /// What may go now.
    pub(super) fn choose(&self) -> Option<Choice> {
        let aged = if self.is_time() { self.expired(self.reserved_ms()) } else { 0 };
        let oversized = self.oversized(self.rules.log_bytes_max);
        let forced = if self.rules.delete_forcibly { self.lacking() } else { 0 };
        let wished = self.spared(aged.max(oversized));
        let count = wished.max(forced).min(SEGMENTS_PER_PASS);
        let why = match count {
            0 => return None,
            _ if count > wished => Why::Disk,
            _ if count > aged => Why::Size,
            _ => Why::Age,
        };
        Some(Choice { position: self.segments[count - 1].end, why })
    }

    /// Position below which everything goes soon: within a tenth of the time or of the size, at the hour that comes next.
    pub(super) fn soon(&self) -> Option<u64> {
        let aged = self.expired(self.reserved_ms() - self.reserved_ms() / 10);
        let oversized = self.oversized(self.rules.log_bytes_max - self.rules.log_bytes_max / 10);
        let count = self.spared(aged.max(oversized));
        count.checked_sub(1).map(|last| self.segments[last].end)
    }

    fn reserved_ms(&self) -> u64 {
        u64::from(self.rules.reserved_hours) * HOUR_MS
    }

    fn is_time(&self) -> bool {
        let hour = (self.now_ms / HOUR_MS % 24) as u8;
        self.asked
            || self.rules.delete_when.contains(hour)
            || self.disk.beyond(self.rules.disk_used_percent_max) > 0
    }

    /// How many segments at the front are sealed and that old.
    fn expired(&self, age_ms: u64) -> usize {
        let expired = |age: &&Age| age.sealed && age.last_time_ms.saturating_add(age_ms) <= self.now_ms;
        self.segments.iter().take_while(expired).count()
    }

    /// How many have to go for the rest to have at most this size.
    fn oversized(&self, bytes_max: u64) -> usize {
        let end = self.segments.last().map_or(0, |last| last.end);
        let too_much = |age: &&Age| age.sealed && bytes_max > 0 && end - age.base > bytes_max;
        self.segments.iter().take_while(too_much).count()
    }

    /// How many make up for what the disk lacks, beside what is going already.
    fn lacking(&self) -> usize {
        let mut lacking = self.disk.beyond(self.watermarks.clean_forcibly).saturating_sub(self.going);
        let mut count = 0;
        for age in self.segments.iter().take_while(|age| age.sealed) {
            if lacking == 0 {
                break;
            }
            lacking = lacking.saturating_sub(age.file_size);
            count += 1;
        }
        count
    }

    /// The same, but none that holds what is still needed.
    fn spared(&self, count: usize) -> usize {
        let needed = self.needed.unwrap_or(u64::MAX);
        self.segments[..count].iter().take_while(|age| age.end <= needed).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flotilla_core::Hours;

    use super::*;

    /// Day 1000 of the epoch, 04:30.
    const AT_FOUR: u64 = 1_000 * 24 * HOUR_MS + 4 * HOUR_MS + HOUR_MS / 2;
    const AT_SIX: u64 = AT_FOUR + 2 * HOUR_MS;
    const DAYS: u64 = 24;

    fn disk(used: u64) -> Disk {
        Disk { used, available: 10_000 - used }
    }

    /// Segments of 1000 bytes whose newest entries were so many hours old at 04:30; the last one is open.
    fn segments(hours_old: &[u64]) -> Vec<Age> {
        let age = |(number, hours): (u64, &u64)| Age {
            base: number * 1_000,
            end: (number + 1) * 1_000,
            sealed: number + 1 < hours_old.len() as u64,
            last_time_ms: AT_FOUR - hours * HOUR_MS,
            file_size: 1_000,
        };
        (0..).zip(hours_old).map(age).collect()
    }

    struct Case {
        rules: Retention,
        segments: Vec<Age>,
        going: u64,
        now_ms: u64,
        disk: Disk,
        needed: Option<u64>,
        asked: bool,
    }

    impl Case {
        fn new(hours_old: &[u64]) -> Self {
            let rules = Retention { delete_when: Hours::of([4]), ..Retention::default() };
            let segments = segments(hours_old);
            Self { rules, segments, going: 0, now_ms: AT_FOUR, disk: disk(1_000), needed: None, asked: false }
        }

        fn at(self, now_ms: u64) -> Self {
            Self { now_ms, ..self }
        }

        fn asked(self) -> Self {
            Self { asked: true, ..self }
        }

        fn with_disk(self, used: u64) -> Self {
            Self { disk: disk(used), ..self }
        }

        fn with_size(mut self, log_bytes_max: u64) -> Self {
            self.rules.log_bytes_max = log_bytes_max;
            self
        }

        fn state(&self) -> State<'_> {
            State {
                rules: &self.rules,
                watermarks: Watermarks { clean_forcibly: 85, full: 90 },
                segments: &self.segments,
                going: self.going,
                now_ms: self.now_ms,
                disk: self.disk,
                needed: self.needed,
                asked: self.asked,
            }
        }

        fn choice(&self) -> Option<(u64, Why)> {
            self.state().choose().map(|choice| (choice.position, choice.why))
        }
    }

    #[test]
    fn expired_segments_go_at_the_hour_from_the_oldest_on() {
        assert_eq!(Case::new(&[100, 72, 71, 0]).choice(), Some((2_000, Why::Age)));
        assert_eq!(Case::new(&[100, 72, 71, 0]).at(AT_SIX).choice(), None, "not its hour");
        let asked = Case::new(&[100, 69, 0]).at(AT_SIX).asked();
        assert_eq!(
            asked.choice(),
            Some((1_000, Why::Age)),
            "an administrator makes it the hour, not the age"
        );
        assert_eq!(Case::new(&[10, 100, 0]).choice(), None, "none of the middle");
    }

    #[test]
    fn a_fuller_disk_makes_every_hour_the_hour_but_nothing_older() {
        assert_eq!(Case::new(&[100, 69, 0]).at(AT_SIX).with_disk(7_501).choice(), Some((1_000, Why::Age)));
        assert_eq!(Case::new(&[60, 50, 0]).at(AT_SIX).with_disk(7_501).choice(), None);
        let unknown = Case { disk: Disk::default(), ..Case::new(&[100, 0]).at(AT_SIX) };
        assert_eq!(unknown.choice(), None, "a disk that can't be asked is not full");
    }

    #[test]
    fn a_nearly_full_disk_takes_what_it_lacks_at_any_age_and_no_more() {
        let young = Case::new(&[3, 2, 1, 0]);
        assert_eq!(young.with_disk(8_500).choice(), None);
        assert_eq!(Case::new(&[3, 2, 1, 0]).with_disk(8_501).choice(), Some((1_000, Why::Disk)));
        assert_eq!(Case::new(&[3, 2, 1, 0]).with_disk(9_700).choice(), Some((2_000, Why::Disk)));
        assert_eq!(Case::new(&[3, 2, 1, 0]).with_disk(10_000).choice(), Some((2_000, Why::Disk)));
        let going = Case { going: 1_000, ..Case::new(&[3, 2, 1, 0]).with_disk(9_700) };
        assert_eq!(going.choice(), Some((1_000, Why::Disk)), "what goes already counts");
        let mut forbidden = Case::new(&[3, 2, 1, 0]).with_disk(9_900);
        forbidden.rules.delete_forcibly = false;
        assert_eq!(forbidden.choice(), None);
    }

    #[test]
    fn a_log_over_its_size_gives_up_the_oldest_at_any_hour_and_age() {
        let case = |size| Case::new(&[3, 2, 1, 0]).at(AT_SIX).with_size(size).choice();
        assert_eq!(case(4_000), None);
        assert_eq!(case(3_999), Some((1_000, Why::Size)));
        assert_eq!(case(1_000), Some((3_000, Why::Size)));
        assert_eq!(case(1), Some((3_000, Why::Size)), "the open segment stays");
        assert_eq!(case(0), None, "no limit");
    }

    #[test]
    fn the_open_segment_stays_however_old_it_is() {
        assert_eq!(Case::new(&[500]).with_disk(9_900).with_size(1).choice(), None);
        assert_eq!(Case::new(&[]).choice(), None);
    }

    #[test]
    fn what_is_needed_stays_unless_the_disk_forces() {
        let needed = |position, case: Case| Case { needed: Some(position), ..case }.choice();
        assert_eq!(needed(1_999, Case::new(&[100, 99, 98, 0])), Some((1_000, Why::Age)));
        assert_eq!(needed(2_000, Case::new(&[100, 99, 98, 0])), Some((2_000, Why::Age)));
        assert_eq!(needed(500, Case::new(&[100, 99, 98, 0])), None);
        assert_eq!(needed(500, Case::new(&[3, 2, 1, 0]).with_size(1_000)), None);
        assert_eq!(needed(500, Case::new(&[3, 2, 1, 0]).with_disk(9_700)), Some((2_000, Why::Disk)));
    }

    #[test]
    fn one_pass_takes_ten_segments_at_most() {
        let old = vec![30 * DAYS; 25];
        assert_eq!(Case::new(&old).choice(), Some((10_000, Why::Age)));
    }

    #[test]
    fn soon_is_a_tenth_before() {
        // 72 hours and their tenth: 64.8.
        assert_eq!(Case::new(&[66, 65, 64, 0]).at(AT_FOUR).state().soon(), Some(2_000));
        assert_eq!(Case::new(&[64, 0]).state().soon(), None);
        assert_eq!(Case::new(&[3, 2, 1, 0]).with_size(4_200).state().soon(), Some(1_000));
        assert_eq!(Case::new(&[3, 2, 1, 0]).with_size(4_600).state().soon(), None);
    }

    #[test]
    fn use_of_a_disk_is_rounded_down_and_leaves_the_systems_part_out() {
        assert_eq!(Disk { used: 899, available: 101 }.used_percent(), 89);
        assert_eq!(Disk { used: 899, available: 101 }.beyond(89), 9);
        assert_eq!((Disk::default().used_percent(), Disk::default().beyond(0)), (0, 0));
    }
}
