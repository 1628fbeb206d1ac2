//! Framing: what is refused, and with which words.
