//! The hooks of the fault harness (docs/testing.md): says what is on, and refuses what this build can't do.

/// What `flotilla --version` says behind the name.
#[cfg(not(feature = "faults"))]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What `flotilla --version` says behind the name.
#[cfg(feature = "faults")]
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " with fault hooks, for tests only");

/// Looks at the environment before a node starts. Without the feature that is all: a harness that runs the wrong binary must not take
/// what holds without a fault for a proof.
///
/// # Errors
/// It asks for a fault that this build does not have.
#[cfg(not(feature = "faults"))]
pub fn begin() -> anyhow::Result<()> {
    for name in ["FLOTILLA_POWER_LOSS", "FLOTILLA_MUTANT"] {
        if std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
            anyhow::bail!(
                "{name} is set: this build has no fault hooks (cargo build --features faults has them)"
            );
        }
    }
    Ok(())
}

/// Looks at the environment before a node starts, and becomes the mutant that it names.
///
/// # Errors
/// There is no such mutant.
#[cfg(feature = "faults")]
pub fn begin() -> anyhow::Result<()> {
    tracing::warn!("built with fault hooks: for tests only");
    if let Some(dir) =
        std::env::var_os(flotilla_raft_store::vfs::undo::POWER_LOSS).filter(|dir| !dir.is_empty())
    {
        tracing::warn!(journal = %dir.display(), "what is not synced can be taken back: files are written slowly");
    }
    if let Some(mutant) = flotilla_mutants::choose().map_err(anyhow::Error::msg)? {
        tracing::warn!(mutant, "THIS NODE BREAKS ITS PROMISES: it runs as a mutant");
    }
    Ok(())
}
