//! The built-in API: endpoints, handlers, and errors made into responses.
