//! Any bytes as a `records` field: split into batches, decompressed with a bound, read record by record.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use odradek_protocol::records::{Batches, records, verify_crc};

const RECORDS_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    for batch in Batches::new(Bytes::copy_from_slice(data)) {
        let Ok((header, batch)) = batch else { break };
        assert_eq!(header.size_bytes(), batch.len());
        let _ = verify_crc(&batch);
        let Ok(records) = records(&batch, RECORDS_BYTES_MAX) else { continue };
        assert!(records.decompressed().len() <= RECORDS_BYTES_MAX.max(batch.len()));
        let viewed = records.views().filter(Result::is_ok).count();
        assert!(records.filter(Result::is_ok).count() <= viewed);
    }
});
