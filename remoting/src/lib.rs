//! The wire contract of the RocketMQ remoting protocol: pure, no input or output.
