//! `kubectl nsdebug`.

fn main() {}
