//! Sizes of bodies: one size, or a distribution.
//!
//! | text                    | meaning                                             |
//! |-------------------------|-----------------------------------------------------|
//! | `1024`                  | always 1024 bytes                                   |
//! | `uniform:100-2000`      | each size from 100 to 2000 bytes equally often      |
//! | `choice:100@90,4096@10` | 100 bytes with weight 90, 4096 bytes with weight 10 |

use std::fmt;
use std::str::FromStr;

use super::body::HEADER_SIZE;

/// Largest body, in bytes: above what any broker takes by default (4 MiB).
pub const SIZE_MAX: usize = 64 * 1024 * 1024;

/// Which sizes bodies have, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Always the same.
    Fixed(usize),
    /// Each size of the range, ends included, equally often.
    Uniform(usize, usize),
    /// Sizes with their weights.
    Choice(Vec<(usize, u32)>),
}

impl Sizes {
    /// A size, by a random number.
    pub fn pick(&self, random: u64) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Uniform(least, greatest) => least + (random % (greatest - least + 1) as u64) as usize,
            Sizes::Choice(choices) => {
                let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let mut at = random % total;
                for (size, weight) in choices {
                    match at.checked_sub(u64::from(*weight)) {
                        Some(rest) => at = rest,
                        None => return *size,
                    }
                }
                unreachable!("the number is below the sum of the weights")
            }
        }
    }

    /// The largest size.
    pub fn largest(&self) -> usize {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Uniform(_, greatest) => *greatest,
            Sizes::Choice(choices) => choices.iter().map(|(size, _)| *size).max().unwrap_or(0),
        }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(range) = text.strip_prefix("uniform:") {
            let (least, greatest) = range.split_once('-').ok_or("expected uniform:LEAST-GREATEST")?;
            let (least, greatest) = (size(least)?, size(greatest)?);
            if least > greatest {
                return Err(format!("{least} is more than {greatest}"));
            }
            return Ok(Sizes::Uniform(least, greatest));
        }
        if let Some(list) = text.strip_prefix("choice:") {
            let choice = |part: &str| {
                let (bytes, weight) = part.split_once('@').ok_or("expected choice:SIZE@WEIGHT,...")?;
                let weight = weight.trim().parse().ok().filter(|weight| *weight > 0);
                Ok((size(bytes)?, weight.ok_or(format!("weight of {part}: expected 1 or more"))?))
            };
            return list.split(',').map(choice).collect::<Result<_, String>>().map(Sizes::Choice);
        }
        size(text).map(Sizes::Fixed)
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size: usize = text.trim().parse().map_err(|_| format!("{text}: expected a number of bytes"))?;
    if !(HEADER_SIZE..=SIZE_MAX).contains(&size) {
        return Err(format!("{size} bytes: expected {HEADER_SIZE} (the header of the load) to {SIZE_MAX}"));
    }
    Ok(size)
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(f, "{size}"),
            Sizes::Uniform(least, greatest) => write!(f, "uniform:{least}-{greatest}"),
            Sizes::Choice(choices) => {
                let parts: Vec<String> =
                    choices.iter().map(|(size, weight)| format!("{size}@{weight}")).collect();
                write!(f, "choice:{}", parts.join(","))
            }
        }
    }
}

/// Random numbers for sizes; the same seed gives the same load.
/// Source: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_mistakes_are_refused() {
        for text in ["1024", "uniform:100-2000", "choice:100@90,4096@10"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        let wrong = ["", "x", "1", "uniform:100", "uniform:200-100", "choice:", "choice:100", "choice:100@0"];
        for text in wrong {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_come_as_often_as_they_weigh() {
        let mut random = Random::new(7);
        let choice: Sizes = "choice:100@90,4096@10".parse().unwrap();
        let large = (0..10_000).filter(|_| choice.pick(random.number()) == 4096).count();
        assert!((800..1200).contains(&large), "{large}");
        let uniform: Sizes = "uniform:100-102".parse().unwrap();
        let mut counts = [0; 3];
        for _ in 0..3_000 {
            counts[uniform.pick(random.number()) - 100] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
