//! Results as SVG charts: bars by row and server. Only rectangles, lines and text: no fonts are read.

use anyhow::anyhow;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::results::{Run, distinct, median_of, of};

/// A chart: name of its file, title, and text of the SVG.
pub struct Chart {
    pub file: &'static str,
    pub title: &'static str,
    pub svg: String,
}

const WIDTH: u32 = 960;
const HEIGHT: u32 = 420;
const LEFT: i32 = 64;
const RIGHT: i32 = 16;
/// Below title and legend.
const TOP: i32 = 78;
/// Above the names of the rows.
const BOTTOM: i32 = 36;

/// Height of a label on a bar.
const LABEL: i32 = 16;

const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// Told apart by those who see fewer colours too. Source: Okabe and Ito, Color Universal Design, 2008.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0xCC, 0x79, 0xA7),
];

/// What is drawn: title, and one or two figures of a bar. Of two the second is the whole bar, drawn paler behind the first.
struct Figure {
    file: &'static str,
    title: &'static str,
    low: fn(&Run) -> Option<f64>,
    high: Option<fn(&Run) -> Option<f64>>,
    logarithmic: bool,
}

const FIGURES: [Figure; 4] = [
    Figure {
        file: "throughput.svg",
        title: "Messages per second (logarithmic)",
        low: |run| Some(run.messages_per_second),
        high: None,
        logarithmic: true,
    },
    Figure {
        file: "latency.svg",
        title: "Latency in ms: median, and paler the 99th percentile (logarithmic)",
        low: |run| run.latency(|summary| summary.p50).map(|us| us / 1e3),
        high: Some(|run| run.latency(|summary| summary.p99).map(|us| us / 1e3)),
        logarithmic: true,
    },
    Figure {
        file: "cpu.svg",
        title: "CPU time per message in µs: all brokers, and paler the client on top (logarithmic)",
        low: Run::server_cpu_us,
        high: Some(|run| Some(run.server_cpu_us()? + run.client_cpu_us()?)),
        logarithmic: true,
    },
    Figure {
        file: "disk.svg",
        title: "Bytes on disk per message, all replicas",
        low: Run::disk_bytes_per_message,
        high: None,
        logarithmic: false,
    },
];

/// One bar.
struct Bar {
    row: usize,
    server: usize,
    low: f64,
    high: Option<f64>,
}

/// All charts that there are figures for.
///
/// # Errors
/// Drawing failed; memory is all it needs.
pub fn all(runs: &[Run]) -> anyhow::Result<Vec<Chart>> {
    let mut charts = Vec::new();
    for figure in &FIGURES {
        if let Some(svg) = draw(runs, figure)? {
            charts.push(Chart { file: figure.file, title: figure.title, svg });
        }
    }
    Ok(charts)
}

fn draw(runs: &[Run], figure: &Figure) -> anyhow::Result<Option<String>> {
    let servers = distinct(runs, |run| &run.server);
    let mut rows = distinct(runs, |run| &run.row);
    rows.retain(|row| runs.iter().any(|run| run.row == *row && (figure.low)(run).is_some()));
    let mut bars = Vec::new();
    for (row, name) in rows.iter().enumerate() {
        for (server, of_server) in servers.iter().enumerate() {
            let mine = of(runs, name, of_server);
            let high = figure.high.and_then(|high| median_of(&mine, high));
            if let Some(low) = median_of(&mine, figure.low) {
                bars.push(Bar { row, server, low, high });
            }
        }
    }
    if bars.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let axis = Axis::over(&bars, figure.logarithmic);
        let painted = paint(&root, figure.title, &servers, &rows, &bars, &axis);
        painted.and_then(|()| root.present()).map_err(|error| anyhow!("{}: {error}", figure.file))?;
    }
    Ok(Some(svg))
}

/// From a figure to a height in pixels.
struct Axis {
    least: f64,
    greatest: f64,
    logarithmic: bool,
}

