//! Strings that share the bytes they were decoded from.

use bytes::Bytes;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A UTF-8 string over reference-counted bytes: cloning copies nothing.
///
/// A decoded string keeps the whole received buffer alive; whoever stores one for long takes [`StrBytes::detached`].
#[derive(Clone, Default)]
pub struct StrBytes(Bytes);

impl StrBytes {
    /// The empty string.
    pub const EMPTY: StrBytes = StrBytes(Bytes::new());

    /// A string that lives in the program.
    pub const fn from_static(text: &'static str) -> Self {
        StrBytes(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that must be UTF-8; gives them back when they are not.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Bytes> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(StrBytes(bytes)),
            Err(_) => Err(bytes),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }

    /// The text's bytes, shared.
    pub fn as_shared_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of the text; cheaper than through `str`.
    pub fn as_byte_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same text in memory of its own.
    pub fn detached(&self) -> Self {
        StrBytes(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for StrBytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for StrBytes {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for StrBytes {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for StrBytes {
    fn from(text: &str) -> Self {
        StrBytes(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&Arc<str>> for StrBytes {
    fn from(text: &Arc<str>) -> Self {
        StrBytes::from(&**text)
    }
}

impl From<String> for StrBytes {
    fn from(text: String) -> Self {
        StrBytes(Bytes::from(text.into_bytes()))
    }
}

impl From<&String> for StrBytes {
    fn from(text: &String) -> Self {
        StrBytes::from(text.as_str())
    }
}

impl From<StrBytes> for String {
    fn from(text: StrBytes) -> Self {
        text.as_str().to_string()
    }
}

impl PartialEq for StrBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for StrBytes {}

impl PartialEq<str> for StrBytes {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for StrBytes {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<StrBytes> for str {
    fn eq(&self, other: &StrBytes) -> bool {
        other == self
    }
}

impl PartialOrd for StrBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StrBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        // Byte order of UTF-8 is the order of `str`.
        self.0.cmp(&other.0)
    }
}

impl Hash for StrBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` hashes, so that a map keyed by StrBytes is looked up by `&str`; spelled out, since going through `str`
        // would check the UTF-8 again at every look-up. A test holds the two together.
        state.write(&self.0);
        state.write_u8(0xff);
    }
}

impl fmt::Display for StrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for StrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
