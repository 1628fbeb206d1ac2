//! Rule 25, the log's part: what was purged is known apart from the segments.

use crate::log::WriterMode;
use crate::log::testing::{Bench, app};
use crate::types::LogId;
use crate::vfs::Loss;

/// Rule 25: files go a whole segment at a time, so the header of the first one that stays does not tell what was purged. The
/// boundary has a file of its own and survives a power cut.
#[test]
fn rule_25_a_purged_log_id_is_kept_apart_from_segment_headers() {
    let mut bench = Bench::new(WriterMode::Inline);
    let records = bench.append((0..100).map(|n| app(1, n, 400)));
    bench.commit(99);
    let segments = bench.log().reader().segments();
    let inside = LogId::new(1, segments[2].first_index + 3);
    let early = bench.log_mut().purge(inside, Box::new(|_| panic!("not taken, not called back")));
    assert!(early.unwrap_err().to_string().contains("no checkpoint"), "the next start would have none");
    bench.checkpoint(segments[1].last);
    bench.log_mut().purge(inside, Box::new(|purged| purged.unwrap())).unwrap();
    for loss in [Loss::Nothing, Loss::Everything] {
        bench.crash(loss).unwrap();
        assert_eq!(bench.recovered.purged, Some(inside), "{loss:?}");
        assert_eq!(bench.log().reader().segments()[0].first_index, segments[2].first_index);
        assert_eq!(bench.read_all(), records[inside.index as usize + 1..]);
        let gone = bench.log().reader().entries(inside.index, inside.index + 1, 0);
        assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::NotFound, "its file is there, it is not");
        assert_eq!(bench.log().reader().log_id(inside.index), Some(inside), "its id is known all the same");
    }
}

/// Rule 25: also when nothing is left behind it: the log goes on where it stood, in term and index.
#[test]
fn rule_25_a_log_that_was_purged_to_its_end_goes_on_behind_it() {
    let mut bench = Bench::new(WriterMode::Inline);
    bench.append((0..50).map(|n| app(3, n, 400)));
    bench.commit(49);
    let last = bench.log().last_point().unwrap();
    let segments = bench.log().reader().segments();
    bench.checkpoint(segments[segments.len() - 2].last);
    bench.log_mut().purge(LogId::new(3, 49), Box::new(|purged| purged.unwrap())).unwrap();
    bench.crash(Loss::Everything).unwrap();
    assert_eq!((bench.recovered.purged, bench.recovered.last), (Some(last.id), Some(last.id)));
    assert_eq!(bench.read_all(), []);
    let next = bench.append([app(4, 50, 400)]);
    assert_eq!((next[0].prev_term(), next[0].position(), next[0].prev_crc()), (3, last.end, last.crc));
    bench.crash(Loss::Everything).unwrap();
    assert_eq!(bench.read_all(), next);
}
