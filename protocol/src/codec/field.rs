//! One field of a table: in which versions it is there, may be null, is tagged. What encode and decode do with it is in `walk`.

use std::fmt;
use std::marker::PhantomData;

/// A range of versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first version.
    pub first: i16,
    /// The last version; `i16::MAX` when it is open.
    pub last: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Versions = Versions { first: 0, last: -1 };

    /// From `first` to `last`, both included.
    pub const fn new(first: i16, last: i16) -> Self {
        Versions { first, last }
    }

    /// Whether `version` is in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// Whether no version is in the range.
    pub const fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// The versions in order.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }
}

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// A field's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// A number (false is 0, true is 1), or an empty string, array, struct when it is 0.
    Number(i64),
    /// Null.
    Null,
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// The field's name in Rust: Kafka's in snake case.
    pub name: &'static str,
    /// Versions that have the field.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Versions in which it is a tagged field (KIP-482).
    pub tagged: Versions,
    /// Its tag there.
    pub tag: u32,
    /// Whether it is dropped without complaint in versions that lack it.
    pub ignorable: bool,
    /// Whether it keeps the old encoding even in flexible versions (the request header's client id).
    pub never_compact: bool,
    /// Its default.
    pub initial: Initial,
}

impl FieldSpec {
    pub(crate) const fn new(name: &'static str, versions: Versions) -> Self {
        FieldSpec {
            name,
            versions,
            nullable: Versions::NONE,
            tagged: Versions::NONE,
            tag: 0,
            ignorable: false,
            never_compact: false,
            initial: Initial::Number(0),
        }
    }

    pub(crate) const fn nullable(mut self, versions: Versions) -> Self {
        self.nullable = versions;
        self
    }

    pub(crate) const fn tagged(mut self, tag: u32, versions: Versions) -> Self {
        self.tag = tag;
        self.tagged = versions;
        self
    }

    pub(crate) const fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    pub(crate) const fn never_compact(mut self) -> Self {
        self.never_compact = true;
        self
    }

    pub(crate) const fn null(mut self) -> Self {
        self.initial = Initial::Null;
        self
    }

    pub(crate) const fn number(mut self, number: i64) -> Self {
        self.initial = Initial::Number(number);
        self
    }

    /// How the field's value lies in bytes inside a struct at `at`.
    pub(crate) fn at(&self, at: At) -> At {
        At {
            version: at.version,
            flexible: at.flexible && !self.never_compact,
            nullable: self.nullable.contains(at.version),
            tagged: false,
        }
    }

    /// The same where the field is a tagged one.
    pub(crate) fn at_tagged(&self, at: At) -> At {
        At {
            tagged: true,
            ..self.at(at)
        }
    }

    /// Whether the field is in `version`, and not as a tagged one.
    pub(crate) fn is_plain_in(&self, version: i16) -> bool {
        self.versions.contains(version) && !self.tagged.contains(version)
    }
}

/// How a value lies in bytes.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The message's version.
    pub version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
    /// Null is allowed.
    pub nullable: bool,
    /// The value is a tagged field: null of a struct is written in another way there.
    pub tagged: bool,
}

impl At {
    /// In a message of this version.
    pub const fn new(version: i16, flexible: bool) -> Self {
        At {
            version,
            flexible,
            nullable: false,
            tagged: false,
        }
    }

    /// The same for an array's elements.
    pub(crate) const fn element(self) -> Self {
        At {
            nullable: false,
            tagged: false,
            ..self
        }
    }
}

/// Where the macro keeps the rows of `T`'s table, one associated constant for each field.
pub struct Specs<T>(PhantomData<T>);
