//! The broker's deterministic state machine: commands, tables, apply, effects.
