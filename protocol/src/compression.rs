//! Compression of records: gzip, snappy, LZ4 and zstd through libraries. Decompression is streamed and bounded: see
//! [`Decompressor`]. Which batch is compressed how stands in its header; its records are read in `records`.

mod decompressor;

pub use decompressor::Decompressor;

use crate::records::Compression;
use decompressor::{XERIAL_HEADER_BYTES, XERIAL_MAGIC};
use std::fmt;
use std::io::{self, Write};

/// Compressed bytes that do not decompress, or to more than is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// More than the caller's bound; no more than that was decompressed.
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The library's word on what is wrong.
    Malformed {
        /// Which compression.
        compression: Compression,
        /// What is wrong.
        message: String,
    },
    /// The level is outside of what the compression takes.
    BadLevel {
        /// Which compression.
        compression: Compression,
        /// The level asked for.
        level: i32,
    },
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionError::TooLarge { bytes_max } => {
                write!(f, "more than {bytes_max} bytes when decompressed")
            }
            CompressionError::Malformed {
                compression,
                message,
            } => write!(f, "{}: {message}", compression.name()),
            CompressionError::BadLevel { compression, level } => {
                write!(f, "{} has no level {level}", compression.name())
            }
        }
    }
}

impl std::error::Error for CompressionError {}

fn malformed(compression: Compression, error: impl fmt::Display) -> CompressionError {
    CompressionError::Malformed {
        compression,
        message: error.to_string(),
    }
}

/// What one block holds before compression: Java's default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// What goes from a decompressor to a compressor at a time.
const STEP_BYTES: usize = 32 << 10;

/// Decompresses to at most `bytes_max` bytes, all of them in memory: for those who need the records themselves. Whoever
/// checks or counts reads a [`Decompressor`].
///
/// Memory is taken as output comes, up to twice `bytes_max`, whatever the input announces, beside what [`Decompressor`] holds.
///
/// # Errors
/// [`CompressionError::TooLarge`] as soon as the bound is passed, [`CompressionError::Malformed`].
pub fn decompress(
    compression: Compression,
    input: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut source = Decompressor::new(compression, input, bytes_max)?;
    let mut output = Vec::new();
    // Grown as output comes: what the input announces is not believed.
    let mut step_bytes = input.len().clamp(512, STEP_BYTES);
    loop {
        let start = output.len();
        output.resize(start + step_bytes, 0);
        let read = source.read(&mut output[start..])?;
        output.truncate(start + read);
        if read == 0 {
            return Ok(output);
        }
        step_bytes = STEP_BYTES;
    }
}

/// Compresses `input` and appends it to `output`. `level` is for gzip (1 to 9, -1 for the default), LZ4 (1 to 17, 9 is the
/// default) and zstd (up to 22); `None` is the default. Snappy has no levels.
///
/// LZ4's levels are Kafka's (KIP-390): the default, 9, is the *fast* compressor, every other one the high compressor at that
/// level, so that 8 and 10 both make smaller batches than 9; above 12 nothing gets smaller.
///
/// # Errors
/// [`CompressionError::BadLevel`]; a library's failure as [`CompressionError::Malformed`].
pub fn compress(
    compression: Compression,
    level: Option<i32>,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut source = Decompressor::new(Compression::None, input, input.len())?;
    recompress(&mut source, input.len(), compression, level, output)
}

/// Compresses what `source` has left and appends it to `output`, some 32 KiB at a time. `bytes` is how many that are; `level`
/// as in [`compress`].
///
/// # Errors
/// Those of [`compress`] and of [`Decompressor::read`].
pub fn recompress(
    source: &mut Decompressor<'_>,
    bytes: usize,
    compression: Compression,
    level: Option<i32>,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let failed = |error: io::Error| malformed(compression, error);
    match compression {
        Compression::None => copy(source, compression, output)?,
        Compression::Gzip => {
            let level = match level.unwrap_or(-1) {
                -1 => flate2::Compression::default(),
                level @ 1..=9 => flate2::Compression::new(level as u32),
                level => return Err(CompressionError::BadLevel { compression, level }),
            };
            let mut encoder = flate2::write::GzEncoder::new(output, level);
            copy(source, compression, &mut encoder)?;
            encoder.finish().map_err(failed)?;
        }
        Compression::Snappy => compress_snappy(source, output)?,
        Compression::Lz4 => {
            let mut encoder = lz4_encoder(level.unwrap_or(LZ4_FAST_LEVEL), output)?;
            copy(source, compression, &mut encoder)?;
            encoder.finish().1.map_err(failed)?;
        }
        Compression::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            if !zstd::compression_level_range().contains(&level) {
                return Err(CompressionError::BadLevel { compression, level });
            }
            let mut encoder = zstd::stream::write::Encoder::new(output, level).map_err(failed)?;
            // A window as large as the level's largest would cost hundreds of megabytes for a small batch.
            encoder
                .set_pledged_src_size(Some(bytes as u64))
                .map_err(failed)?;
            copy(source, compression, &mut encoder)?;
            encoder.finish().map_err(failed)?;
        }
    }
    Ok(())
}

/// Kafka's default level, and the one that means speed.
const LZ4_FAST_LEVEL: i32 = 9;

/// A frame as Java writes it: its reader takes independent blocks only, and its writer makes blocks of 64 KiB without checksums.
fn lz4_encoder(
    level: i32,
    output: &mut Vec<u8>,
) -> Result<lz4::Encoder<&mut Vec<u8>>, CompressionError> {
    let compression = Compression::Lz4;
    // The library's own scale: 0 is the fast compressor, 1 would be too, 2 the least of the high one.
    let level = match level {
        LZ4_FAST_LEVEL => 0,
        1..=17 => level.max(2) as u32,
        level => return Err(CompressionError::BadLevel { compression, level }),
    };
    lz4::EncoderBuilder::new()
        .block_size(lz4::BlockSize::Max64KB)
        .block_mode(lz4::BlockMode::Independent)
        .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .level(level)
        .build(output)
        .map_err(|error| malformed(compression, error))
}

fn copy(
    source: &mut Decompressor<'_>,
    compression: Compression,
    sink: &mut impl Write,
) -> Result<(), CompressionError> {
    while let Some(step) = source.next_step(STEP_BYTES)? {
        sink.write_all(step)
            .map_err(|error| malformed(compression, error))?;
    }
    Ok(())
}

fn compress_snappy(
    source: &mut Decompressor<'_>,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&1i32.to_be_bytes());
    output.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    while let Some(block) = source.next_step(XERIAL_BLOCK_BYTES)? {
        let length_at = output.len();
        let start = length_at + 4;
        output.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder
            .compress(block, &mut output[start..])
            .map_err(|error| malformed(Compression::Snappy, error))?;
        output.truncate(start + written);
        output[length_at..start].copy_from_slice(&(written as i32).to_be_bytes());
    }
    Ok(())
}

const _: () = assert!(XERIAL_HEADER_BYTES == XERIAL_MAGIC.len() + 4 + 4);
