//! Memory of this process, as the system accounts it.

/// Bytes resident: of its own, and of mapped files (the log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    pub anonymous: u64,
    pub mapped_files: u64,
}

/// `None` where the system doesn't tell.
pub(super) fn resident() -> Option<Resident> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Resident { anonymous: bytes("RssAnon:")?, mapped_files: bytes("RssFile:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_kinds_are_read() {
        let status = "Name:\tx\nVmRSS:\t   30 kB\nRssAnon:\t   10 kB\nRssFile:\t   20 kB\n";
        assert_eq!(parse(status), Some(Resident { anonymous: 10_240, mapped_files: 20_480 }));
        assert_eq!(parse("VmRSS: 1 kB"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory() {
        assert!(resident().is_some_and(|resident| resident.anonymous > 0));
    }
}
