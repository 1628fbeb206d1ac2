//! A broker node: server, dispatch, handlers, group, views, admin.