impl Axis {
    fn over(bars: &[Bar], logarithmic: bool) -> Axis {
        let all = || bars.iter().flat_map(|bar| [Some(bar.low), bar.high]).flatten();
        let greatest = all().fold(f64::MIN_POSITIVE, f64::max);
        if !logarithmic {
            return Axis { least: 0.0, greatest: greatest * 1.1, logarithmic };
        }
        let least = all().filter(|figure| *figure > 0.0).fold(greatest, f64::min);
        // Whole decades, and below the least bar some room that shows it.
        Axis { least: decade(least / 1.5), greatest: greatest * 1.6, logarithmic }
    }

    fn y(&self, figure: f64) -> i32 {
        let share = if self.logarithmic {
            (figure.max(self.least) / self.least).ln() / (self.greatest / self.least).ln()
        } else {
            figure / self.greatest
        };
        let (top, bottom) = (f64::from(TOP), f64::from(HEIGHT as i32 - BOTTOM));
        (bottom - share * (bottom - top)).round() as i32
    }

    /// Figures with a line of the grid.
    fn marks(&self) -> Vec<f64> {
        if self.logarithmic {
            let mut marks = Vec::new();
            let mut mark = self.least;
            while mark <= self.greatest {
                marks.push(mark);
                mark *= 10.0;
            }
            return marks;
        }
        let unit = decade(self.greatest);
        let step = [0.2, 0.5, 1.0, 2.0].map(|part| part * unit).into_iter();
        let step = step.clone().find(|step| self.greatest / step <= 6.0).unwrap_or(2.0 * unit);
        (0..).map(|number| f64::from(number) * step).take_while(|mark| *mark <= self.greatest).collect()
    }
}

/// Greatest power of ten that is not above.
fn decade(figure: f64) -> f64 {
    10f64.powf(figure.log10().floor())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Painted<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn font(size: i32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(h, v))
}

fn paint<'a>(
    root: &Area<'a>,
    title: &str,
    servers: &[&str],
    rows: &[&str],
    bars: &[Bar],
    axis: &Axis,
) -> Painted<'a> {
    root.fill(&WHITE)?;
    root.draw_text(title, &font(20, TEXT, HPos::Left, VPos::Top), (LEFT, 10))?;
    legend(root, servers)?;
    for mark in axis.marks() {
        let y = axis.y(mark);
        root.draw(&PathElement::new([(LEFT, y), (WIDTH as i32 - RIGHT, y)], GRID))?;
        root.draw_text(&short(mark), &font(14, TEXT, HPos::Right, VPos::Center), (LEFT - 6, y))?;
    }
    let band = (WIDTH as i32 - LEFT - RIGHT) / rows.len().max(1) as i32;
    let bottom = HEIGHT as i32 - BOTTOM;
    for (row, name) in rows.iter().enumerate() {
        let left = LEFT + row as i32 * band;
        let style = font(16, TEXT, HPos::Center, VPos::Top);
        root.draw_text(name, &style, (left + band / 2, bottom + 8))?;
        let mine: Vec<&Bar> = bars.iter().filter(|bar| bar.row == row).collect();
        let width = (band * 4 / 5 / mine.len().max(1) as i32).clamp(4, 48);
        let begin = left + (band - width * mine.len() as i32) / 2;
        for (at, bar) in mine.into_iter().enumerate() {
            paint_bar(root, axis, bar, begin + at as i32 * width, width)?;
        }
    }
    root.draw(&PathElement::new([(LEFT, bottom), (WIDTH as i32 - RIGHT, bottom)], TEXT))
}

