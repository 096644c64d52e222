//! Compression of records: gzip, snappy, LZ4 and zstd through libraries, decompression streamed and bounded. Which batch is
//! compressed how stands in its header: see `records`.

use crate::records::Compression;
use std::fmt;
use std::io::{self, Read, Write};

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

/// xerial's framing of snappy, as Java writes it: these 8 bytes, a version and the least version that can read it, both 1;
/// then blocks, each behind its int32 length.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// What one block holds before compression: Java's default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// No snappy element makes more than 64 bytes out of 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// Decompresses to at most `bytes_max` bytes.
///
/// Memory is taken as output comes, up to twice `bytes_max`, whatever the input announces; zstd and LZ4 add a window that
/// the format bounds (128 MiB and 8 MiB, touched only as far as the output goes).
///
/// # Errors
/// [`CompressionError::TooLarge`] as soon as the bound is passed, [`CompressionError::Malformed`].
pub fn decompress(
    compression: Compression,
    input: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, CompressionError> {
    match compression {
        Compression::None if input.len() > bytes_max => {
            Err(CompressionError::TooLarge { bytes_max })
        }
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => read_bounded(
            compression,
            flate2::bufread::MultiGzDecoder::new(input),
            bytes_max,
        ),
        Compression::Snappy => snappy(input, bytes_max),
        Compression::Lz4 => {
            check_lz4_end(input)?;
            let decoder = lz4_flex::frame::FrameDecoder::new(input);
            read_bounded(compression, decoder, bytes_max)
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input);
            read_bounded(
                compression,
                decoder.map_err(|error| malformed(compression, error))?,
                bytes_max,
            )
        }
    }
}

fn read_bounded(
    compression: Compression,
    reader: impl Read,
    bytes_max: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    let one_more = (bytes_max as u64).saturating_add(1);
    reader
        .take(one_more)
        .read_to_end(&mut output)
        .map_err(|error| malformed(compression, error))?;
    if output.len() > bytes_max {
        return Err(CompressionError::TooLarge { bytes_max });
    }
    Ok(output)
}

/// The decoder takes a frame whose end mark is cut off. Java's does not: its consumers would stand still at such a batch.
fn check_lz4_end(input: &[u8]) -> Result<(), CompressionError> {
    const BLOCK_CHECKSUMS: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const DICTIONARY_ID: u8 = 1;
    let cut_off = || malformed(Compression::Lz4, "frame is cut off");
    let flags = *input.get(4).ok_or_else(cut_off)?;
    let given = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    // Magic, flags, block descriptor, what the flags add, header checksum.
    let header_bytes = 4 + 1 + 1 + given(CONTENT_SIZE, 8) + given(DICTIONARY_ID, 4) + 1;
    let mut rest = input.get(header_bytes..).ok_or_else(cut_off)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
        // The highest bit says that the block is not compressed.
        let size = (u32::from_le_bytes(*size) & 0x7fff_ffff) as usize;
        if size == 0 {
            return Ok(());
        }
        let block_bytes = size + given(BLOCK_CHECKSUMS, 4);
        rest = after.get(block_bytes..).ok_or_else(cut_off)?;
    }
}

fn snappy(input: &[u8], bytes_max: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        // One raw block, as librdkafka writes it.
        snappy_block(input, bytes_max, &mut output)?;
        return Ok(output);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // A header may stand again where two streams were joined.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or_else(|| malformed(Compression::Snappy, "header is cut off"))?;
            continue;
        }
        let cut_off = || malformed(Compression::Snappy, "block is cut off");
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut_off())?;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        snappy_block(block, bytes_max, &mut output)?;
        rest = after;
    }
    Ok(output)
}

fn snappy_block(
    block: &[u8],
    bytes_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    if block.is_empty() {
        return Ok(());
    }
    let length =
        snap::raw::decompress_len(block).map_err(|error| malformed(Compression::Snappy, error))?;
    let start = output.len();
    if length > bytes_max.saturating_sub(start) {
        return Err(CompressionError::TooLarge { bytes_max });
    }
    // The length is the block's own word: believe only what the format could hold.
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(malformed(
            Compression::Snappy,
            "block announces more than it can hold",
        ));
    }
    output.resize(start + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut output[start..])
        .map_err(|error| malformed(Compression::Snappy, error))?;
    output.truncate(start + written);
    Ok(())
}

/// Compresses `input` and appends it to `output`. `level` is for gzip (1 to 9, -1 for the default) and zstd (up to 22);
/// `None` is the default. Snappy and LZ4 know no level here.
///
/// # Errors
/// [`CompressionError::BadLevel`]; a library's failure as [`CompressionError::Malformed`].
pub fn compress(
    compression: Compression,
    level: Option<i32>,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let failed = |error: io::Error| malformed(compression, error);
    match compression {
        Compression::None => output.extend_from_slice(input),
        Compression::Gzip => {
            let level = match level.unwrap_or(-1) {
                -1 => flate2::Compression::default(),
                level @ 1..=9 => flate2::Compression::new(level as u32),
                level => return Err(CompressionError::BadLevel { compression, level }),
            };
            let mut encoder = flate2::write::GzEncoder::new(output, level);
            encoder.write_all(input).map_err(failed)?;
            encoder.finish().map_err(failed)?;
        }
        Compression::Snappy => compress_snappy(input, output)?,
        Compression::Lz4 => {
            // Java's reader takes independent blocks only, and writes blocks of 64 KiB.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, output);
            encoder.write_all(input).map_err(failed)?;
            encoder
                .finish()
                .map_err(|error| malformed(compression, error))?;
        }
        Compression::Zstd => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            if !zstd::compression_level_range().contains(&level) {
                return Err(CompressionError::BadLevel { compression, level });
            }
            let compressed = zstd::bulk::compress(input, level).map_err(failed)?;
            output.extend_from_slice(&compressed);
        }
    }
    Ok(())
}

fn compress_snappy(input: &[u8], output: &mut Vec<u8>) -> Result<(), CompressionError> {
    output.extend_from_slice(&XERIAL_MAGIC);
    output.extend_from_slice(&1i32.to_be_bytes());
    output.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
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
