//! Goal: no decoder panics, whatever the bytes, and what it accepts comes back after encoding.
//!
//! Method: the fuzzers' entries run on every seed of `fuzz/corpus/` and on mutations of it. The mutations follow from the
//! seed's name and a number, so that a failure, which prints both, can be repeated; `FUZZ_ROUNDS` runs more of them.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use flotilla_remoting::fuzzing::{TARGETS, Target};

/// Mutations of each seed. The entry for bodies reads each as some fifty types.
fn rounds(target: &str) -> u64 {
    let asked = std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(if target == "bodies" { 40 } else { 300 })
}

fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"))
}

/// Names and bytes of the seeds, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no seeds for {target}: {error}"))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// Small generator of numbers (xorshift), good enough to spread mutations.
struct Numbers(u64);

impl Numbers {
    fn of(name: &str, round: u64) -> Numbers {
        let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        });
        Numbers((hash ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

const BYTES: [u8; 16] = *b"\0\x01\x02\x7F\x80\xFF\"\\{}[],: u";
const WORDS: [i32; 6] = [0, 1, -1, i32::MAX, i32::MIN, 0x1000];

/// One to four changes of the bytes.
fn mutate(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len());
        let end = at + numbers.below(data.len() - at + 1);
        match numbers.below(9) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..end)),
            2 => {
                let copy = data[at..end].to_vec();
                data.splice(at..at, copy);
            }
            3 => data.insert(at, BYTES[numbers.below(BYTES.len())]),
            4 => {
                let from = numbers.below(other.len());
                data.splice(at..end, other[from..].iter().copied());
            }
            5 if data.len() >= at + 4 => {
                data[at..at + 4].copy_from_slice(&WORDS[numbers.below(WORDS.len())].to_be_bytes());
            }
            6 | 7 if at < data.len() => data[at] = BYTES[numbers.below(BYTES.len())],
            _ if at < data.len() => data[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
    data
}

/// Runs an entry; a panic names what it was run on.
fn run((name, entry): &Target, seed: &str, round: u64, data: &[u8]) {
    if std::panic::catch_unwind(|| entry(data)).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("entry {name} panicked on seed {seed}, round {round}: {hex}");
    }
}

fn run_all(target: &Target) {
    let seeds = seeds(target.0);
    assert!(!seeds.is_empty(), "no seeds for {}", target.0);
    for (index, (name, seed)) in seeds.iter().enumerate() {
        run(target, name, 0, seed);
        for round in 1..=rounds(target.0) {
            let mut numbers = Numbers::of(name, round);
            let other = &seeds[(index + numbers.below(seeds.len())) % seeds.len()].1;
            run(target, name, round, &mutate(seed, other, &mut numbers));
        }
    }
}

#[test]
fn entries_and_corpus_folders_belong_together() {
    let mut folders: Vec<String> = std::fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut names: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(folders, names);
    let manifest = std::fs::read_to_string(corpus().join("../Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name} has no fuzzer");
    }
}

#[test]
fn frames_never_panic() {
    TARGETS.iter().filter(|(name, _)| matches!(*name, "frame" | "stream" | "headers")).for_each(run_all);
}

#[test]
fn bodies_never_panic() {
    TARGETS
        .iter()
        .filter(|(name, _)| matches!(*name, "bodies" | "registration" | "topic_line"))
        .for_each(run_all);
}

#[test]
fn messages_and_texts_never_panic() {
    TARGETS.iter().filter(|(name, _)| matches!(*name, "message" | "batch" | "texts")).for_each(run_all);
}
