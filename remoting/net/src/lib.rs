//! Framed TCP for the remoting protocol: connections, correlation, client pool, listener.
