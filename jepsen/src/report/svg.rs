//! What all drawings share: the axis of time, bands of faults, paths.

use std::fmt::Write;

use crate::checker::Outage;

use super::html::{escaped, millis, seconds};

/// Measures of all drawings, in the units of their view boxes.
pub(super) const WIDTH: f64 = 1200.0;
pub(super) const LEFT: f64 = 110.0;
const RIGHT: f64 = 1190.0;

/// Where times of the history lie. All drawings of a page share one, so that they can be read one above the other.
#[derive(Clone, Copy)]
pub(super) struct TimeAxis {
    /// End of the history in nanoseconds, not 0.
    pub end: u64,
}

impl TimeAxis {
    pub(super) fn x(&self, nanos: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (nanos.min(self.end) as f64 / self.end as f64)
    }

    /// Grid lines from `top` to `bottom` with the seconds below.
    pub(super) fn draw(&self, svg: &mut String, top: f64, bottom: f64) {
        let step = round_step(self.end as f64 / 1e9 / 10.0);
        let mut at = 0.0;
        while at * 1e9 <= self.end as f64 {
            let x = self.x((at * 1e9) as u64);
            let _ = write!(svg, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}"/>"#);
            let _ = write!(
                svg,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{} s</text>"#,
                bottom + 14.0,
                short(at)
            );
            at += step;
        }
    }

    /// A band for each fault, from its beginning to its healing.
    pub(super) fn draw_faults(&self, svg: &mut String, outages: &[Outage], top: f64, bottom: f64) {
        for outage in outages {
            let (from, to) = (self.x(outage.began), self.x(outage.healed.unwrap_or(self.end)));
            let (width, height) = ((to - from).max(1.5), bottom - top);
            let _ = write!(
                svg,
                r#"<rect class="band" x="{from:.1}" y="{top}" width="{width:.1}" height="{height}"><title>{}</title></rect>"#,
                escaped(&fault_text(outage))
            );
        }
    }
}

/// All about a fault in one line.
pub(super) fn fault_text(outage: &Outage) -> String {
    let mut text = format!("{} #{} at {}", outage.kind, outage.number, seconds(outage.began));
    if let Some(healed) = outage.healed {
        let _ = write!(text, ", healed at {}", seconds(healed));
    }
    if let Some(lasted) = outage.outage_ms {
        let _ = write!(text, ", outage {}", millis(lasted));
    }
    if !outage.detail.is_empty() {
        let _ = write!(text, " ({})", outage.detail);
    }
    text
}

/// Begins a drawing that is as wide as its place.
pub(super) fn begin(height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escaped(label))
}

/// A step that a reader can count in (1, 2 or 5 times a power of ten), at least as long as asked for.
pub(super) fn round_step(at_least: f64) -> f64 {
    if !at_least.is_finite() || at_least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= at_least)
        .unwrap_or(10.0 * power)
}

/// A number without needless digits.
pub(super) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{}M", (n / 1e5).round() / 10.0),
        n if n >= 1e4 => format!("{}k", (n / 1e2).round() / 10.0),
        n => format!("{}", (n * 1000.0).round() / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_long_enough() {
        for (asked, given) in
            [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (7.0, 10.0), (36.0, 50.0), (0.0, 1.0)]
        {
            assert!((round_step(asked) - given).abs() < 1e-9, "{asked}: {}", round_step(asked));
        }
    }

    #[test]
    fn times_past_the_end_stay_inside() {
        let axis = TimeAxis { end: 1_000 };
        assert_eq!(axis.x(0), LEFT);
        assert_eq!(axis.x(u64::MAX), axis.x(1_000));
    }
}
