//! The data plane: upstreams, connection pools, streaming, tunnels.
