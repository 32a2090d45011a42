//! The fields of every request that makes a user.

/// Declares a request that makes a user: fields of its own, the fields of every user, and further fields of its own.
macro_rules! account_request {
    (
        $(#[$($about:tt)*])* $name:ident
        { $($(#[$($first_about:tt)*])* $first:ident: $first_type:ty,)* }
        and { $($(#[$($last_about:tt)*])* $last:ident: $last_type:ty,)* }
    ) => {
        $(#[$($about)*])*
        #[derive(::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $($(#[$($first_about)*])* $first: $first_type,)*
            #[schemars(length(max = 254), extend("format" = "email"))]
            email: String,
            /// Stored in lower case.
            #[schemars(regex(pattern = "^[A-Za-z0-9]{3,30}$"))]
            username: String,
            #[schemars(length(min = 1, max = 50))]
            first_name: String,
            #[schemars(length(min = 1, max = 50))]
            last_name: String,
            $($(#[$($last_about)*])* $last: $last_type,)*
        }
    };
}

pub(crate) use account_request;
