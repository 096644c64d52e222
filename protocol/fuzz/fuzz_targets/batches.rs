//! Any bytes as a `records` field: split into batches, decompressed with a bound, read record by record, and the same while
//! streaming. The checksum is not in the way: it is the caller's to verify.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use odradek_protocol::records::{Batches, outlines, records, verify_crc};

const RECORDS_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    for batch in Batches::new(Bytes::copy_from_slice(data)) {
        let Ok((header, batch)) = batch else { break };
        assert_eq!(header.size_bytes(), batch.len());
        let _ = verify_crc(&batch);
        let outlined = outlines(&batch, RECORDS_BYTES_MAX).map(|outlines| {
            let outlines: Vec<_> = outlines.collect();
            (outlines.iter().filter(|outline| outline.is_ok()).count(), outlines.iter().all(Result::is_ok))
        });
        let Ok(records) = records(&batch, RECORDS_BYTES_MAX) else {
            assert!(outlined.is_err() || outlined.is_ok_and(|(_, all)| !all));
            continue;
        };
        assert!(records.decompressed().len() <= RECORDS_BYTES_MAX.max(batch.len()));
        let viewed = records.views().filter(Result::is_ok).count();
        let all = records.views().all(|view| view.is_ok());
        assert_eq!(outlined.expect("what is read whole is streamed"), (viewed, all));
        assert!(records.filter(Result::is_ok).count() <= viewed);
    }
});
