//! Any bytes into every decompressor, bounded; and any bytes compressed come back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odradek_protocol::compression::{compress, decompress};
use odradek_protocol::records::Compression;

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    for compression in Compression::ALL {
        if let Ok(output) = decompress(compression, data, BYTES_MAX) {
            assert!(output.len() <= BYTES_MAX);
        }
        let mut packed = Vec::new();
        compress(compression, None, data, &mut packed).expect("anything compresses");
        assert_eq!(decompress(compression, &packed, data.len()).as_deref(), Ok(data));
    }
});
