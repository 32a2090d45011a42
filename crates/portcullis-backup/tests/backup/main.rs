//! Backups of a real database of either engine, in a folder.

mod creating;
mod format;
mod installation;
mod restoring;
mod verifying;
