//! Use cases of identity: register, login, refresh, logout, keys. No HTTP framework, no SQL.
