//! The documents keep to the truth: every test that they name is there, every rule has its tests, every link leads to a file.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust sources below a folder, in one text.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Texts between back quotes that look like the name of a test: words joined by at least three underscores.
fn test_names(document: &str) -> Vec<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.matches('_').count() >= 3 && text.chars().all(is_name)).collect()
}

fn is_name(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
}

#[test]
fn every_test_that_proves_a_guarantee_exists() {
    let mut all = String::new();
    for folder in ["tests", "raft-store", "broker", "namesrv", "remoting"] {
        sources(&Path::new(ROOT).join(folder), &mut all);
    }
    for (path, more_than) in [("docs/guarantees.md", 20), ("docs/log-rules.md", 20), ("docs/testing.md", 2)] {
        let document = read(path);
        let names = test_names(&document);
        assert!(names.len() > more_than, "{path} names its tests: {names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
        assert!(missing.is_empty(), "{path}: no such tests: {missing:#?}");
    }
}

#[test]
fn every_rule_of_the_log_has_its_tests_and_every_such_test_its_row() {
    let document = read("docs/log-rules.md");
    let mut source = String::new();
    for folder in ["raft-store", "tests", "broker"] {
        sources(&Path::new(ROOT).join(folder), &mut source);
    }
    for rule in 1..=27 {
        let row = document.lines().find(|line| line.starts_with(&format!("| {rule} |")));
        let row = row.unwrap_or_else(|| panic!("rule {rule} has no row"));
        assert!(!test_names(row).is_empty(), "rule {rule} has no test");
        let prefix = format!("fn rule_{rule}_");
        let named = source.split(&prefix).skip(1);
        for name in named.filter_map(|rest| rest.split('(').next()) {
            let name = format!("rule_{rule}_{name}");
            assert!(document.contains(&format!("`{name}`")), "{name} is missing in docs/log-rules.md");
        }
    }
}

#[test]
fn every_rule_of_a_leader_change_has_its_tests() {
    let document = read("docs/failover-rules.md");
    let mut all = String::new();
    for folder in ["tests", "broker", "namesrv"] {
        sources(&Path::new(ROOT).join(folder), &mut all);
    }
    for rule in 1..=25 {
        let row = document.lines().find(|line| line.starts_with(&format!("| {rule} |")));
        let row = row.unwrap_or_else(|| panic!("rule {rule} has no row"));
        let names = test_names(row.rsplit("| ").next().unwrap());
        assert!(!names.is_empty() || row.contains("`pull_offset_rules`"), "rule {rule} has no test");
        let missing: Vec<_> = names.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
        assert!(missing.is_empty(), "rule {rule}: no such tests: {missing:#?}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut documents = vec![PathBuf::from("README.md"), "ARCHITECTURE.md".into(), "CHANGELOG.md".into()];
    for folder in ["docs", "docs/decisions"] {
        let entries =
            fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        documents.extend(
            entries
                .map(|name| Path::new(folder).join(name))
                .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
        );
    }
    let mut broken = Vec::new();
    for document in documents {
        let text = read(&document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            let path = Path::new(ROOT).join(document.parent().unwrap()).join(file);
            if !path.exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
