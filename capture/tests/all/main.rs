//! Streams that break rules, orders that no one would think of, and files as readers of other projects see them.

mod numbers;
mod order;
mod readers;
mod streams;
