//! What the edge found wrong with a request's head before the gate saw the request.

/// A fault of a request's head that hyper's parser accepts (SR-39, SR-40).
///
/// The edge puts it into the request's extensions; [`Gate::pass`](crate::Gate::pass) refuses such a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// The head's length or framing can be read in two ways. The response closes the connection, because the two
    /// readings disagree about where the next request begins.
    Ambiguous,
    /// The head has more bytes or fields than the edge accepts.
    TooLarge,
}
