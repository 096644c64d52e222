//! What can be wrong with bytes that others sent (decode) and with values that we were asked to send (encode).

use std::fmt;

/// Bytes that are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// The innermost field being read; empty outside any field.
    pub field: &'static str,
    /// Where in the reader's bytes.
    pub position: usize,
}

impl DecodeError {
    /// Names the field, unless a field further in did so already.
    pub(crate) fn in_field(mut self, field: &'static str) -> Self {
        if self.field.is_empty() {
            self.field = field;
        }
        self
    }
}

/// See [`DecodeError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The bytes end before the field does.
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// An array's count is more than the remaining bytes can hold.
    CountTooLarge {
        /// Elements announced.
        count: u64,
        /// Bytes there are.
        remaining: usize,
    },
    /// A length below -1.
    NegativeLength(i64),
    /// A string longer than the 32,767 bytes that Kafka allows.
    StringTooLong(usize),
    /// Null where this version allows none.
    NullNotAllowed,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A varint of more bytes than its type can have.
    InvalidVarint,
    /// The same tag twice in one struct.
    DuplicateTag(u32),
    /// A known tagged field announces more bytes than its value takes.
    TaggedFieldSize {
        /// The tag.
        tag: u32,
        /// Bytes announced.
        announced: usize,
        /// Bytes the value takes.
        taken: usize,
    },
    /// The message has no such version.
    UnsupportedVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The decoded value would take more memory than the reader's budget.
    BudgetExceeded {
        /// The budget, in bytes.
        budget: usize,
    },
    /// A record whose frame, type or version nobody knows.
    UnknownRecord {
        /// What of it is unknown.
        what: &'static str,
        /// Its number.
        number: i64,
    },
    /// Bytes after the end of something that must end there.
    TrailingBytes(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DecodeErrorKind as Kind;
        match &self.kind {
            Kind::Truncated { needed, remaining } => {
                write!(f, "needs {needed} bytes where {remaining} remain")?;
            }
            Kind::CountTooLarge { count, remaining } => {
                write!(
                    f,
                    "{count} elements announced where {remaining} bytes remain"
                )?;
            }
            Kind::NegativeLength(length) => write!(f, "negative length {length}")?,
            Kind::StringTooLong(length) => write!(f, "string of {length} bytes, more than 32767")?,
            Kind::NullNotAllowed => f.write_str("null where null is not allowed")?,
            Kind::InvalidUtf8 => f.write_str("string is not UTF-8")?,
            Kind::InvalidVarint => f.write_str("varint is too long")?,
            Kind::DuplicateTag(tag) => write!(f, "tag {tag} twice in one struct")?,
            Kind::TaggedFieldSize {
                tag,
                announced,
                taken,
            } => {
                write!(
                    f,
                    "tagged field {tag} announces {announced} bytes and takes {taken}"
                )?;
            }
            Kind::UnsupportedVersion { message, version } => {
                write!(f, "{message} has no version {version}")?
            }
            Kind::BudgetExceeded { budget } => {
                write!(f, "takes more memory than the {budget} bytes allowed")?
            }
            Kind::UnknownRecord { what, number } => write!(f, "unknown {what} {number}")?,
            Kind::TrailingBytes(count) => write!(f, "{count} bytes after the end")?,
        }
        if !self.field.is_empty() {
            write!(f, " in field {}", self.field)?;
        }
        write!(f, " at byte {}", self.position)
    }
}

impl std::error::Error for DecodeError {}

/// A value that cannot be sent at the version asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The message has no such version.
    UnsupportedVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field that may not be dropped holds something, and the version lacks it.
    FieldNotInVersion {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null where this version allows none.
    NullNotAllowed {
        /// The field; empty for an array's element.
        field: &'static str,
    },
    /// A string longer than the 32,767 bytes that Kafka allows.
    StringTooLong(usize),
    /// Bytes or an array longer than the length field can say.
    TooLong(usize),
    /// Unknown tagged fields in a version that is not flexible.
    TaggedFieldsNotAllowed {
        /// The version asked for.
        version: i16,
    },
    /// An unknown tagged field carries a tag that the table knows.
    DuplicateTag(u32),
}

impl EncodeError {
    pub(crate) fn in_field(self, name: &'static str) -> Self {
        match self {
            EncodeError::NullNotAllowed { field: "" } => {
                EncodeError::NullNotAllowed { field: name }
            }
            other => other,
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::UnsupportedVersion { message, version } => {
                write!(f, "{message} has no version {version}")
            }
            EncodeError::FieldNotInVersion { field, version } => {
                write!(
                    f,
                    "version {version} has no field {field}, which is set and may not be dropped"
                )
            }
            EncodeError::NullNotAllowed { field } => {
                write!(f, "null in field {field}, which may not be null")
            }
            EncodeError::StringTooLong(length) => {
                write!(f, "string of {length} bytes, more than 32767")
            }
            EncodeError::TooLong(length) => write!(
                f,
                "{length} elements or bytes are more than a length can say"
            ),
            EncodeError::TaggedFieldsNotAllowed { version } => {
                write!(
                    f,
                    "version {version} has no tagged fields, and some are set"
                )
            }
            EncodeError::DuplicateTag(tag) => {
                write!(f, "tag {tag} is set both as a field and as an unknown tag")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