fn paint_bar<'a>(root: &Area<'a>, axis: &Axis, bar: &Bar, left: i32, width: i32) -> Painted<'a> {
    let colour = COLOURS[bar.server % COLOURS.len()];
    let bottom = HEIGHT as i32 - BOTTOM;
    let right = left + width - 2;
    if let Some(high) = bar.high {
        root.draw(&Rectangle::new([(left, axis.y(high)), (right, bottom)], colour.mix(0.35).filled()))?;
    }
    root.draw(&Rectangle::new([(left, axis.y(bar.low)), (right, bottom)], colour.filled()))?;
    let (middle, top) = (left + width / 2 - 1, axis.y(bar.low));
    if bar.high.is_some() && bottom - top > LABEL {
        // On the bar itself: above it is the other figure.
        let style = font(12, on(colour), HPos::Center, VPos::Top);
        root.draw_text(&short(bar.low), &style, (middle, top + 3))?;
    }
    let whole = bar.high.unwrap_or(bar.low);
    let style = font(12, TEXT, HPos::Center, VPos::Bottom);
    root.draw_text(&short(whole), &style, (middle, axis.y(whole) - 3))
}

/// A colour of text that can be read on this one.
fn on(colour: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = colour;
    let light = u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue);
    if light > 1_350 { TEXT } else { WHITE }
}

fn legend<'a>(root: &Area<'a>, servers: &[&str]) -> Painted<'a> {
    let mut left = LEFT;
    for (server, name) in servers.iter().enumerate() {
        let colour = COLOURS[server % COLOURS.len()];
        root.draw(&Rectangle::new([(left, 40), (left + 12, 52)], colour.filled()))?;
        root.draw_text(name, &font(16, TEXT, HPos::Left, VPos::Center), (left + 18, 46))?;
        // Without fonts the width of a text is a guess.
        left += 18 + 8 * name.chars().count() as i32 + 16;
    }
    Ok(())
}

/// A figure in four letters at most, two digits that count: 1.2M, 34k, 0.87. The table has more.
fn short(figure: f64) -> String {
    let (figure, unit) = match figure {
        figure if figure >= 999_500.0 => (figure / 1e6, "M"),
        figure if figure >= 999.5 => (figure / 1e3, "k"),
        figure => (figure, ""),
    };
    let text = match figure {
        figure if figure >= 9.95 => format!("{figure:.0}"),
        figure if figure >= 0.995 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::results::{read, tests::RESULTS};
    use super::*;

    #[test]
    fn every_chart_shows_all_servers_and_the_rows_that_have_its_figure() {
        let charts = all(&read(RESULTS).unwrap()).unwrap();
        let names: Vec<&str> = charts.iter().map(|chart| chart.file).collect();
        assert_eq!(names, ["throughput.svg", "latency.svg", "cpu.svg", "disk.svg"]);
        for chart in &charts {
            for text in ["flotilla", "rocketmq-dledger", "kafka", "sync-64"] {
                assert!(chart.svg.contains(text), "{text} in {}", chart.file);
            }
            assert_eq!(chart.svg.contains("consume-100"), chart.file != "latency.svg", "{}", chart.file);
        }
    }

    #[test]
    fn a_larger_figure_has_a_higher_bar() {
        let bars = |low| Bar { row: 0, server: 0, low, high: None };
        for logarithmic in [false, true] {
            let axis = Axis::over(&[bars(300.0), bars(4_000.0)], logarithmic);
            assert!(axis.y(4_000.0) < axis.y(300.0) && axis.y(300.0) < HEIGHT as i32 - BOTTOM);
            assert!(axis.y(4_000.0) >= TOP, "it stays below the legend");
            assert!((2..=7).contains(&axis.marks().len()), "{:?}", axis.marks());
        }
    }

    #[test]
    fn figures_are_written_with_few_letters() {
        let cases = [
            (0.0, "0"),
            (0.1, "0.1"),
            (0.873, "0.87"),
            (5.86, "5.9"),
            (10.0, "10"),
            (591.0, "591"),
            (999.7, "1k"),
            (3_300.0, "3.3k"),
            (99_960.0, "100k"),
            (842_000.0, "842k"),
            (2.5e6, "2.5M"),
        ];
        for (figure, text) in cases {
            assert_eq!(short(figure), text);
        }
    }
}
