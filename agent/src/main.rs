//! The program on the node.

fn main() {}
