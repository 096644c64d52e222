//! Kafka's UUID: 16 bytes, written for people as 22 characters of url-safe base64 without padding.

use std::fmt;
use std::str::FromStr;

/// A topic id, directory id, incarnation id and the like.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zero: "no id" on the wire.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// Kafka's id of the metadata topic; also "one directory, not said which" (KIP-858, unassigned is zero).
    pub const ONE: Uuid = Uuid::from_u128(1);

    /// From the number whose big-endian bytes are the id.
    pub const fn from_u128(number: u128) -> Self {
        Uuid(number.to_be_bytes())
    }

    /// The id as a number, most significant byte first.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Whether this is "no id".
    pub const fn is_zero(self) -> bool {
        self.as_u128() == 0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 22];
        let number = self.as_u128();
        for (index, character) in text.iter_mut().enumerate() {
            // 22 characters hold 132 bits: the last one carries 2 bits of the id and 4 of padding.
            let bits = if index < 21 {
                number >> (122 - 6 * index as u32)
            } else {
                number << 4
            };
            *character = ALPHABET[(bits & 63) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id: 22 characters of url-safe base64 are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 22 characters of A-Z, a-z, 0-9, '-' and '_'")
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    /// Takes `=` padding too, as Kafka's own reading does.
    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.trim_end_matches('=').as_bytes();
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut number = 0u128;
        for (index, character) in text.iter().enumerate() {
            let digit = ALPHABET
                .iter()
                .position(|known| known == character)
                .ok_or(ParseUuidError)? as u128;
            number = if index < 21 {
                number << 6 | digit
            } else {
                number << 2 | digit >> 4
            };
        }
        Ok(Uuid::from_u128(number))
    }
}
