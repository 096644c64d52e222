//! CRC-32C as the log uses it: seeded by a segment's nonce and a position, and combined without a second pass.

/// The reflected Castagnoli polynomial.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `x^(2^k)` modulo the polynomial, for `k` of 0 to 31.
const POWERS: [u32; 32] = {
    let mut powers = [0; 32];
    let mut power = 1 << 30;
    let mut index = 0;
    while index < 32 {
        powers[index] = power;
        power = multiply(power, power);
        index += 1;
    }
    powers
};

/// The product of two polynomials modulo the CRC's, bits reflected.
const fn multiply(left: u32, mut right: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    loop {
        if left & bit != 0 {
            product ^= right;
            if left & (bit - 1) == 0 {
                return product;
            }
        }
        bit >>= 1;
        if bit == 0 {
            return product;
        }
        right = if right & 1 != 0 {
            (right >> 1) ^ POLYNOMIAL
        } else {
            right >> 1
        };
    }
}

/// The CRC of two stretches joined, from that of each and the second's length.
pub(crate) fn combine(first: u32, second: u32, second_bytes: usize) -> u32 {
    let mut power = 1 << 31;
    let mut bits = second_bytes;
    // x^(8 * bytes): the bits of the byte count, three powers up.
    let mut index = 3;
    while bits != 0 {
        if bits & 1 != 0 {
            power = multiply(POWERS[index & 31], power);
        }
        bits >>= 1;
        index += 1;
    }
    multiply(power, first) ^ second
}

/// The plain CRC. (At 16 KiB `crc-fast` takes 0.27 µs where `crc32c` takes 0.92, on a processor with AVX-512; only the latter can go on from an
/// earlier value.)
pub(crate) fn plain(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC of bytes at a place: seeded by the nonce of the segment and the position in the file, so that recycled, forged and misdirected
/// bytes never pass.
pub(crate) fn placed(nonce: u64, position: u64, bytes: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&nonce.to_le_bytes());
    place[8..].copy_from_slice(&position.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

/// Pseudo-random numbers from a seed (SplitMix64): nonces, hash seeds.
#[derive(Clone, Debug)]
pub(crate) struct Entropy(u64);

impl Entropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_equals_computed_for_many_lengths() {
        let mut entropy = Entropy::new(3);
        let bytes: Vec<u8> = (0..100_000).map(|_| entropy.next() as u8).collect();
        for (head, body) in [
            (0, 1),
            (1, 0),
            (21, 1),
            (21, 40),
            (61, 4096),
            (21, 65_515),
            (1000, 99_000),
        ] {
            let joined = plain(&bytes[..head + body]);
            assert_eq!(
                combine(
                    plain(&bytes[..head]),
                    plain(&bytes[head..head + body]),
                    body
                ),
                joined,
                "{head}+{body}"
            );
        }
    }

    #[test]
    fn the_place_is_part_of_the_checksum() {
        assert_ne!(placed(1, 0, b"frame"), placed(2, 0, b"frame"));
        assert_ne!(placed(1, 0, b"frame"), placed(1, 4096, b"frame"));
    }
}
