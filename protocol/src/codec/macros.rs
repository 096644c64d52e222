//! The one macro behind every message: a table of fields and version ranges in, a struct with decode, size and encode out.
//! What it expands to hands the fields to the functions of `walk`, and is small on purpose: there are some six hundred structs.
//!
//! ```text
//! message! {
//!     fetch_request, key 1, versions [4..=18], flexible [12..];      module, API key or record type, versions
//!     /// ...
//!     FetchRequest {                                                 the first struct is the message itself
//!         replica_id: i32 [0..=14] = -1,                             versions that have it; default (0 or empty if not said)
//!         cluster_id: Option<StrBytes> [12.., nullable 12.., null, ignorable] tag 0 [12..],
//!         topics: Vec<FetchTopic> [0..],
//!     }
//!     /// ...
//!     FetchTopic { ... }
//! }
//! ```
//! `null`: the default is null; `ignorable`: dropped without complaint where the version lacks it. Fields that are tagged
//! wherever they are stand last, in the order of their tags.

/// A range as the tables write it.
macro_rules! versions {
    (none) => {
        $crate::codec::Versions::NONE
    };
    ($first:literal ..) => {
        $crate::codec::Versions::new($first, i16::MAX)
    };
    ($first:literal ..= $last:literal) => {
        $crate::codec::Versions::new($first, $last)
    };
    ($only:literal) => {
        $crate::codec::Versions::new($only, $only)
    };
}

/// A row's bracket, turned into a `FieldSpec`.
macro_rules! field_spec {
    ($spec:expr;) => { $spec };
    ($spec:expr; , ignorable $($rest:tt)*) => { field_spec!($spec.ignorable(); $($rest)*) };
    ($spec:expr; , null $($rest:tt)*) => { field_spec!($spec.null(); $($rest)*) };
    ($spec:expr; , never_compact $($rest:tt)*) => { field_spec!($spec.never_compact(); $($rest)*) };
    ($spec:expr; , nullable $first:literal ..= $last:literal $($rest:tt)*) => {
        field_spec!($spec.nullable(versions!($first ..= $last)); $($rest)*)
    };
    ($spec:expr; , nullable $first:literal .. $($rest:tt)*) => {
        field_spec!($spec.nullable(versions!($first ..)); $($rest)*)
    };
    ($spec:expr; , nullable $only:literal $($rest:tt)*) => {
        field_spec!($spec.nullable(versions!($only)); $($rest)*)
    };
    ($name:expr => $first:literal ..= $last:literal $($rest:tt)*) => {
        field_spec!(FieldSpec::new($name, versions!($first ..= $last)); $($rest)*)
    };
    ($name:expr => $first:literal .. $($rest:tt)*) => {
        field_spec!(FieldSpec::new($name, versions!($first ..)); $($rest)*)
    };
    ($name:expr => $only:literal $($rest:tt)*) => {
        field_spec!(FieldSpec::new($name, versions!($only)); $($rest)*)
    };
}

/// See the head of this file.
macro_rules! message {
    (
        $module:ident, $(key $key:literal,)? versions [$($valid:tt)+], flexible [$($flexible:tt)+];
        $(#[$message_meta:meta])*
        $message:ident { $($message_fields:tt)* }
        $(
            $(#[$meta:meta])*
            $name:ident { $($fields:tt)* }
        )*
    ) => {
        #[doc = concat!("`", stringify!($message), "` and the structs inside it.")]
        pub mod $module {
            #[allow(unused_imports)]
            use $crate::codec::prelude::*;

            $crate::codec::message!(@struct $(#[$message_meta])* $message { $($message_fields)* });
            $($crate::codec::message!(@struct $(#[$meta])* $name { $($fields)* });)*

            impl Message for $message {
                const NAME: &'static str = stringify!($message);
                const VERSIONS: Versions = versions!($($valid)+);
                const FLEXIBLE: Versions = versions!($($flexible)+);
                const API_KEY: Option<i16> = $crate::codec::message!(@key $($key)?);
            }

            /// What is known of the message without its type.
            pub const INFO: MessageInfo = MessageInfo::of::<$message>();
        }
    };
    (@key) => { None };
    (@key $key:literal) => { Some($key) };
    (@struct
        $(#[$meta:meta])*
        $name:ident {
            $($field:ident: $type:ty [$($spec:tt)+] $(tag $tag:literal [$($tagged:tt)+])? $(= $default:literal)?,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!("Versions `", stringify!($($spec)+), "`", $(" tag ", stringify!($tag),)? ".")]
                pub $field: $type,
            )*
            /// Tagged fields that this table does not know.
            pub unknown_tagged_fields: TaggedFields,
        }

        #[allow(non_upper_case_globals)]
        impl Specs<$name> {
            $(
                const $field: FieldSpec = field_spec!(stringify!($field) => $($spec)+)
                    $(.tagged($tag, versions!($($tagged)+)))?
                    $(.number($default as i64))?;
            )*

            const ALL: &'static [FieldSpec] = &[$(Self::$field),*];
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: Value::initial(Specs::<$name>::$field.initial),)*
                    unknown_tagged_fields: TaggedFields::default(),
                }
            }
        }

        impl Value for $name {
            fn decode_in_place(&mut self, reader: &mut Reader, at: At) -> Result<(), DecodeError> {
                decode_struct(
                    Specs::<$name>::ALL,
                    &mut [$(&mut self.$field),*],
                    &mut self.unknown_tagged_fields,
                    reader,
                    at,
                )
            }

            fn encode_value(&self, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
                let fields: &[&dyn Value] = &[$(&self.$field),*];
                encode_struct(Specs::<$name>::ALL, fields, &self.unknown_tagged_fields, writer, at)
            }

            fn size_value(&self, at: At) -> usize {
                let fields: &[&dyn Value] = &[$(&self.$field),*];
                size_struct(Specs::<$name>::ALL, fields, &self.unknown_tagged_fields, at)
            }

            fn initial(_initial: $crate::codec::Initial) -> Self {
                $name::default()
            }

            fn is_initial(&self, _initial: $crate::codec::Initial) -> bool {
                let fields: &[&dyn Value] = &[$(&self.$field),*];
                self.unknown_tagged_fields.is_empty() && is_initial_struct(Specs::<$name>::ALL, fields)
            }

            fn reflect(&mut self) -> Reflected<'_> {
                Reflected::Struct(self)
            }
        }

        impl Nullable for $name {
            fn decode_nullable(reader: &mut Reader, at: At) -> Result<Option<Self>, DecodeError> {
                $crate::codec::decode_nullable_struct(reader, at)
            }

            fn encode_nullable(value: Option<&Self>, writer: &mut Writer, at: At) -> Result<(), EncodeError> {
                $crate::codec::encode_nullable_struct(value, writer, at)
            }

            fn size_nullable(value: Option<&Self>, at: At) -> usize {
                $crate::codec::size_nullable_struct(value, at)
            }
        }

        impl ReflectStruct for $name {
            fn visit_fields(&mut self, visitor: &mut dyn FnMut(&'static FieldSpec, Reflected<'_>)) {
                visit_struct(Specs::<$name>::ALL, &mut [$(&mut self.$field),*], visitor);
            }

            fn unknown_tagged_fields(&mut self) -> &mut TaggedFields {
                &mut self.unknown_tagged_fields
            }
        }
    };
}

pub(crate) use {field_spec, message, versions};
