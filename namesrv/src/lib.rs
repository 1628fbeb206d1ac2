//! The name server: registry, routes and their server.
