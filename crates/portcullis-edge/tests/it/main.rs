//! Tests of the edge over real sockets, with a handler of their own and without a gate.

mod closing;
mod framing;
mod panics;
mod permits;
mod test_edge;
