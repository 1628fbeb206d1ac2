//! The replicated log on disk and the Raft group on top of it.
