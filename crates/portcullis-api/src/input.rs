//! What a handler takes out of a request: its body, its query and the parameters of its path, each a Rust type.
//!
//! The type alone says which fields there are, which of them are required and how the API's document describes them.

mod account;
pub(crate) mod body;
mod members;
pub(crate) mod pagination;
pub(crate) mod path;
pub(crate) mod query;
mod reader;

use serde_json::Value;

pub(crate) use account::account_request;
pub(crate) use body::{Body, OptionalBody, Patch};
pub(crate) use pagination::{Cursor, Page, PageNumber, PageSize, Pagination};
pub(crate) use query::{Parsed, Query};

use crate::{ApiError, Call};

/// A part of a request that can be read and described.
pub(crate) trait Input: Sized + Send {
    /// Reads it, or refuses the request with every problem of it.
    fn read(call: &mut Call) -> impl Future<Output = Result<Self, ApiError>> + Send;

    /// Adds its parameters or its body to the description of an operation.
    fn describe(to: &mut InputDescription<'_>);
}

/// The parameters and the body of an operation, as OpenAPI describes them.
pub(crate) struct InputDescription<'a> {
    /// Makes schemas of types that are read.
    pub(crate) schemas: &'a mut schemars::SchemaGenerator,
    /// Parameters of the path and of the query.
    pub(crate) parameters: Vec<Value>,
    /// The `requestBody`, if the operation reads one.
    pub(crate) body: Option<Value>,
}

/// No input at all.
impl Input for () {
    async fn read(_call: &mut Call) -> Result<Self, ApiError> {
        Ok(())
    }

    fn describe(_to: &mut InputDescription<'_>) {}
}

/// Two inputs, read in this order: the problems of the first are told before the second is read.
impl<A: Input, B: Input> Input for (A, B) {
    async fn read(call: &mut Call) -> Result<Self, ApiError> {
        let first = A::read(call).await?;
        Ok((first, B::read(call).await?))
    }

    fn describe(to: &mut InputDescription<'_>) {
        A::describe(to);
        B::describe(to);
    }
}
