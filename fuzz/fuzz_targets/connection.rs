//! Sends any bytes on one HTTP/1.1 connection and checks that the gateway and a strict reader find the same requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_edge::check_connection;

fuzz_target!(|bytes: &[u8]| {
    check_connection(bytes, 0);
    // In small pieces too, of a size that the bytes decide, so that a crash can be repeated.
    check_connection(bytes, 1 + bytes.len() % 23);
});
