//! Decompression step by step: what is in memory is a window of the format's and the step asked for, never the whole output.
//! Compression and whole outputs are in the module above; the records that come out are read in `records::outlines`.

use super::{CompressionError, malformed};
use crate::records::Compression;
use std::io::Read;

/// xerial's framing of snappy, as Java writes it: these 8 bytes, a version and the least version that can read it, both 1;
/// then blocks, each behind its int32 length.
pub(super) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
pub(super) const XERIAL_HEADER_BYTES: usize = 16;
/// No snappy element makes more than 64 bytes out of 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// Compressed bytes that are read decompressed, up to a bound.
///
/// Memory is what the format needs: 64 KiB for gzip; for LZ4 a block of at most 4 MiB, compressed and not; for zstd a window
/// of at most 128 MiB, touched only as far as the output goes; for snappy one block, which cannot be parted: 32 KiB as Java
/// writes it, all of the output as librdkafka does, and never more than 22 times its compressed bytes.
pub struct Decompressor<'a> {
    compression: Compression,
    bytes_max: usize,
    bytes_read: usize,
    format: Format<'a>,
    /// See [`Decompressor::next_step`].
    step: Vec<u8>,
    ended: bool,
}

enum Format<'a> {
    Plain(&'a [u8]),
    Snappy(SnappyBlocks<'a>),
    Library(Box<dyn Read + 'a>),
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("compression", &self.compression)
            .field("bytes_read", &self.bytes_read)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<'a> Decompressor<'a> {
    /// Over the whole of `input`, which gives at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CompressionError::Malformed`] where the first bytes show it.
    pub fn new(
        compression: Compression,
        input: &'a [u8],
        bytes_max: usize,
    ) -> Result<Self, CompressionError> {
        let format = match compression {
            Compression::None => Format::Plain(input),
            Compression::Gzip => {
                Format::Library(Box::new(flate2::bufread::MultiGzDecoder::new(input)))
            }
            Compression::Snappy => Format::Snappy(SnappyBlocks::new(input)),
            Compression::Lz4 => {
                check_lz4(input)?;
                let decoder =
                    lz4::Decoder::new(input).map_err(|error| malformed(compression, error))?;
                Format::Library(Box::new(decoder))
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input)
                    .map_err(|error| malformed(compression, error))?;
                Format::Library(Box::new(decoder))
            }
        };
        Ok(Decompressor {
            compression,
            bytes_max,
            bytes_read: 0,
            format,
            step: Vec::new(),
            ended: false,
        })
    }

    /// Bytes that came out so far.
    pub fn bytes_read(&self) -> usize {
        self.bytes_read
    }

    /// Fills `output` from its front, as far as there is something; 0 is the end, and then the format's own checksums were
    /// right. `output` is not empty.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] as soon as more than the bound would come out; [`CompressionError::Malformed`]. Nothing
    /// comes after an error.
    pub fn read(&mut self, output: &mut [u8]) -> Result<usize, CompressionError> {
        if self.ended {
            return Ok(0);
        }
        let read = self.read_some(output);
        match read {
            Ok(0) | Err(_) => self.ended = true,
            Ok(count) => self.bytes_read += count,
        }
        read
    }

    fn read_some(&mut self, output: &mut [u8]) -> Result<usize, CompressionError> {
        let left = self.bytes_max - self.bytes_read;
        // One byte more than allowed is asked for, to tell the end from too much.
        let most = output.len().min(left.saturating_add(1));
        let output = &mut output[..most];
        let read = match &mut self.format {
            Format::Plain(rest) => {
                let count = most.min(rest.len());
                let (now, later) = rest.split_at(count);
                output[..count].copy_from_slice(now);
                *rest = later;
                count
            }
            Format::Snappy(blocks) => blocks.read(output, left, self.bytes_max)?,
            Format::Library(reader) => loop {
                match reader.read(output) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    read => break read.map_err(|error| malformed(self.compression, error))?,
                }
            },
        };
        if read > left {
            return Err(CompressionError::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        Ok(read)
    }

    /// The next `bytes` bytes, fewer only at the end, and none after it.
    ///
    /// # Errors
    /// Those of [`Decompressor::read`].
    pub fn next_step(&mut self, bytes: usize) -> Result<Option<&[u8]>, CompressionError> {
        if let Format::Plain(rest) = &mut self.format
            && rest.len() <= self.bytes_max - self.bytes_read
        {
            let (now, later) = rest.split_at(bytes.min(rest.len()));
            *rest = later;
            self.bytes_read += now.len();
            return Ok((!now.is_empty()).then_some(now));
        }
        let mut step = std::mem::take(&mut self.step);
        step.resize(bytes, 0);
        let mut filled = 0;
        while filled < bytes {
            match self.read(&mut step[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        self.step = step;
        Ok((filled > 0).then_some(&self.step[..filled]))
    }
}

/// The blocks of one stream: one raw block as librdkafka writes it, or xerial's framing.
struct SnappyBlocks<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyBlocks<'a> {
    fn new(input: &'a [u8]) -> Self {
        SnappyBlocks {
            rest: input,
            framed: input.starts_with(&XERIAL_MAGIC),
            block: Vec::new(),
            position: 0,
        }
    }

    fn read(
        &mut self,
        output: &mut [u8],
        left: usize,
        bytes_max: usize,
    ) -> Result<usize, CompressionError> {
        while self.position == self.block.len() {
            let Some(block) = self.next_block()? else {
                return Ok(0);
            };
            self.unpack(block, left, bytes_max)?;
        }
        let count = output.len().min(self.block.len() - self.position);
        output[..count].copy_from_slice(&self.block[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, CompressionError> {
        if !self.framed {
            let block = std::mem::take(&mut self.rest);
            return Ok((!block.is_empty()).then_some(block));
        }
        // A header may stand again where two streams were joined.
        while self.rest.starts_with(&XERIAL_MAGIC) {
            self.rest = self
                .rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or_else(|| malformed(Compression::Snappy, "header is cut off"))?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let cut_off = || malformed(Compression::Snappy, "block is cut off");
        let (length, after) = self.rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut_off())?;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = after;
        Ok(Some(block))
    }

    fn unpack(
        &mut self,
        block: &[u8],
        left: usize,
        bytes_max: usize,
    ) -> Result<(), CompressionError> {
        self.position = 0;
        self.block.clear();
        if block.is_empty() {
            return Ok(());
        }
        let failed = |error| malformed(Compression::Snappy, error);
        let length = snap::raw::decompress_len(block).map_err(failed)?;
        if length > left {
            return Err(CompressionError::TooLarge { bytes_max });
        }
        // The length is the block's own word: believe only what the format could hold.
        if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(malformed(
                Compression::Snappy,
                "block announces more than it can hold",
            ));
        }
        self.block.resize(length, 0);
        let written = snap::raw::Decoder::new()
            .decompress(block, &mut self.block)
            .map_err(failed)?;
        self.block.truncate(written);
        Ok(())
    }
}

/// What the library lets pass and Java's reader does not, so that its consumers would stand still at such a batch: another
/// format's magic number, blocks that lean on those before them, reserved bits, and a frame whose end is cut off. What lies
/// behind the first frame is nobody's: both readers stop there.
fn check_lz4(input: &[u8]) -> Result<(), CompressionError> {
    const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
    const VERSION_MASK: u8 = 0b11 << 6;
    const VERSION: u8 = 0b01 << 6;
    const INDEPENDENT_BLOCKS: u8 = 1 << 5;
    const BLOCK_CHECKSUMS: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    // One of them says that a dictionary is needed, which nobody could name.
    const RESERVED: u8 = 0b11;
    const DESCRIPTOR_RESERVED: u8 = !(0b111 << 4);
    let refused = |what: &str| Err(malformed(Compression::Lz4, what));
    let cut_off = || malformed(Compression::Lz4, "frame is cut off");
    let header = input.first_chunk::<6>().ok_or_else(cut_off)?;
    let (flags, descriptor) = (header[4], header[5]);
    if header[..4] != MAGIC {
        return refused("not the magic number of an LZ4 frame");
    }
    if flags & VERSION_MASK != VERSION {
        return refused("unknown version of the frame format");
    }
    if flags & RESERVED != 0 || descriptor & DESCRIPTOR_RESERVED != 0 {
        return refused("reserved bits are set, or a dictionary is asked for");
    }
    if flags & INDEPENDENT_BLOCKS == 0 {
        return refused("blocks that depend on each other are not taken");
    }
    let given = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    // What the flags add, and the header's checksum.
    let header_bytes = header.len() + given(CONTENT_SIZE, 8) + 1;
    let mut rest = input.get(header_bytes..).ok_or_else(cut_off)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
        // The highest bit says that the block is not compressed.
        let size = (u32::from_le_bytes(*size) & 0x7fff_ffff) as usize;
        if size == 0 {
            let checksum_bytes = given(CONTENT_CHECKSUM, 4);
            return after.get(checksum_bytes..).map(|_| ()).ok_or_else(cut_off);
        }
        let block_bytes = size + given(BLOCK_CHECKSUMS, 4);
        rest = after.get(block_bytes..).ok_or_else(cut_off)?;
    }
}
