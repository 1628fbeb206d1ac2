//! What each fault did to the clients.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::checker::{CountFrom, Outage};

use super::facts::RunFacts;
use super::html::{escaped, millis, seconds};
use super::operations::quantile;

/// Kinds first, then each fault.
pub(super) fn tables(facts: &RunFacts, outages: &[Outage]) -> String {
    if outages.is_empty() {
        return "<p class=note>No fault was injected.</p>".to_owned();
    }
    let mut html = kinds(outages);
    let _ = write!(
        html,
        "<details><summary>each fault <span class=note>{}</span></summary><div class=body>",
        outages.len()
    );
    html.push_str(&each(facts, outages));
    html + "</div></details>"
}

fn kinds(outages: &[Outage]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&Outage>> = BTreeMap::new();
    for outage in outages {
        kinds.entry(&outage.kind).or_default().push(outage);
    }
    let mut html = "<table><thead><tr><th>fault<th class=n>times<th class=n>median outage<th class=n>worst<th class=n>limit\
                    <th class=n>failed<th class=n>unknown<th>worst, drawn</tr></thead><tbody>"
        .to_owned();
    let longest = outages.iter().filter_map(|outage| outage.outage_ms).fold(1.0, f64::max);
    for (kind, all) in kinds {
        let mut lasted: Vec<f64> = all.iter().filter_map(|outage| outage.outage_ms).collect();
        lasted.sort_unstable_by(f64::total_cmp);
        let told = |part| if lasted.is_empty() { "–".to_owned() } else { millis(quantile(&lasted, part)) };
        let over = all.iter().any(|outage| outage.exceeds_limit());
        let failed: u64 = all.iter().map(|outage| outage.failed_count).sum();
        let unknown: u64 = all.iter().map(|outage| outage.unknown_count).sum();
        let width = quantile(&lasted, 1.0) / longest * 100.0;
        let _ = write!(
            html,
            "<tr{}><td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{failed}<td class=n>{unknown}\
             <td class=bar><i style=\"width:{width:.1}%\"></i></tr>",
            if over { " class=over" } else { "" },
            escaped(kind),
            all.len(),
            told(0.5),
            told(1.0),
            all.first().map_or_else(String::new, |outage| limit(outage)),
        );
    }
    html + "</tbody></table>"
}

fn limit(outage: &Outage) -> String {
    let since = match outage.counted_from {
        CountFrom::Begin => "",
        CountFrom::Heal => " after healing",
    };
    outage.limit_ms.map_or_else(|| "none".to_owned(), |limit| format!("{limit} ms{since}"))
}

fn each(facts: &RunFacts, outages: &[Outage]) -> String {
    let mut html = "<table><thead><tr><th>fault<th>nodes<th class=n>began<th class=n>in force<th class=n>outage<th class=n>since its beginning<th>ended by\
                    <th class=n>limit<th class=n>failed<th class=n>unknown<th>more</tr></thead><tbody>"
        .to_owned();
    for outage in outages {
        let name = |node: &u32| {
            facts.nodes.get(*node as usize).map_or_else(|| node.to_string(), |node| node.name.clone())
        };
        let nodes: Vec<String> = outage.nodes.iter().map(name).collect();
        let in_force = outage.healed.map_or_else(|| "–".to_owned(), |healed| seconds(healed - outage.began));
        let _ = write!(
            html,
            "<tr{}><td>{} #{}<td>{}<td class=n>{}<td class=n>{in_force}<td class=n>{}<td class=n>{}<td>{}<td class=n>{}\
             <td class=n>{}<td class=n>{}<td>{}</tr>",
            if outage.exceeds_limit() { " class=over" } else { "" },
            escaped(&outage.kind),
            outage.number,
            escaped(&nodes.join(", ")),
            seconds(outage.began),
            outage.outage_ms.map_or_else(|| "–".to_owned(), millis),
            outage.since_begin_ms.map_or_else(|| "–".to_owned(), millis),
            if outage.recovered { "an ack" } else { "no ack" },
            limit(outage),
            outage.failed_count,
            outage.unknown_count,
            escaped(&outage.detail),
        );
    }
    html + "</tbody></table>"
}
