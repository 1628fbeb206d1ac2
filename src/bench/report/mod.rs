//! `flotilla bench report`: tables and charts of a page of documentation from the results of a comparison. The same
//! results give the same bytes.

mod charts;
mod results;
mod table;

use std::path::Path;

use anyhow::{Context, bail};

use super::args::ReportArgs;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Reads the results and writes page and charts.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.results);
    let text = text.with_context(|| format!("results {}", args.results.display()))?;
    let runs = results::read(&text).with_context(|| format!("results {}", args.results.display()))?;
    let folder = args.charts.clone().unwrap_or_else(|| args.page.with_extension(""));
    std::fs::create_dir_all(&folder).with_context(|| format!("folder {}", folder.display()))?;
    let mut part = table::tables(&runs);
    for chart in charts::all(&runs)? {
        let path = folder.join(chart.file);
        std::fs::write(&path, &chart.svg).with_context(|| format!("chart {}", path.display()))?;
        part.push_str(&format!("\n![{}]({})\n", chart.title, link(&args.page, &path)));
        println!("{}", path.display());
    }
    let old = match std::fs::read_to_string(&args.page) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# Performance\n\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("page {}", args.page.display())),
    };
    let new = replaced(&old, &part).with_context(|| format!("page {}", args.page.display()))?;
    std::fs::write(&args.page, new).with_context(|| format!("page {}", args.page.display()))?;
    println!("{}", args.page.display());
    Ok(())
}

/// A chart's path as the page names it.
fn link(page: &Path, chart: &Path) -> String {
    let beside = page.parent().and_then(|folder| chart.strip_prefix(folder).ok());
    beside.unwrap_or(chart).display().to_string()
}

/// The page with another part between its two marks.
fn replaced(page: &str, part: &str) -> anyhow::Result<String> {
    let Some((before, rest)) = page.split_once(BEGIN) else { bail!("it has no line {BEGIN}") };
    let Some((_, after)) = rest.split_once(END) else { bail!("it has no line {END} after {BEGIN}") };
    Ok(format!("{before}{BEGIN}\n{part}{END}{after}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = format!("# Title\n\ntext\n{BEGIN}\nold\n{END}\nmore\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n\ntext\n{BEGIN}\nnew\n{END}\nmore\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("# Title\n", "new").is_err());
        assert!(replaced(&format!("{END}\n{BEGIN}\n"), "new").is_err());
    }

    #[test]
    fn a_page_and_its_charts_are_made_and_made_again_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("compare.jsonl");
        std::fs::write(&results, results::tests::RESULTS).unwrap();
        let args = ReportArgs { results, page: folder.path().join("performance.md"), charts: None };
        run(&args).unwrap();
        let first = std::fs::read_to_string(&args.page).unwrap();
        assert!(first.contains("](performance/throughput.svg)"), "{first}");
        let charts = |name: &str| std::fs::read(folder.path().join("performance").join(name)).unwrap();
        let before = charts("latency.svg");
        run(&args).unwrap();
        assert_eq!(std::fs::read_to_string(&args.page).unwrap(), first);
        assert_eq!(charts("latency.svg"), before);
    }
}
