//! The room that a log has for certain: the rest of its last segment, and the spare segments behind it (LOG-RULES 11).
//!
//! An append that needs a segment which can't be allocated ends the replica, so whatever is taken on must fit into what has been
//! allocated already, together with all that is under way. What the disk would still give is not counted: something else may
//! take it first. Leader and follower ask here: what a leader has taken on, a follower with as much room takes too.

/// Whether the log has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Go on.
    Ready,
    /// There is no spare segment and the last one is nearly full: propose nothing more but what makes room.
    NoSpare,
}

/// Room at one moment. Sizes are bytes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRoom {
    /// There is a last segment.
    pub(super) open: bool,
    /// What it still takes.
    pub(super) rest: u64,
    /// Segments allocated ahead.
    pub(super) spares: usize,
    /// What a whole segment takes.
    pub(super) segment: u64,
    /// Below so much in the last segment a missing spare counts as a full disk.
    pub(super) reserve: u64,
    /// Kept for what the group appends by itself in elections, so that a leader of a full log still leads.
    pub(super) kept: u64,
    /// The disk has refused a segment and given none since.
    pub(super) refused: bool,
}

/// Bytes that a follower is about to append in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of its records.
    pub bytes: u64,
    /// Its first record begins a segment. No other one does.
    pub starts_segment: bool,
    /// All of it is what a group appends by itself in elections.
    pub from_election: bool,
}

impl LogRoom {
    /// Whether there is room for the usual work.
    pub fn space(&self) -> Space {
        if self.rest >= self.reserve || self.spares > 0 { Space::Ready } else { Space::NoSpare }
    }

    /// True when a leader may take on a proposal: `under_way` bytes of proposals, its own among them, end in segments that are
    /// there, and leave something for what makes room again. A record that is nearly as large as a segment may leave nothing as
    /// long as the disk gives segments.
    pub fn takes(&self, bytes: u64, under_way: u64) -> bool {
        let left = 2 * self.kept;
        let large = bytes == under_way && self.spares > 0 && !self.refused;
        self.fits(under_way, left) || large && bytes <= self.segment
    }

    /// As [`LogRoom::takes`], for what makes room: it may take what that leaves.
    pub fn takes_into_reserve(&self, under_way: u64) -> bool {
        self.fits(under_way, self.kept)
    }

    /// In the last segment, or, however much of it that leaves unused, in a spare.
    fn fits(&self, bytes: u64, left: u64) -> bool {
        let needed = bytes.saturating_add(left);
        needed <= self.rest || self.spares > 0 && needed <= self.segment
    }

    /// True when a follower may append a piece behind those that are under way. Its segments begin where the leader's do.
    ///
    /// It takes whatever a leader with as much room has taken: the entry that makes room again stands behind all that was
    /// proposed before it, and can't be committed unless a majority takes all of that. So what a leader keeps back for such
    /// entries a follower does not.
    ///
    /// LIMIT: when a majority has less room than the leader and all of it is used up, nothing makes room by itself: what the
    /// leader took too much stands in front of what would make some. An operator has to make room on one of their disks.
    pub fn takes_piece(&self, under_way: impl IntoIterator<Item = Piece>, piece: Piece) -> bool {
        if piece.bytes == 0 {
            return true;
        }
        let (mut open, mut rest, mut spares) = (self.open, self.rest, self.spares);
        let mut alone = true;
        // Gives the piece its segment; false when there is none.
        let mut begin = |piece: Piece, rest: &mut u64, spares: &mut usize| {
            if open && !piece.starts_segment {
                return true;
            }
            open = true;
            *rest = self.segment;
            let there = *spares > 0;
            *spares = spares.saturating_sub(1);
            there
        };
        for before in under_way.into_iter().filter(|before| before.bytes > 0) {
            alone = false;
            if !begin(before, &mut rest, &mut spares) {
                return false;
            }
            rest = rest.saturating_sub(before.bytes);
        }
        if !begin(piece, &mut rest, &mut spares) {
            return false;
        }
        let left = if piece.from_election { self.kept / 8 } else { self.kept };
        let needed = piece.bytes.saturating_add(left);
        // Only what leaves nothing in any segment may count on another one that the disk has not given yet: when it does not, and
        // this node is elected, its first entry finds no place.
        let large = needed > self.segment && alone && !self.refused;
        needed <= rest || piece.bytes <= rest && (spares > 0 || large)
    }

