//! The declarations: `settings!` for a group, `compose!` for a group of groups, `choice!` for words.

/// Declares a group of settings: the struct, its flags, its help and its loading.
///
/// ```text
/// settings! {
///     /// Heading in help texts
///     pub struct NAME {
///         /// Help text; the first paragraph is the short one.
///         pub FIELD: TYPE [= "DEFAULT" [in RANGE]],
///     } [check PATH]
/// }
/// ```
/// A field without a default is required, unless its type is `Option` or `Vec`. `PATH` names a
/// `fn(&NAME) -> Vec<String>` whose texts are reported as mistakes along with all others: for rules
/// between settings. Derives `Debug` (secrets stay hidden) and `Clone`.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $title:expr])+
        $vis:vis struct $group:ident {
            $(
                $(#[doc = $help:expr])+
                $field_vis:vis $field:ident : $type:ty $(= $default:literal $(in $range:expr)?)?,
            )*
        }
        $(check $check:path)?
    ) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone)]
        $vis struct $group {
            $( $(#[doc = $help])+ $field_vis $field: $type, )*
        }

        impl $crate::settings::Group for $group {
            fn rows() -> ::std::vec::Vec<$crate::settings::Row> {
                let title = concat!($($title, "\n"),+);
                vec![$(
                    $crate::settings::Row::of::<$type>(
                        stringify!($field),
                        title,
                        concat!($($help, "\n"),+),
                        None$(.or(Some($default)))?,
                    ),
                )*]
            }

            fn read(reader: &mut $crate::settings::Reader<'_>) -> ::std::option::Option<Self> {
                let mut rows = <Self as $crate::settings::Group>::rows().into_iter();
                // All fields are read before the first is looked at: every mistake is reported.
                $(
                    let row = rows.next().expect("one row per field, in order");
                    let $field = reader.read::<$type>(&row, |_value| {
                        $($($crate::settings::within(_value, &($range))?;)?)?
                        Ok(())
                    });
                )*
                let group = Self { $($field: $field?,)* };
                $( reader.accept($check(&group))?; )?
                Some(group)
            }
        }
    };
}

/// Declares a group made of groups, for a command that runs several parts.
///
/// A group that occurs more than once (`whence up` has Kafka's settings through two roles) is one set of
/// flags with one value. `check` works as in [`settings!`](crate::settings!), for rules between groups.
#[macro_export]
macro_rules! compose {
    (
        $(#[doc = $doc:expr])+
        $vis:vis struct $group:ident {
            $( $(#[doc = $part_doc:expr])* $part_vis:vis $part:ident : $type:ty, )*
        }
        $(check $check:path)?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        $vis struct $group {
            $( $(#[doc = $part_doc])* $part_vis $part: $type, )*
        }

        impl $crate::settings::Group for $group {
            fn rows() -> ::std::vec::Vec<$crate::settings::Row> {
                let mut catalogue = $crate::settings::Catalogue::default();
                $( catalogue = catalogue.with::<$type>(); )*
                catalogue.rows().to_vec()
            }

            fn read(reader: &mut $crate::settings::Reader<'_>) -> ::std::option::Option<Self> {
                $( let $part = <$type as $crate::settings::Group>::read(reader); )*
                let group = Self { $($part: $part?,)* };
                $( reader.accept($check(&group))?; )?
                Some(group)
            }
        }
    };
}

/// Declares an enum whose variants are words of a setting.
///
/// `choice! { /// Shape of the log. pub enum LogFormat { /// For people. Text = "text", … } }`
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:expr])+
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:expr])+ $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])+ $variant, )+
        }

        impl $crate::settings::Value for $name {
            const PLACEHOLDER: &'static str = $crate::choice!(@words $($word)+);

            fn parse(text: &str) -> ::std::result::Result<Self, $crate::settings::Invalid> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err($crate::settings::Invalid::new(
                        concat!("expected one of:" $(, " ", $word)+)
                    )),
                }
            }

            fn render(&self) -> ::std::string::String {
                match self {
                    $( Self::$variant => $word, )+
                }
                .to_owned()
            }
        }
    };
    (@words $first:literal $($word:literal)*) => { concat!($first $(, "|", $word)*) };
}
