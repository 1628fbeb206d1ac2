//! Throughput and latency over time.

use std::fmt::Write;

use crate::checker::{Outage, counts_as_attempt};
use crate::history::{History, Kind};

use super::operations::{latency_ms, quantile};
use super::svg::{LEFT, TimeAxis, WIDTH, begin, round_step, short};

/// Bars over the whole time. More would be thinner than a screen shows.
const BINS: usize = 240;

const TOP: f64 = 10.0;
const BOTTOM: f64 = 190.0;
const HEIGHT: f64 = 212.0;

/// What ended within a stretch of time.
#[derive(Clone, Default)]
struct Bin {
    done: u64,
    failed: u64,
    unknown: u64,
    latencies_ms: Vec<f64>,
}

/// What the clients tried, by time: sends, or all that is acknowledged in a history without sends.
pub(super) struct Series {
    bins: Vec<Bin>,
    bin_nanos: u64,
    axis: TimeAxis,
}

impl Series {
    pub(super) fn of(history: &History, axis: TimeAxis) -> Self {
        let bin_nanos = axis.end / BINS as u64 + 1;
        let mut bins = vec![Bin::default(); BINS];
        let counts = counts_as_attempt(history);
        for call in history.calls().filter(|call| counts(&call.begin.act)) {
            let Some(end) = call.end else { continue };
            let bin = &mut bins[(end.time / bin_nanos) as usize];
            match end.kind {
                Kind::Ok => bin.done += 1,
                Kind::Fail => bin.failed += 1,
                Kind::Info | Kind::Invoke => bin.unknown += 1,
            }
            bin.latencies_ms.extend(latency_ms(&call));
        }
        bins.iter_mut().for_each(|bin| bin.latencies_ms.sort_unstable_by(f64::total_cmp));
        Series { bins, bin_nanos, axis }
    }

    /// Left and right edge of a bar.
    fn edges(&self, place: usize) -> (f64, f64) {
        let at = |place: usize| self.axis.x(place as u64 * self.bin_nanos);
        (at(place), at(place + 1))
    }

    /// Bars of what was done, failed and is not known, by second.
    pub(super) fn throughput(&self, outages: &[Outage]) -> String {
        let per_second = 1e9 / self.bin_nanos as f64;
        let highest = self.bins.iter().map(|bin| bin.done + bin.failed + bin.unknown).max().unwrap_or(0);
        let step = round_step((highest as f64 * per_second / 4.0).max(1.0));
        let top_value = (highest as f64 * per_second / step).ceil().max(1.0) * step;
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top_value;
        let mut svg = begin(HEIGHT, "Throughput over time");
        self.axis.draw_faults(&mut svg, outages, TOP, BOTTOM);
        self.axis.draw(&mut svg, TOP, BOTTOM);
        let mut value = 0.0;
        while value <= top_value {
            draw_level(&mut svg, y(value), &format!("{}/s", short(value)));
            value += step;
        }
        let mut paths = [("done", String::new()), ("unknown", String::new()), ("failed", String::new())];
        for (place, bin) in self.bins.iter().enumerate() {
            let (left, right) = self.edges(place);
            let mut from = 0.0;
            for ((_, path), count) in paths.iter_mut().zip([bin.done, bin.unknown, bin.failed]) {
                let to = from + count as f64 * per_second;
                if count > 0 {
                    let _ = write!(
                        path,
                        "M{left:.1} {:.1}H{right:.1}V{:.1}H{left:.1}Z",
                        y(from),
                        y(to).min(y(from) - 1.0)
                    );
                }
                from = to;
            }
        }
        for (class, path) in paths {
            let _ = write!(svg, r#"<path class="{class}" d="{path}"/>"#);
        }
        svg + "</svg>"
    }

    /// Median, 99th percentile and worst of what was done, on a logarithmic scale.
    pub(super) fn latency(&self, outages: &[Outage]) -> String {
        let worst = self.bins.iter().flat_map(|bin| bin.latencies_ms.last()).copied().fold(1.0, f64::max);
        let least = self.bins.iter().flat_map(|bin| bin.latencies_ms.first()).copied().fold(worst, f64::min);
        let (low, high) = (least.max(0.001).log10().floor(), worst.log10().ceil().max(0.0));
        let high = if high <= low { low + 1.0 } else { high };
        let y = |ms: f64| {
            BOTTOM - (BOTTOM - TOP) * ((ms.max(0.001).log10() - low) / (high - low)).clamp(0.0, 1.0)
        };
        let mut svg = begin(HEIGHT, "Latency over time");
        self.axis.draw_faults(&mut svg, outages, TOP, BOTTOM);
        self.axis.draw(&mut svg, TOP, BOTTOM);
        let mut power = low;
        while power <= high {
            draw_level(&mut svg, y(10f64.powf(power)), &format!("{} ms", short(10f64.powf(power))));
            power += 1.0;
        }
        for (class, part) in [("worst", 1.0), ("p99", 0.99), ("median", 0.5)] {
            let path = self.line(part, &y);
            let _ = write!(svg, r#"<path class="line {class}" d="{path}"/>"#);
        }
        svg + "</svg>"
    }

    /// A line through the bars that have something, broken where one has nothing.
    fn line(&self, part: f64, y: &impl Fn(f64) -> f64) -> String {
        let mut path = String::new();
        let mut pen = 'M';
        for (place, bin) in self.bins.iter().enumerate() {
            if bin.latencies_ms.is_empty() {
                pen = 'M';
                continue;
            }
            let (left, right) = self.edges(place);
            let at = y(quantile(&bin.latencies_ms, part));
            let _ = write!(path, "{pen}{left:.1} {at:.1}H{right:.1}");
            pen = 'L';
        }
        path
    }
}

fn draw_level(svg: &mut String, y: f64, label: &str) {
    let right = WIDTH - 10.0;
    let _ = write!(svg, r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
    let _ = write!(
        svg,
        r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
        LEFT - 6.0,
        y + 4.0
    );
}
