//! JSON bodies. pending