    /// Bytes by which a piece that goes on in the last segment would be longer than it; `None` when it would not.
    pub fn beyond(&self, piece: Piece) -> Option<u64> {
        let goes_on = self.open && !piece.starts_segment;
        piece.bytes.checked_sub(self.rest).filter(|more| goes_on && *more > 0)
    }

    /// Bytes that a piece should not exceed, so that another spare can be made while it is on its way.
    pub fn piece_max(&self) -> u64 {
        self.segment / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: LogRoom =
        LogRoom { open: true, rest: 400, spares: 0, segment: 1000, reserve: 250, kept: 50, refused: true };

    fn piece(bytes: u64) -> Piece {
        Piece { bytes, starts_segment: false, from_election: false }
    }

    fn starting(bytes: u64) -> Piece {
        Piece { bytes, starts_segment: true, from_election: false }
    }

    #[test]
    fn rule_11_what_is_under_way_must_fit_into_segments_that_are_there() {
        assert!(ROOM.takes(300, 300) && !ROOM.takes(301, 301) && !ROOM.takes(1, 301));
        assert!(ROOM.takes_into_reserve(350) && !ROOM.takes_into_reserve(351));
        let spare = LogRoom { spares: 1, ..ROOM };
        assert!(spare.takes(300, 900), "all of it fits into the spare, wherever the last segment ends");
        assert!(!spare.takes(1, 901));
    }

    #[test]
    fn a_record_of_a_segments_size_is_taken_while_the_disk_gives_segments() {
        let spare = LogRoom { spares: 1, refused: false, ..ROOM };
        assert!(spare.takes(1000, 1000));
        assert!(!spare.takes(1000, 1001), "something else is under way");
        assert!(!LogRoom { refused: true, ..spare }.takes(1000, 1000));
    }

    /// Else what makes room would never be committed where all disks are full.
    #[test]
    fn a_follower_takes_what_a_leader_with_its_room_has_taken() {
        for rest in 0..500 {
            let room = LogRoom { rest, ..ROOM };
            for bytes in 1..500 {
                let taken = room.takes(bytes, bytes) || room.takes_into_reserve(bytes);
                assert!(!taken || room.takes_piece([], piece(bytes)), "{bytes} of {rest}");
            }
        }
        let elected = Piece { from_election: true, ..piece(40) };
        let room = LogRoom { rest: 50, ..ROOM };
        assert!(room.takes_piece([], elected) && !room.takes_piece([], piece(40)));
    }

    #[test]
    fn rule_11_a_follower_takes_what_its_segments_hold() {
        assert!(ROOM.takes_piece([], piece(350)) && !ROOM.takes_piece([], piece(351)));
        assert!(ROOM.takes_piece([piece(200)], piece(150)) && !ROOM.takes_piece([piece(200)], piece(151)));
        assert!(!ROOM.takes_piece([], starting(10)), "there is no segment for it");
        let spare = LogRoom { spares: 1, ..ROOM };
        assert!(spare.takes_piece([], piece(400)), "another segment follows");
        assert!(spare.takes_piece([piece(400)], starting(950)) && !spare.takes_piece([], starting(951)));
        assert!(!spare.takes_piece([starting(10)], starting(10)));
        assert!(
            spare.takes_piece([starting(700)], piece(250)) && !spare.takes_piece([starting(700)], piece(251))
        );
        let hoping = LogRoom { refused: false, ..ROOM };
        assert!(
            hoping.takes_piece([], piece(350)) && !hoping.takes_piece([], piece(351)),
            "what an election needs stays while no other segment is there"
        );
        let giving = LogRoom { refused: false, ..spare };
        assert!(giving.takes_piece([], starting(1000)) && !giving.takes_piece([piece(1)], starting(1000)));
        assert!(ROOM.takes_piece([piece(1 << 40)], piece(0)), "no record, no room");
        assert_eq!(
            [piece(401), piece(400), starting(401)].map(|piece| ROOM.beyond(piece)),
            [Some(1), None, None]
        );
        let emptied = LogRoom { open: false, rest: 0, ..spare };
        assert!(emptied.takes_piece([], piece(900)), "it opens the spare");
        assert!(!emptied.takes_piece([piece(10)], starting(10)));
    }
}
