//! Limits, session copies and wake-ups shared by replicas over Redis or Valkey: the only Redis.
